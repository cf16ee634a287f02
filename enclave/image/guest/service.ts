import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as delay } from 'node:timers/promises';
import { GuestError } from './errors.ts';

/** All that the service is told; both files are in the measured root. */
const COMMAND: readonly [string, ...string[]] = [
  '/usr/bin/node',
  '--max-semi-space-size=16',
  '/app/dist/src/cli/main.js',
  'serve',
  '--config',
  '/etc/vouchsafe/config.json',
];
const ENVIRONMENT = { PATH: '/usr/bin', HOME: '/data', NODE_ENV: 'production' };

const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 60_000;
/** Ends in a row, none of them after the service had run for ten minutes, until the machine is given up. */
const MAX_FAILURES = 8;
const STEADY_MS = 600_000;

/** How a run of the service ended. */
export interface Ended {
  readonly status: number | string;
  readonly ranMs: number;
}

export interface ServiceRun {
  readonly ended: Promise<Ended>;
  stop(): void;
}

export interface SupervisorOptions {
  readonly start: () => ServiceRun;
  /** Ends what a run has left behind. */
  readonly sweep: () => void;
  readonly say: (line: string) => void;
  readonly sleep?: (milliseconds: number) => Promise<unknown>;
}

/** Starts the service again when it ends, later each time, until it is told to stop or ends too often. */
export class Supervisor {
  readonly #options: SupervisorOptions;
  #run: ServiceRun | undefined;
  #isStopping = false;

  constructor(options: SupervisorOptions) {
    this.#options = options;
  }

  /** The service finishes what is in flight and makes its final evidence; then `run` returns. */
  stop(): void {
    this.#isStopping = true;
    this.#run?.stop();
  }

  /** Returns after `stop`; throws `GUEST_SERVICE_ENDED`. */
  async run(): Promise<void> {
    const { start, sweep, say, sleep = delay } = this.#options;
    for (let failures = 0; !this.#isStopping;) {
      this.#run = start();
      const { status, ranMs } = await this.#run.ended;
      this.#run = undefined;
      sweep();
      if (this.#stopping()) return;
      failures = ranMs >= STEADY_MS ? 1 : failures + 1;
      say(`the service ended with ${status}`);
      if (failures >= MAX_FAILURES) throw new GuestError('GUEST_SERVICE_ENDED', `${failures} times in a row`);
      await sleep(Math.min(FIRST_PAUSE_MS * 2 ** (failures - 1), LONGEST_PAUSE_MS));
    }
  }

  /** A method, as the compiler takes a member that it saw false for one that stays so. */
  #stopping(): boolean {
    return this.#isStopping;
  }
}

/** Runs the service. Its output is that of the machine; it has no input. */
export function startService(): ServiceRun {
  const [program, ...parameters] = COMMAND;
  // Pipes: on a terminal, as the console is one, it would draw.
  const child = spawn(program, parameters, {
    env: ENVIRONMENT,
    cwd: '/data',
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  child.stdout.pipe(process.stdout, { end: false });
  child.stderr.pipe(process.stdout, { end: false });
  return { ended: endOf(child), stop: () => child.kill('SIGTERM') };
}

async function endOf(child: ChildProcess): Promise<Ended> {
  const begun = performance.now();
  const status = await new Promise<number | string>((resolve) => {
    child.once('exit', (code, signal) => resolve(signal ?? code ?? 'nothing'));
    child.once('error', (error) => resolve(error.message));
  });
  return { status, ranMs: performance.now() - begun };
}
