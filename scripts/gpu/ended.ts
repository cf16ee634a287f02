import process from 'node:process';
import type { Command } from 'commander';

/** It could not be run: nothing is said about what was to be checked. */
export const NOT_RUN = 3;

/** Runs a program; what fails ends it with a sentence and with status 3. */
export async function runToEnd(program: Command): Promise<void> {
  try {
    await program.parseAsync();
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = NOT_RUN;
  }
}
