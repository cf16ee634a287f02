import { InvalidArgumentError, Option, type Command } from 'commander';
import { RELAY_LIMITS, type RelaySettings, type RunningRelay, startRelay } from '../gateway/relay/relay.ts';
import { newCommand } from './command.ts';
import { CliError, EXIT } from './exit.ts';
import { readInput } from './files.ts';
import { stderr, stdout } from './terminal.ts';

interface RelayFlags {
  readonly gateway: string;
  readonly listen: Place;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly maxBody: number;
  readonly concurrency: number;
  readonly timeout: number;
}

interface Place {
  readonly host: string;
  readonly port: number;
}

const EXAMPLES = [
  [
    'for the callers of one service, behind a TLS proxy on the same machine',
    'vouchsafe relay --gateway https://inference.example',
  ],
  [
    'with TLS of its own, on all addresses',
    'vouchsafe relay --gateway https://inference.example --listen [::]:443 --tls-cert cert.pem --tls-key key.pem',
  ],
  [
    'to try it: a service on this machine, without confidential hardware',
    'vouchsafe relay --gateway http://127.0.0.1:8080',
  ],
] as const;

const HELP = `
Callers hide from the service who they are: the relay sees their addresses and nothing of
what they ask, the service what is asked and nothing of whom. That holds as long as the
two do not work together: a service must not run its own relay. It keeps no log of
requests. Callers must reach it by https.

Exit codes:
  0 stopped by a signal   4 the address or a file cannot be used   64 misuse
`;

const MIB = 1024 * 1024;
const DEFAULT_PLACE = { host: '127.0.0.1', port: 8090 };

export function relayCommand(): Command {
  const { bodyBytes, concurrency, timeoutMs } = RELAY_LIMITS;
  return newCommand(
    'relay',
    'Carry sealed requests for callers who hide who they are (Oblivious HTTP)',
    EXAMPLES,
  )
    .requiredOption('--gateway <url>', 'address of the service, or of its gateway')
    .addOption(
      new Option('--listen <address:port>', 'where to listen; port 0 takes a free one')
        .argParser(toPlace)
        .default(DEFAULT_PLACE, '127.0.0.1:8090'),
    )
    .option('--tls-cert <file>', 'certificate chain in PEM')
    .option('--tls-key <file>', 'private key in PEM')
    .option('--max-body <MiB>', 'largest request', toCount(1024), bodyBytes / MIB)
    .option('--concurrency <number>', 'requests that are carried at once', toCount(65_536), concurrency)
    .option('--timeout <seconds>', 'longest time of one exchange', toCount(3600), timeoutMs / 1000)
    .addHelpText('after', HELP)
    .action(runRelay);
}

function toPlace(text: string): Place {
  const [, inner, name, digits] = /^(?:\[([0-9A-Fa-f:.]+)\]|([^\s:[\]]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = inner ?? name;
  const port = Number(digits);
  if (host === undefined || port > 65_535) {
    throw new InvalidArgumentError('It is an address and a port, such as 127.0.0.1:8090 or [::1]:8090.');
  }
  return { host, port };
}

function toCount(most: number): (text: string) => number {
  return (text) => {
    const count = Number(text);
    if (!/^[1-9]\d{0,5}$/.test(text) || count > most) throw new InvalidArgumentError(`It is 1 to ${most}.`);
    return count;
  };
}

async function runRelay(flags: RelayFlags): Promise<void> {
  const settings = await settingsOf(flags);
  const relay = await starting(() => startRelay(settings));
  stdout.line(`${stdout.c.bold('relay')}    ${relay.url}`);
  stdout.line(`${stdout.c.bold('gateway')}  ${flags.gateway}`);
  await stopped(relay);
  stderr.line(stderr.c.dim('stopped'));
}

async function settingsOf(flags: RelayFlags): Promise<RelaySettings> {
  const { gateway, listen, tlsCert, tlsKey, maxBody, concurrency, timeout } = flags;
  if ((tlsCert === undefined) !== (tlsKey === undefined)) {
    throw new CliError(EXIT.misuse, '--tls-cert and --tls-key belong together', 'Give both, or none.');
  }
  return {
    gateway,
    ...listen,
    tls:
      tlsCert === undefined || tlsKey === undefined
        ? undefined
        : { cert: await readInput(tlsCert), key: await readInput(tlsKey) },
    limits: { bodyBytes: maxBody * MIB, concurrency, timeoutMs: timeout * 1000 },
    onProblem: ({ code, message }) => {
      stderr.line(stderr.c.yellow(`${new Date().toISOString()} ${code}: ${message}`));
    },
  };
}

async function starting(start: () => Promise<RunningRelay>): Promise<RunningRelay> {
  try {
    return await start();
  } catch (error) {
    if (error instanceof TypeError) throw new CliError(EXIT.misuse, `--gateway: ${error.message}`);
    const { code, message } = error as NodeJS.ErrnoException;
    if (typeof code !== 'string') throw error;
    throw new CliError(EXIT.unreadable, `${code}: ${message}`, 'Take another --listen, or other TLS files.');
  }
}

/** Until a signal; a second one ends it at once. */
function stopped(relay: RunningRelay): Promise<void> {
  return new Promise((done, fail) => {
    let asked = false;
    const onSignal = (): void => {
      if (asked) process.exit(130);
      asked = true;
      relay.stop().then(done, fail);
    };
    process.on('SIGINT', onSignal).on('SIGTERM', onSignal);
  });
}
