import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, mkdtempSync, openSync, rmdirSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { hasSystemCode } from '../../src/errors/systemCode.ts';
import { crashOnce, killMoments, onDisk } from './crash.ts';

/** Bytes: above what the writers of one run leave. */
const DISK_SIZE = '24m';
const BALLAST_CHUNK = new Uint8Array(64 * 1024);
const MOST_ACKNOWLEDGED = 700;
/** Well above what a writer does in the moment that it takes to fill the disk. */
const ACKNOWLEDGED_SINCE = 2000;

/** Mounts a file system of so many bytes in memory. */
export function mountSmall(folder: string, size: string): void {
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', folder], { stdio: 'ignore' });
}

export function unmount(folder: string): void {
  execFileSync('umount', [folder]);
}

/** True where this process may mount: root with the capability, on Linux. */
export function canMount(): boolean {
  const folder = mkdtempSync(join(tmpdir(), 'vouchsafe-mount-'));
  try {
    mountSmall(folder, '256k');
    unmount(folder);
    return true;
  } catch {
    return false;
  } finally {
    rmdirSync(folder);
  }
}

/** Fills the disk under a writer; every other one is killed while it is full. `attempt` runs each and says how it went. */
export async function fillDisks(
  folder: string,
  count: number,
  seed: number,
  attempt: (name: string, crash: () => Promise<string>) => Promise<boolean>,
): Promise<number> {
  let good = 0;
  mkdirSync(folder);
  for (const [i, { acknowledged, ms }] of killMoments(seed, count, MOST_ACKNOWLEDGED).entries()) {
    mountSmall(folder, DISK_SIZE);
    try {
      const ballast = join(folder, 'ballast');
      const outage = {
        acknowledged,
        ms: 50 * ms,
        killed: i % 2 === 1,
        begin: () => {
          fill(ballast);
        },
        end: () => {
          rmSync(ballast, { force: true });
        },
      };
      const passed = await attempt(`full disk ${i + 1} of ${count}`, async () => {
        const moment = { acknowledged: acknowledged + ACKNOWLEDGED_SINCE, ms };
        const outcome = await crashOnce(onDisk(folder), moment, outage);
        const when = outage.killed ? 'meanwhile' : 'afterwards';
        return `${outcome.acknowledged} acknowledged, ${outcome.size} found, ${outcome.cutBytes} torn bytes cut, killed ${when}`;
      });
      if (passed) good++;
    } finally {
      unmount(folder);
    }
  }
  return good;
}

/** Writes until there is no room for one byte more. */
export function fill(path: string): void {
  const file = openSync(path, 'w');
  try {
    for (const length of [BALLAST_CHUNK.length, 512, 1])
      writeUntilFull(file, BALLAST_CHUNK.subarray(0, length));
  } finally {
    closeSync(file);
  }
}

function writeUntilFull(file: number, chunk: Uint8Array): void {
  try {
    for (;;) writeSync(file, chunk);
  } catch (error) {
    if (!hasSystemCode(error, 'ENOSPC')) throw error;
  }
}
