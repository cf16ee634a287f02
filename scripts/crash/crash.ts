import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { openReadOnlyLog } from '../../src/log/readOnlyLog.ts';
import { openStorage, type StorageSettings } from '../../src/log/openStorage.ts';
import { recoverLogs } from '../../src/log/recover.ts';
import type { LogStorage } from '../../src/log/storage.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const WRITER = fileURLToPath(new URL('writer.ts', import.meta.url));

/** A writer that neither ends nor acknowledges enough is ended, and the run has failed. */
const LONGEST_RUN_MS = 60_000;

/** When the writer is killed: after so many acknowledged entries, and then so many ms. */
export interface KillMoment {
  readonly acknowledged: number;
  readonly ms: number;
}

/** When the storage goes away, and for how long after the writer said so. */
export interface Outage {
  readonly acknowledged: number;
  readonly ms: number;
  /** The writer is killed then, while the storage is away still. */
  readonly killed: boolean;
  begin(): void;
  end(): void;
}

export interface CrashOutcome {
  readonly acknowledged: number;
  /** Entries that were found: acknowledged ones, and perhaps some that were synced and not acknowledged yet. */
  readonly size: number;
  /** Bytes of the torn tail that was cut. */
  readonly cutBytes: number;
}

interface WriterOutput {
  readonly instance: string;
  readonly digests: ReadonlyMap<number, string>;
}

/** Where the logs of a folder on this disk are. */
export function onDisk(directory: string): StorageSettings {
  return {
    data: { directory, logStorage: 'disk' },
    objectStore: { region: 'none', prefix: '', pathStyle: true },
  };
}

/**
 * Starts a writer, kills it at `moment`, recovers, and compares with what it acknowledged. With an outage the storage
 * goes away before, and the log must say so.
 */
export async function crashOnce(
  settings: StorageSettings,
  moment: KillMoment,
  outage?: Outage,
): Promise<CrashOutcome> {
  const { instance, digests } = await runUntilKilled(settings, moment, outage);
  outage?.end();
  const storage = await openStorage(settings);
  try {
    return await compare(storage, instance, digests);
  } finally {
    storage.close();
  }
}

async function compare(
  storage: LogStorage,
  instance: string,
  digests: ReadonlyMap<number, string>,
): Promise<CrashOutcome> {
  const { logs } = await recoverLogs(storage);
  const former = logs.find((log) => log.instance === instance);
  if (former?.state !== 'whole') throw new Error(`the log is ${former?.problem ?? former?.state ?? 'gone'}`);
  const log = await openReadOnlyLog(storage.files(instance));
  for (const [index, digest] of digests) {
    if (index >= log.size) throw new Error(`entry ${index} was acknowledged and is lost`);
    const found = createHash('sha256')
      .update(await log.entry(index))
      .digest('hex');
    if (found !== digest) throw new Error(`entry ${index} was acknowledged and is another now`);
  }
  await log.audit();
  return { acknowledged: digests.size, size: log.size, cutBytes: former.cut?.bytes ?? 0 };
}

async function runUntilKilled(
  settings: StorageSettings,
  moment: KillMoment,
  outage?: Outage,
): Promise<WriterOutput> {
  const child = spawn(process.execPath, ['--import', 'tsx', WRITER, JSON.stringify(settings)], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const closed = once(child, 'close');
  const tooLong = setTimeout(() => child.kill('SIGTERM'), LONGEST_RUN_MS);
  const output = new OutputOfWriter(() => child.kill('SIGKILL'), moment, outage);
  for await (const line of createInterface({ input: child.stdout })) output.read(line);
  await closed;
  clearTimeout(tooLong);
  const { instance, digests } = output;
  if (child.signalCode !== 'SIGKILL' || instance === undefined) throw new Error('the writer ended by itself');
  if (outage && !output.named) throw new Error('the storage was away, and the log did not say so');
  return { instance, digests };
}

/** What a writer says, and what is done to it when it has said so much. */
class OutputOfWriter {
  readonly digests = new Map<number, string>();
  instance: string | undefined;
  /** The log said that it takes no entries now. */
  named = false;
  readonly #kill: () => void;
  readonly #moment: KillMoment;
  readonly #outage: Outage | undefined;

  constructor(kill: () => void, moment: KillMoment, outage: Outage | undefined) {
    this.#kill = kill;
    this.#moment = moment;
    this.#outage = outage;
  }

  read(line: string): void {
    const [kind, first, digest] = line.split(' ');
    if (kind === 'log') this.instance = first;
    // The last line may be cut by the kill.
    else if (kind === 'ack' && digest?.length === 64) this.#acknowledge(Number(first), digest);
    else if (line === 'state LOG_UNAVAILABLE' && !this.named) this.#name();
  }

  #acknowledge(index: number, digest: string): void {
    this.digests.set(index, digest);
    if (this.digests.size === this.#outage?.acknowledged) this.#outage.begin();
    if (this.digests.size === this.#moment.acknowledged) void delay(this.#moment.ms).then(this.#kill);
  }

  #name(): void {
    const outage = this.#outage;
    this.named = true;
    if (outage) void delay(outage.ms).then(() => (outage.killed ? this.#kill() : outage.end()));
  }
}

/** Kill moments from a seed: the same seed kills at the same counts. */
export function killMoments(seed: number, count: number, mostAcknowledged: number): readonly KillMoment[] {
  let state = seed >>> 0;
  const next = (): number => {
    // Numerical Recipes' linear congruential generator.
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
  return Array.from({ length: count }, () => ({
    acknowledged: 1 + Math.floor(next() * mostAcknowledged),
    ms: Math.floor(next() * 8),
  }));
}
