import { readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import type { NvidiaSmi } from '../machine/nvidiaSmi.ts';
import type { Figure } from './result.ts';

const INTERVAL_MS = 1000;

interface Reading {
  readonly device: number | undefined;
  readonly process: number | undefined;
  readonly host: number | undefined;
}

/** Memory of the engine process: on the device as the driver says, and on the host as the kernel does; MiB. */
export class MemoryWatch {
  readonly #smi: NvidiaSmi;
  readonly #pid: () => number | undefined;
  #watching:
    { readonly stopped: AbortController; readonly readings: Promise<readonly Reading[]> } | undefined;

  constructor(smi: NvidiaSmi, pid: () => number | undefined) {
    this.#smi = smi;
    this.#pid = pid;
  }

  async figures(model: string, when: string): Promise<readonly Figure[]> {
    return figuresOf(model, when, [await this.#read()]);
  }

  /** Reads once a second from here on. */
  begin(): void {
    const stopped = new AbortController();
    this.#watching = { stopped, readings: this.#readUntil(stopped.signal) };
  }

  /** The largest readings since `begin`. */
  async end(model: string, when: string): Promise<readonly Figure[]> {
    this.#watching?.stopped.abort();
    return figuresOf(model, when, (await this.#watching?.readings) ?? []);
  }

  async #readUntil(stopped: AbortSignal): Promise<readonly Reading[]> {
    const readings = [await this.#read()];
    while (await goesOn(stopped)) readings.push(await this.#read());
    return readings;
  }

  async #read(): Promise<Reading> {
    const pid = this.#pid();
    return { ...(await this.#smi.memory(pid)), host: residentMiB(pid) };
  }
}

/** Waits for the next reading; false where there is none. */
async function goesOn(stopped: AbortSignal): Promise<boolean> {
  try {
    await delay(INTERVAL_MS, undefined, { signal: stopped });
    return true;
  } catch {
    return false;
  }
}

function figuresOf(model: string, when: string, readings: readonly Reading[]): readonly Figure[] {
  const kinds = [
    ['device memory, all of it', (reading: Reading) => reading.device],
    ['device memory, the engine', (reading: Reading) => reading.process],
    ['host memory, the engine', (reading: Reading) => reading.host],
  ] as const;
  return kinds.flatMap(([name, of]) => {
    const values = readings.map(of).filter((value) => value !== undefined);
    if (values.length === 0) return [];
    return [{ model, name: `${name}, ${when}`, value: Math.max(...values), unit: 'MiB' }];
  });
}

/** `VmRSS` of Linux; undefined elsewhere. */
function residentMiB(pid: number | undefined): number | undefined {
  try {
    const status = readFileSync(`/proc/${pid ?? 'self'}/status`, 'utf8');
    const kib = pid === undefined ? undefined : /^VmRSS:\s+(\d+) kB/m.exec(status)?.[1];
    return kib === undefined ? undefined : Math.round(Number(kib) / 1024);
  } catch {
    return undefined;
  }
}
