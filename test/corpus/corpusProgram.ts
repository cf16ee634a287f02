import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { ProgramServer } from '../support/programServer.ts';
import { ROOT } from '../support/sources.ts';

const PROGRAM = join(ROOT, 'scripts/corpus/main.ts');
const LOADER = ['--import', 'tsx'];

export interface CorpusRun {
  readonly status: number;
  readonly lines: readonly string[];
  readonly stderr: string;
}

/** The corpus runner as it is called, in a process of its own. */
export function runCorpusAlone(...args: readonly string[]): Promise<CorpusRun> {
  return new Promise((resolve) => {
    execFile(process.execPath, [...LOADER, PROGRAM, ...args], { cwd: ROOT }, (error, stdout, stderr) => {
      resolve({ status: error ? Number(error.code) : 0, lines: linesOf(stdout), stderr });
    });
  });
}

let server: ProgramServer | undefined;

/** The same in one process for a test file, which has the program loaded; not for what ends the process itself. */
export async function runCorpus(...args: readonly string[]): Promise<CorpusRun> {
  server ??= new ProgramServer(PROGRAM, { execArgv: LOADER, cwd: ROOT });
  const { code, stdout, stderr } = await server.run(args);
  return { status: code ?? 0, lines: linesOf(stdout), stderr };
}

function linesOf(stdout: string): readonly string[] {
  return stdout.trimEnd().split('\n');
}
