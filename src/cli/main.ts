#!/usr/bin/env -S node --max-semi-space-size=16
import { CommanderError, type Command } from 'commander';
import { newCommand, EXIT_HELP } from './command.ts';
import { describeError, EXIT, type ExitCode } from './exit.ts';
import { printable, stderr, wrap } from './terminal.ts';
import { packageVersion } from './version.ts';

/** Each command is loaded when it is asked for: the relying party's never load the rooms of the service. */
interface Entry {
  readonly name: string;
  readonly summary: string;
  readonly load: () => Promise<Command>;
}

const COMMANDS: readonly Entry[] = [
  {
    name: 'serve',
    summary: 'run the service',
    load: async () => (await import('./serve.ts')).serveCommand(),
  },
  {
    name: 'doctor',
    summary: 'say what this machine offers, and what is in the way',
    load: async () => (await import('./doctor.ts')).doctorCommand(),
  },
  {
    name: 'ask',
    summary: 'complete a prompt on verified hardware, and check the receipt',
    load: async () => (await import('./ask.ts')).askCommand(),
  },
  {
    name: 'embed',
    summary: 'embed a text on verified hardware, and check the receipt',
    load: async () => (await import('./embed.ts')).embedCommand(),
  },
  {
    name: 'proxy',
    summary: 'an OpenAI-compatible address on this machine that verifies first, for any tool',
    load: async () => (await import('./proxy.ts')).proxyCommand(),
  },
  {
    name: 'relay',
    summary: 'carry sealed requests for callers who hide who they are',
    load: async () => (await import('./relay.ts')).relayCommand(),
  },
  {
    name: 'verify',
    summary: 'judge a bundle, a receipt, evidence or a live service',
    load: async () => (await import('./verify.ts')).verifyCommand(),
  },
  {
    name: 'disclose',
    summary: 'open chosen items of a receipt to someone else, and no others',
    load: async () => (await import('./disclose.ts')).discloseCommand(),
  },
  {
    name: 'replay',
    summary: 'run a request again that a receipt is of, and compare the answers',
    load: async () => (await import('./replay.ts')).replayCommand(),
  },
  {
    name: 'audit',
    summary: 'verify everything in an export, offline',
    load: async () => (await import('./audit.ts')).auditCommand(),
  },
  {
    name: 'verify-token',
    summary: 'judge the word of NVIDIA’s attestation service on devices',
    load: async () => (await import('./token.ts')).tokenCommand(),
  },
  {
    name: 'inspect',
    summary: 'show what a file says; nothing is verified',
    load: async () => (await import('./inspect.ts')).inspectCommand(),
  },
  {
    name: 'measure',
    summary: 'predict what a launch of given parts measures',
    load: async () => (await import('./measure.ts')).measureCommand(),
  },
  {
    name: 'collateral',
    summary: 'fetch and show what vendors say about evidence',
    load: async () => (await import('./collateral.ts')).collateralCommand(),
  },
  {
    name: 'policy',
    summary: 'show and check policies: what a relying party accepts',
    load: async () => (await import('./policy.ts')).policyCommand(),
  },
  {
    name: 'image',
    summary: 'make, verify and compare measured VM images, and accept them by policy',
    load: async () => (await import('./image.ts')).imageCommand(),
  },
  {
    name: 'cuda',
    summary: 'install and show the CUDA libraries of the engine',
    load: async () => (await import('./cuda.ts')).cudaCommand(),
  },
  {
    name: 'config',
    summary: 'show the configuration of the service',
    load: async () => (await import('./config.ts')).configCommand(),
  },
  {
    name: 'archive',
    summary: 'show, query, hold, erase, export and renew the archive',
    load: async () => (await import('./archive.ts')).archiveCommand(),
  },
  {
    name: 'models',
    summary: 'add, list, verify and remove models',
    load: async () => (await import('./models.ts')).modelsCommand(),
  },
  {
    name: 'witness',
    summary: 'cosign the heads of logs, so that none has two histories',
    load: async () => (await import('./witness.ts')).witnessCommand(),
  },
  {
    name: 'operator',
    summary: 'state who answers for an instance',
    load: async () => (await import('./operator.ts')).operatorCommand(),
  },
  {
    name: 'key',
    summary: 'make API keys',
    load: async () => (await import('./key.ts')).keyCommand(),
  },
];

const EXAMPLES = [
  ['serve the models of this package on simulated hardware', 'vouchsafe serve'],
  ['ask it, from another terminal', 'vouchsafe embed --allow-simulated "hello"'],
  ['judge what was kept of an answer, offline', 'vouchsafe verify answer'],
] as const;

/** The program with the command that the arguments name; the others stand there with their summary only. */
async function makeProgram(args: readonly string[]): Promise<Command> {
  const program = newCommand(
    'vouchsafe',
    'An inference server that vouches for every answer, and its verifier',
    EXAMPLES,
  )
    .version(packageVersion())
    .addHelpText('after', EXIT_HELP);
  const operands = args.filter((argument) => !argument.startsWith('-'));
  const named = operands[0] === 'help' ? operands[1] : operands[0];
  for (const { name, summary, load } of COMMANDS) {
    program.addCommand(name === named ? await load() : newCommand(name, summary));
  }
  return program;
}

async function run(args: readonly string[]): Promise<ExitCode | undefined> {
  try {
    await (await makeProgram(args)).parseAsync(args, { from: 'user' });
    return undefined;
  } catch (error) {
    if (error instanceof CommanderError) return reportMisuse(error, args);
    return report(error);
  }
}

/** What is wrong is printed already. */
function reportMisuse({ exitCode, code }: CommanderError, args: readonly string[]): ExitCode {
  if (exitCode === 0) return EXIT.accepted;
  const named = COMMANDS.find(({ name }) => name === args[0]);
  const help = `vouchsafe ${named ? `${named.name} ` : ''}--help`;
  if (code !== 'commander.help') stderr.line(stderr.c.yellow(`See \`${help}\`.`));
  return EXIT.misuse;
}

function report(error: unknown): ExitCode {
  const { c, columns } = stderr;
  const described = describeError(error);
  if (!described) {
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error);
    stderr.line(`${c.red('internal error:')} ${text}`);
    return EXIT.internal;
  }
  const [first = '', ...rest] = wrap(described.message, columns - 'error: '.length);
  stderr.line(`${c.red(c.bold('error:'))} ${first}`);
  for (const line of rest) stderr.line(`       ${line}`);
  for (const line of described.advice === undefined ? [] : wrap(described.advice, columns))
    stderr.line(c.yellow(printable(line)));
  return described.exit;
}

// A reader that has seen enough, such as `head`, closes the pipe: that is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit();
  throw error;
});

const exit = await run(process.argv.slice(2));
if (exit !== undefined) process.exitCode = exit;
