import { spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import process from 'node:process';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { openReadOnlyLog } from '../../src/log/readOnlyLog.ts';
import { recoverLogs } from '../../src/log/recover.ts';

const ROOT = fileURLToPath(new URL('../..', import.meta.url));
const WRITER = fileURLToPath(new URL('writer.ts', import.meta.url));

/** When the writer is killed: after so many acknowledged entries, and then so many ms. */
export interface KillMoment {
  readonly acknowledged: number;
  readonly ms: number;
}

export interface CrashOutcome {
  readonly acknowledged: number;
  /** Entries that were found: acknowledged ones, and perhaps some that were synced and not acknowledged yet. */
  readonly size: number;
  /** Bytes of the torn tail that was cut. */
  readonly cutBytes: number;
}

interface WriterOutput {
  readonly directory: string;
  readonly digests: ReadonlyMap<number, string>;
}

/** Starts a writer in `instances`, kills it at `moment`, recovers, and compares with what it acknowledged. */
export async function crashOnce(instances: string, moment: KillMoment): Promise<CrashOutcome> {
  const { directory, digests } = await runUntilKilled(instances, moment);
  const { logs } = await recoverLogs(instances);
  const former = logs.find((log) => log.directory === directory);
  if (former?.state !== 'whole') throw new Error(`the log is ${former?.problem ?? former?.state ?? 'gone'}`);
  const log = await openReadOnlyLog(directory);
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

async function runUntilKilled(instances: string, moment: KillMoment): Promise<WriterOutput> {
  const child = spawn(process.execPath, ['--import', 'tsx', WRITER, instances], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const closed = once(child, 'close');
  let directory: string | undefined;
  const digests = new Map<number, string>();
  for await (const line of createInterface({ input: child.stdout })) {
    const [kind, first, digest] = line.split(' ');
    if (kind === 'log') directory = first;
    // The last line may be cut by the kill.
    else if (kind === 'ack' && digest?.length === 64) digests.set(Number(first), digest);
    if (digests.size === moment.acknowledged) {
      void delay(moment.ms).then(() => child.kill('SIGKILL'));
    }
  }
  await closed;
  if (child.signalCode !== 'SIGKILL' || directory === undefined)
    throw new Error('the writer ended by itself');
  return { directory, digests };
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
