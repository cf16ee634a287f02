import { Command } from 'commander';

/** One example of `--help`: what it does, and the command line. */
export type Example = readonly [what: string, command: string];

/** Collects the values of an option that may be given more than once. */
export function repeated(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

/** A command that throws instead of ending the process, with examples under its help. */
export function newCommand(name: string, summary: string, examples: readonly Example[] = []): Command {
  const command = new Command(name).description(summary).exitOverride().showHelpAfterError(false);
  if (examples.length === 0) return command;
  const lines = examples.map(([what, line]) => `  # ${what}\n  $ ${line}`);
  return command.addHelpText('after', `\nExamples:\n${lines.join('\n\n')}`);
}

export const EXIT_HELP = `
Exit codes:
  0 accepted   2 refused   3 not judged: reference values or collateral are missing
  4 unreachable service or unreadable input   64 misuse
`;
