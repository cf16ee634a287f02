import { InvalidArgumentError, type Command } from 'commander';
import { encodeVkey } from '../../attestation/log/vkey.ts';
import { createServiceLog, stackFrames } from '../http/logging.ts';
import { WitnessError } from '../witness/errors.ts';
import { forbidCoreDumps } from '../processes/coreDumps.ts';
import { openWitnessKey } from '../witness/key.ts';
import { startWitness, type RunningWitness } from '../witness/server.ts';
import type { WitnessEvent } from '../witness/witness.ts';
import { newCommand } from './command.ts';
import { CliError, EXIT } from './exit.ts';
import { printable, stderr, stdout } from './terminal.ts';

interface KeyFlags {
  readonly name: string;
  readonly state: string;
  readonly json?: boolean;
}

interface ServeFlags {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  readonly logs: string;
  readonly state: string;
}

const DEFAULT_PORT = 8099;

export function witnessCommand(): Command {
  return newCommand('witness', 'Cosign the heads of logs, so that none has two histories')
    .addCommand(serveSubcommand())
    .addCommand(keySubcommand());
}

function serveSubcommand(): Command {
  return newCommand('serve', 'Run a witness (C2SP tlog-witness) until SIGINT or SIGTERM', [
    ['for the logs in a file', 'vouchsafe witness serve --name example.org/w1 --logs logs.txt --state w1'],
  ])
    .requiredOption('--name <name>', 'name of the key, such as example.org/w1')
    .requiredOption(
      '--logs <file>',
      'logs to look after: lines `<vkey>` or `service <url>`; read again on change',
    )
    .requiredOption(
      '--state <folder>',
      'folder of the key and of what was cosigned; never restore an older one',
    )
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .option('--port <number>', 'port, 0 for a free one', toPort, DEFAULT_PORT)
    .action(runServe);
}

function keySubcommand(): Command {
  return newCommand('key', 'Print the public key of a witness, and make it where there is none', [
    [
      'for the configuration of a service and for policies',
      'vouchsafe witness key --name example.org/w1 --state w1',
    ],
  ])
    .requiredOption('--name <name>', 'name of the key')
    .requiredOption('--state <folder>', 'folder of the key')
    .option('--json', 'print it as JSON')
    .action(runKey);
}

function toPort(text: string): number {
  const port = Number(text);
  if (!/^\d{1,5}$/.test(text) || port > 65_535) throw new InvalidArgumentError('A port is 0 to 65535.');
  return port;
}

async function runKey({ name, state, json = false }: KeyFlags): Promise<void> {
  const { vkey } = await reporting(() => openWitnessKey(state, name));
  if (json) stdout.json({ name, vkey: encodeVkey(vkey) });
  else stdout.line(encodeVkey(vkey));
}

async function runServe(flags: ServeFlags): Promise<void> {
  const log = createServiceLog({ level: 'info', format: stderr.isTerminal ? 'pretty' : 'json' });
  const onEvent = (event: WitnessEvent): void => {
    log.log(severityOf(event), 'add-checkpoint', {
      ...event,
      origin: printable(event.origin ?? 'unreadable'),
    });
  };
  const onProblem = (error: unknown): void => {
    const reason = error instanceof Error ? error.message : 'unknown';
    log.error('the witness has a problem', { reason, frames: stackFrames(error) });
  };
  const coreDumps = forbidCoreDumps();
  if (coreDumps !== undefined) log.warn(coreDumps);
  const running = await reporting(() => startWitness({ ...flags, onEvent, onProblem }));
  stdout.line(`${stdout.c.bold('witness')}  ${running.url}`);
  stdout.line(`${stdout.c.bold('vkey')}     ${encodeVkey(running.witness.vkey)}`);
  await stopped(running);
  stderr.line(stderr.c.dim('stopped'));
}

/** A head that a log signed against its own history is what a witness is for. */
function severityOf({ status }: WitnessEvent): 'error' | 'warn' | 'info' {
  if (status === 422 || status >= 500) return 'error';
  return status === 200 || status === 409 ? 'info' : 'warn';
}

function stopped(running: RunningWitness): Promise<void> {
  return new Promise((done, fail) => {
    let asked = false;
    const onSignal = (): void => {
      if (asked) process.exit(130);
      asked = true;
      running.stop().then(done, fail);
    };
    process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  });
}

async function reporting<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof WitnessError) {
      const isMisuse = error.code === 'NAME_INVALID' || error.code === 'LOGS_INVALID';
      const exit = isMisuse ? EXIT.misuse : EXIT.unreadable;
      throw new CliError(exit, `${error.code}: ${error.message}`, error.advice);
    }
    const { code, syscall } = error as NodeJS.ErrnoException;
    if (typeof code !== 'string' || typeof syscall !== 'string') throw error;
    throw new CliError(EXIT.unreadable, `${code}: ${(error as Error).message}`);
  }
}
