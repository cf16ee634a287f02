import { type ChildProcess, fork } from 'node:child_process';
import { constants, getPriority, setPriority } from 'node:os';
import { fileURLToPath } from 'node:url';
import { forgetSentKeys } from './dataKeys.ts';
import { Outbox } from './outbox.ts';
import type { FromChild, ToChild } from './protocol.ts';

/** What the child sees of the environment: where libraries and devices are, and no secret of the service. */
const PASSED_ON = /^(PATH|LD_LIBRARY_PATH|TZ|LANG|CUDA_.*|NVIDIA_.*)$/;
/** Small heaps of V8 and few of the C library: a quarter less resident memory, no slower. */
const LOW_MEMORY = {
  execArgv: ['--max-semi-space-size=4', '--heap-growing-percent=20'],
  env: { MALLOC_ARENA_MAX: '2' },
} as const;
/** FP32 products keep their 24 bits: the CUDA libraries would round factors to 11 for speed, and nothing would say so. */
const FULL_PRECISION = { NVIDIA_TF32_OVERRIDE: '0' } as const;
/**
 * ONNX Runtime 1.29 reports on its machine over HTTPS unless it is told not to, and asks a shell for a name of the
 * machine first: where there is none, it crashes.
 */
const NO_TELEMETRY = { ORT_DISABLE_TELEMETRY: '1' } as const;
/**
 * Added to the nice value of this process. Where the engine would fill the cores, the process that reads, signs and
 * answers goes first: Linux weighs 5 as a third. What nobody else wants of the cores is the engine's as before.
 */
const NICER = 5;
/** Time for an orderly end before the process is killed. */
const CLOSE_MS = 2_000;

export interface ProcessEvents {
  readonly onMessage: (message: FromChild) => void;
  /** Called once, whatever ended the process. */
  readonly onEnd: (reason: string) => void;
}

/** The process that runs the models. */
export class EngineProcess {
  readonly #child: ChildProcess;
  readonly #ended: Promise<void>;
  readonly #outbox = new Outbox<ToChild>((messages) => {
    // What is lost with the channel is answered by the end of the process.
    const forget = (): void => {
      forgetSentKeys(messages);
    };
    if (this.#child.connected) this.#child.send([...messages], forget);
    else forget();
  });
  #reason: string | undefined;

  constructor(entry: URL, events: ProcessEvents) {
    const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => PASSED_ON.test(name)));
    this.#child = fork(entry, [], {
      serialization: 'advanced',
      // The runtime writes values of inputs to its standard error when it fails.
      stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
      execArgv: [...LOW_MEMORY.execArgv],
      // Nothing but our own code lies there: a model finds no file by a path of its own.
      cwd: fileURLToPath(new URL('.', entry)),
      env: { ...env, ...LOW_MEMORY.env, ...FULL_PRECISION, ...NO_TELEMETRY },
    });
    goBehind(this.#child.pid);
    this.#child.on('message', (messages) => {
      for (const message of messages as unknown as readonly FromChild[]) events.onMessage(message);
    });
    this.#ended = new Promise((resolve) => {
      const end = (reason: string): void => {
        resolve();
        events.onEnd(this.#reason ?? reason);
      };
      this.#child.once('exit', (code, signal) => {
        end(signal === null ? `exited with code ${code ?? 'unknown'}` : `killed by ${signal}`);
      });
      this.#child.on('error', (error) => {
        if (this.#child.pid === undefined) end(`could not be started: ${error.message}`);
      });
    });
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** Sends after this turn of the event loop, in order. */
  send(message: ToChild): void {
    this.#outbox.push(message);
  }

  /** Kills the process; `onEnd` gets this reason. */
  kill(reason: string): void {
    this.#reason = reason;
    this.#child.kill('SIGKILL');
  }

  /** Lets the process end, or kills it after two seconds. */
  async close(): Promise<void> {
    this.#reason = 'closed';
    if (this.#child.connected) this.#child.disconnect();
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), CLOSE_MS);
    await this.#ended;
    clearTimeout(timer);
  }
}

/** Threads that it starts later are as nice. Without leave to do it the service is less prompt under load, no more. */
function goBehind(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    setPriority(pid, Math.min(getPriority() + NICER, constants.priority.PRIORITY_LOW));
  } catch {
    // It may have ended already, which is heard of elsewhere.
  }
}
