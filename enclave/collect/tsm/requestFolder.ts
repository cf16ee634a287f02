import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, readlink, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { CollectError } from '../errors.ts';
import { errnoOf, toCollectError } from './systemError.ts';

/** Folders that could not be removed; more of them, and no new one is made. */
const MAX_LEFT_OVER = 8;
const NAME = /^vouchsafe-(\d+)-(\d+)-(\d+)-[0-9a-f]{32}$/;

/** Which process this is, beyond its id: two processes never share all three while one of them lives. */
interface ProcessIdentity {
  /** Inode of the PID namespace: ids of processes mean nothing outside theirs. */
  readonly namespace: string;
  readonly pid: string;
  /** Ticks between the start of the machine and that of the process. */
  readonly startTime: string;
}

/**
 * Folders of requests in `/sys/kernel/config/tsm/report`. A folder that is left behind keeps kernel memory, and newer
 * kernels let no driver register again while there is one (tsm_report_register).
 *
 * Names are `vouchsafe-<PID namespace>-<pid>-<start time>-<16 random bytes>`: no other program can guess and hold one,
 * and the first three tell whether the process that made it can still live.
 */
export class RequestFolders {
  readonly #parent: string;
  readonly #identity: ProcessIdentity | undefined;
  readonly #prefix: string;
  readonly #leftOver = new Set<string>();

  constructor(parent: string, identity: ProcessIdentity | undefined) {
    this.#parent = parent;
    this.#identity = identity;
    const { namespace, pid, startTime } = identity ?? { namespace: '0', pid: '0', startTime: '0' };
    this.#prefix = `vouchsafe-${namespace}-${pid}-${startTime}`;
  }

  /** Makes a folder for one request and removes it afterwards, whatever came of it. */
  async withFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
    await this.removeLeftOver();
    if (this.#leftOver.size >= MAX_LEFT_OVER) {
      throw new CollectError(
        'DEVICE_REFUSED',
        `${this.#leftOver.size} folders of requests in ${this.#parent} cannot be removed`,
      );
    }
    const folder = join(this.#parent, `${this.#prefix}-${randomBytes(16).toString('hex')}`);
    try {
      await mkdir(folder);
    } catch (error) {
      throw toCollectError(error, `cannot make a request in ${this.#parent}`);
    }
    try {
      return await use(folder);
    } finally {
      await this.#remove(folder);
    }
  }

  /** Tries again where an earlier request could not remove its folder. */
  async removeLeftOver(): Promise<void> {
    for (const folder of [...this.#leftOver]) await this.#remove(folder);
  }

  /**
   * Removes what processes of ours left behind that ended before they could. One in another PID namespace is left
   * alone, and so is one of which it is not certain that its maker is gone.
   */
  async removeStale(): Promise<void> {
    if (!this.#identity) return;
    for (const name of await readdir(this.#parent).catch(() => [])) {
      const [, namespace, pid = '', startTime] = NAME.exec(name) ?? [];
      if (namespace !== this.#identity.namespace) continue;
      if (await isGone(pid, startTime)) await rmdir(join(this.#parent, name)).catch(() => undefined);
    }
  }

  async #remove(folder: string): Promise<void> {
    try {
      await rmdir(folder);
      this.#leftOver.delete(folder);
    } catch (error) {
      // Removed by somebody else, or with the module: there is nothing to remove any more.
      if (errnoOf(error) === 'ENOENT') this.#leftOver.delete(folder);
      else this.#leftOver.add(folder);
    }
  }
}

/**
 * Undefined where `/proc` cannot be read, or is that of another PID namespace: folders are made all the same, and none
 * of others are removed.
 */
export async function identifyProcess(): Promise<ProcessIdentity | undefined> {
  try {
    const pid = String(process.pid);
    if ((await readlink('/proc/self')) !== pid) return undefined;
    const [, namespace] = /^pid:\[(\d+)\]$/.exec(await readlink('/proc/self/ns/pid')) ?? [];
    const startTime = await readStartTime(pid);
    return namespace && startTime ? { namespace, pid, startTime } : undefined;
  } catch {
    return undefined;
  }
}

/** No process has the id, or one that started at another time has. What cannot be told counts as alive. */
async function isGone(pid: string, startTime: string | undefined): Promise<boolean> {
  try {
    process.kill(Number(pid), 0);
  } catch (error) {
    return errnoOf(error) === 'ESRCH';
  }
  const current = await readStartTime(pid).catch(() => undefined);
  return current !== undefined && current !== startTime;
}

/** Field 22 of `/proc/<pid>/stat`. Field 2 is the name of the program and may hold spaces and brackets. */
async function readStartTime(pid: string): Promise<string | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'latin1');
  return stat
    .slice(stat.lastIndexOf(')') + 2)
    .split(' ')
    .at(22 - 3);
}
