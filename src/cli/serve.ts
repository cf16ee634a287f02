import { setFlagsFromString } from 'node:v8';
import { InvalidArgumentError, type Command } from 'commander';
import { loadConfig, type ConfigOverrides, type LoadedConfig } from '../config/load.ts';
import { startService, stopOnSignal, type RunningService } from '../main.ts';
import { forbidCoreDumpsOfSigner } from '../main/coreDumps.ts';
import { endWithoutDevices } from '../main/ending.ts';
import { newCommand } from './command.ts';
import { readConfig } from './config.ts';
import { CliError, EXIT } from './exit.ts';
import { bannerLines, describeService } from './serveBanner.ts';
import { withSpinner } from './spinner.ts';
import { stderr, stdout } from './terminal.ts';

interface ServeFlags {
  readonly port?: number;
  readonly host?: string;
  readonly grpcPort?: number;
  readonly grpcHost?: string;
  readonly config?: string;
  readonly models?: string;
  readonly data?: string;
  readonly simulated?: boolean;
}

const EXAMPLES = [
  ['the models of this package, on simulated hardware', 'vouchsafe serve'],
  ['another port and other models', 'vouchsafe serve --port 9000 --models ./models'],
  ['see what a configuration comes to before it is used', 'vouchsafe config print --config production.json'],
] as const;

export function serveCommand(): Command {
  return newCommand('serve', 'Run the service until SIGINT or SIGTERM', EXAMPLES)
    .option(
      '--port <number>',
      'port, 0 for a free one (default: PORT, else the configuration, else 8080)',
      toPort,
    )
    .option('--host <address>', 'address to listen on (default: 127.0.0.1)')
    .option('--grpc-port <number>', 'port of the gRPC door, 0 for a free one (default: no such door)', toPort)
    .option('--grpc-host <address>', 'address of the gRPC door (default: 127.0.0.1)')
    .option('--config <file>', 'configuration file (default: vouchsafe.config.json, where there is one)')
    .option('--models <folder>', 'folder of the models')
    .option('--data <folder>', 'folder of the logs of all instances')
    .option('--simulated', 'simulated hardware even beside signs of real one; it proves nothing')
    .addHelpText('after', '\nSettings without an option: see `vouchsafe config print`.\n')
    .action(runServe);
}

function toPort(text: string): number {
  const port = Number(text);
  if (!/^\d{1,5}$/.test(text) || port > 65_535) throw new InvalidArgumentError('A port is 0 to 65535.');
  return port;
}

/** V8 lets garbage quadruple the heap before it looks; this keeps the resident memory of the service below 350 MB. */
const HEAP_GROWTH = '--heap-growing-percent=60';

async function runServe(flags: ServeFlags): Promise<void> {
  setFlagsFromString(HEAP_GROWTH);
  const dumpable = forbidCoreDumpsOfSigner();
  const { config } = await readConfig(() => loadServeConfig(flags));
  const notices = dumpable === undefined ? [] : [dumpable];
  const start = () => startService(config, { notice: (line) => notices.push(line) });
  const service = await starting(() => withSpinner(stderr, 'Loading models and collecting evidence', start));
  const stopped = stopOnSignal(service);
  process.once('SIGINT', sayStopping).once('SIGTERM', sayStopping);
  for (const line of bannerLines(stdout, await describeService(service, config), notices)) stdout.line(line);
  await stopped;
  stderr.line(stderr.c.dim('stopped'));
}

function sayStopping(): void {
  stderr.line(
    stderr.c.dim('\nstopping: requests in flight, then the final evidence. Once more to end at once.'),
  );
}

/** On a terminal the banner says what the first lines of the log would, and lines are for people. */
async function loadServeConfig(flags: ServeFlags): Promise<LoadedConfig> {
  const load = (log: NonNullable<ConfigOverrides['log']>) =>
    loadConfig({ file: flags.config, environment: process.env, cli: { ...overridesOf(flags), log } });
  const loaded = await load({});
  if (!stderr.isTerminal) return loaded;
  const isDefault = (name: string) => loaded.origins.get(name) === 'default';
  return load({
    level: isDefault('log.level') ? 'warn' : undefined,
    format: isDefault('log.format') ? 'pretty' : undefined,
  });
}

function overridesOf(flags: ServeFlags): ConfigOverrides {
  const { port, host, grpcPort, grpcHost, models, data, simulated } = flags;
  return {
    server: { port, host },
    grpc: { port: grpcPort, host: grpcHost },
    models: { directory: models },
    data: { directory: data },
    hardware: { collector: simulated ? 'simulated' : undefined },
  };
}

/** A start that fails for a known reason says which; the rest is unforeseen. */
async function starting(start: () => Promise<RunningService>): Promise<RunningService> {
  try {
    return await readConfig(start);
  } catch (error) {
    endWithoutDevices('SIGKILL');
    if (error instanceof CliError) throw error;
    const { code, advice } = error as { readonly code?: unknown; readonly advice?: unknown };
    if (!(error instanceof Error) || typeof code !== 'string') throw error;
    const known = typeof advice === 'string' ? advice : SYSTEM_ADVICE[code];
    throw new CliError(EXIT.unreadable, `${code}: ${error.message}`, known);
  }
}

const SYSTEM_ADVICE: Readonly<Record<string, string>> = {
  EADDRINUSE: 'Something listens there already. Choose another port with --port or --grpc-port.',
  EACCES: 'This user may not do that. Choose another port or folder.',
  EADDRNOTAVAIL: 'This machine does not have that address. Choose another with --host or --grpc-host.',
};
