import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll } from '@jest/globals';

const SERVER = fileURLToPath(new URL('programServer.mjs', import.meta.url));

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A process that runs a program as often as it is asked to, one run after the other. It ends with the test file. */
export class ProgramServer {
  readonly #child: ChildProcess;
  #last: Promise<unknown> = Promise.resolve();

  constructor(
    program: string,
    options: { readonly execArgv?: readonly string[]; readonly cwd?: string } = {},
  ) {
    const { execArgv = [], cwd } = options;
    const env = { PATH: process.env['PATH'] ?? '' };
    this.#child = fork(SERVER, [pathToFileURL(program).href], {
      env,
      cwd,
      silent: true,
      execArgv: [...execArgv],
    });
    servers.push(this);
  }

  run(args: readonly string[], environment: Record<string, string> = {}): Promise<Ran> {
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

const servers: ProgramServer[] = [];
afterAll(() => Promise.all(servers.splice(0).map((server) => server.stop())));
