import { execFile, spawn } from 'node:child_process';
import { promisify } from 'node:util';
import type { GpuFacts } from '../check/result.ts';

const run = promisify(execFile);
const TIMEOUT_MS = 20_000;
/** Time for the last samples after a load has ended. */
const GRACE_MS = 5_000;

/** Bytes a second between the host and the device, as the device counts them. */
export interface Transfers {
  /** From the host. */
  readonly received: number;
  /** To the host. */
  readonly sent: number;
  readonly samples: number;
}

/** `nvidia-smi` for one device. Whatever it cannot tell is undefined: counters lack in some modes and machines. */
export class NvidiaSmi {
  readonly #path: string;
  readonly #device: number;

  constructor(device: number, path = 'nvidia-smi') {
    this.#path = path;
    this.#device = device;
  }

  async facts(): Promise<GpuFacts | undefined> {
    const line = await this.#ask('--query-gpu=name,driver_version,memory.total,compute_cap');
    if (line === undefined) return undefined;
    const [name = '', driver = '', memory = '', computeCapability = ''] = fieldsOf(line);
    const about = await this.#call(['-q', '-i', String(this.#device)]);
    const cuda = /^CUDA (?:\w+ )?Version\s*:\s*([\d.]+)/m.exec(about ?? '')?.[1];
    return { name, driver, memoryMiB: numberOf(memory), computeCapability, cuda };
  }

  /** MiB in use: of this process where the driver tells processes apart here, and of the whole device. */
  async memory(pid: number | undefined): Promise<{
    readonly process: number | undefined;
    readonly device: number | undefined;
  }> {
    const apps = (await this.#ask('--query-compute-apps=pid,used_memory')) ?? '';
    const own = apps
      .split('\n')
      .map(fieldsOf)
      .find(([id]) => id === String(pid));
    const device = await this.#ask('--query-gpu=memory.used');
    return { process: numberOf(own?.[1]), device: numberOf(device) };
  }

  /** Counts what crosses PCIe once a second for some seconds; `result` waits for the last sample. */
  watchTransfers(seconds: number): { result(): Promise<Transfers | undefined> } {
    // It ends by itself: what it has not written to its pipe yet would be lost with a signal. The start takes a second.
    const samples = String(Math.max(2, Math.floor(seconds) - 1));
    const args = ['dmon', '-s', 't', '-d', '1', '-c', samples, '-i', String(this.#device)];
    const child = spawn(this.#path, args, { stdio: ['ignore', 'pipe', 'ignore'] });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output += text));
    const ended = new Promise<void>((resolve) => {
      child.on('close', () => resolve()).on('error', () => resolve());
    });
    return {
      async result() {
        const late = setTimeout(() => child.kill(), GRACE_MS);
        await ended;
        clearTimeout(late);
        return readTransfers(output);
      },
    };
  }

  #ask(query: string): Promise<string | undefined> {
    return this.#call([query, '--format=csv,noheader,nounits', '-i', String(this.#device)]);
  }

  async #call(args: readonly string[]): Promise<string | undefined> {
    try {
      return (await run(this.#path, args, { timeout: TIMEOUT_MS })).stdout.trim();
    } catch {
      return undefined;
    }
  }
}

/**
 * Medians of `nvidia-smi dmon -s t`: headers begin with `#`, the first names the columns and the second their units,
 * MB/s. A `-` is a counter that there is not. The first sample began before the load did, the last may end after it.
 */
export function readTransfers(output: string): Transfers | undefined {
  const lines = output.split('\n').map((line) => line.trim().split(/\s+/));
  const names = lines.find(([first, second]) => first === '#' && second === 'gpu')?.slice(1) ?? [];
  const [received, sent] = [names.indexOf('rxpci'), names.indexOf('txpci')];
  if (received === -1 || sent === -1) return undefined;
  const rows = lines
    .filter(([first]) => first !== undefined && /^\d+$/.test(first))
    .map((row) => [numberOf(row[received]), numberOf(row[sent])] as const)
    .filter((row): row is readonly [number, number] => row.every((value) => value !== undefined))
    .slice(1);
  if (rows.length === 0) return undefined;
  return {
    received: median(rows.map(([rx]) => rx)) * 1e6,
    sent: median(rows.map(([, tx]) => tx)) * 1e6,
    samples: rows.length,
  };
}

/** The lower of two in the middle. */
function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor((values.length - 1) / 2)] ?? NaN;
}

const fieldsOf = (line: string): readonly string[] => line.split(',').map((field) => field.trim());

/** `[N/A]`, `-` and nothing are no numbers. */
function numberOf(text: string | undefined): number | undefined {
  return text !== undefined && /^\d+(?:\.\d+)?$/.test(text) ? Number(text) : undefined;
}
