import { fork, spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll } from '@jest/globals';
import { ROOT } from '../../support/sources.ts';

/** The compiled program; `npm test` compiles before it tests. */
export const PROGRAM = join(ROOT, 'dist/src/cli/main.js');
const SERVER = fileURLToPath(new URL('programServer.mjs', import.meta.url));

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Commands that end their process themselves, or keep it. */
const OWN_PROCESS: ReadonlySet<string> = new Set(['serve', 'doctor', 'witness', 'cuda', 'proxy', 'relay']);
/** Read when the program is loaded, not by a command. */
const READ_AT_LOADING: ReadonlySet<string> = new Set(['NO_COLOR', 'FORCE_COLOR', 'TERM']);

const ran = new Set<string | undefined>();
let server: ProcessServer | undefined;
afterAll(() => server?.stop());

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
  server ??= new ProcessServer();
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

/** A process that runs the program as often as it is asked to, one run after the other. */
class ProcessServer {
  readonly #child: ChildProcess;
  #last: Promise<unknown> = Promise.resolve();

  constructor() {
    const env = { PATH: process.env['PATH'] ?? '' };
    this.#child = fork(SERVER, [pathToFileURL(PROGRAM).href], { env, silent: true, execArgv: [] });
  }

  run(args: readonly string[], environment: Record<string, string>): Promise<Ran> {
    const next = this.#last.then(() => this.#run(args, environment));
    this.#last = next.catch(() => undefined);
    return next;
  }

  async #run(args: readonly string[], environment: Record<string, string>): Promise<Ran> {
    const ended = new AbortController();
    const { signal } = ended;
    const answer = once(this.#child, 'message', { signal }) as Promise<[Ran]>;
    const end = once(this.#child, 'exit', { signal }).then(([code]) => {
      throw new Error(`the program ended its process with ${String(code)}: ${args.join(' ')}`);
    });
    this.#child.send({ args, environment });
    try {
      const [result] = await Promise.race([answer, end]);
      return result;
    } finally {
      ended.abort();
      await Promise.allSettled([answer, end]);
    }
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const ended = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    await ended;
  }
}
