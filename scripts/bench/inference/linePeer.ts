import { type ChildProcess, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** A peer in a process of its own that answers each line with a line; it says «ready» first. */
export class LinePeer {
  readonly #process: ChildProcess;
  readonly #lines: AsyncIterator<string>;

  static async start(script: string, parameters: readonly string[]): Promise<LinePeer> {
    const child = spawn(process.execPath, ['--import', 'tsx', script, ...parameters], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const peer = new LinePeer(child);
    await peer.#line();
    return peer;
  }

  private constructor(child: ChildProcess) {
    this.#process = child;
    if (!child.stdout) throw new Error('the peer has no output');
    this.#lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  }

  ask(line: string): Promise<string> {
    this.#process.stdin?.write(`${line}\n`);
    return this.#line();
  }

  stop(): void {
    this.#process.kill();
  }

  async #line(): Promise<string> {
    const next = await this.#lines.next();
    if (next.done === true) throw new Error('the peer ended');
    return next.value;
  }
}
