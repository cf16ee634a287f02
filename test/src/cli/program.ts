import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { ProgramServer, type Ran } from '../../support/programServer.ts';
import { ROOT } from '../../support/sources.ts';

export type { Ran };

/** The compiled program; `npm test` compiles before it tests. */
export const PROGRAM = join(ROOT, 'dist/src/cli/main.js');

/** Commands that end their process themselves, or keep it. */
const OWN_PROCESS: ReadonlySet<string> = new Set(['serve', 'doctor', 'witness', 'cuda', 'proxy', 'relay']);
/** Read when the program is loaded, not by a command. */
const READ_AT_LOADING: ReadonlySet<string> = new Set(['NO_COLOR', 'FORCE_COLOR', 'TERM']);

const ran = new Set<string | undefined>();
let server: ProgramServer | undefined;

/**
 * Runs the program to its end, as a script would: no terminal, no settings from outside. The first run of a command in
 * a test file has a process of its own; later ones share one, which has the program loaded.
 */
export function vouchsafe(args: readonly string[], environment: Record<string, string> = {}): Promise<Ran> {
  const [command] = args;
  const isFirst = !ran.has(command);
  ran.add(command);
  const isAlone = isFirst || command === undefined || OWN_PROCESS.has(command);
  if (isAlone || Object.keys(environment).some((name) => READ_AT_LOADING.has(name))) {
    return runAlone(args, environment);
  }
  server ??= new ProgramServer(PROGRAM);
  return server.run(args, environment);
}

function runAlone(args: readonly string[], environment: Record<string, string>): Promise<Ran> {
  const env = { PATH: process.env['PATH'] ?? '', ...environment };
  const child = spawn(process.execPath, [PROGRAM, ...args], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      resolve({ code, stdout, stderr });
    });
  });
}
