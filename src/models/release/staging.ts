import { createHash } from 'node:crypto';
import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { HostingError } from '../hostingErrors.ts';
import { type Hashed, hashFile } from './hashing.ts';
import { PathSet } from './pathSet.ts';
import type { ReleaseFile } from './record.ts';

/** What a source says of a file before it is read; each is compared. */
export interface Expected {
  readonly size?: number | undefined;
  /** Lower-case hex. */
  readonly sha256?: string | undefined;
  /** SHA-1 by which git names the content, as the source states it: it finds damage, and no source that lies. */
  readonly gitBlob?: string | undefined;
}

/** A file that waits to become part of a release. */
export interface StagedFile extends ReleaseFile {
  /** Where its bytes lie; undefined where the store has them already. */
  readonly temporary: string | undefined;
}

export interface StagingOptions {
  /** A folder of its own. */
  readonly folder: string;
  /** Folder of the contents that the store has, by digest. */
  readonly blobs: string;
  /** Bytes that may still be written. */
  readonly maxBytes: number;
  readonly onBytes: (bytes: number) => void;
}

/** Takes the files of one source, hashes them as they come, and keeps to the quota while they do. */
export class Staging {
  readonly #options: StagingOptions;
  #paths = new PathSet();
  readonly #claimed: string[] = [];
  readonly #files: StagedFile[] = [];
  #left: number;
  #count = 0;

  constructor(options: StagingOptions) {
    this.#options = options;
    this.#left = options.maxBytes;
  }

  get files(): readonly StagedFile[] {
    return this.#files;
  }

  /** Bytes that may still be written. */
  get left(): number {
    return this.#left;
  }

  /** Refuses what cannot fit before any of it is fetched. */
  async requireRoom(files: readonly Expected[]): Promise<void> {
    let needed = 0;
    for (const { size = 0, sha256 } of files) {
      const known = sha256 !== undefined && (await this.#hasBlob(sha256, size));
      if (!known) needed += size;
    }
    if (needed > this.#left) throw overQuota(needed, this.#left);
  }

  /** Refuses a path before its content is fetched. */
  claim(path: string): void {
    this.#paths.add(path);
    this.#claimed.push(path);
  }

  /** Takes all files of one stream, or none, so that it may be tried again. */
  async together(takeAll: () => Promise<void>): Promise<void> {
    const [claimed, files] = [this.#claimed.length, this.#files.length];
    try {
      await takeAll();
    } catch (error) {
      for (const { temporary, size } of this.#files.splice(files)) {
        if (temporary !== undefined) await rm(temporary, { force: true });
        this.#giveBack(size);
      }
      this.#claimed.splice(claimed);
      this.#paths = new PathSet();
      for (const path of this.#claimed) this.#paths.add(path);
      throw error;
    }
  }

  /** Takes a claimed file from the store itself, where that has the content whole. */
  async reuse(path: string, { size, sha256 }: Expected): Promise<boolean> {
    if (sha256 === undefined) return false;
    const found = await hashFile(join(this.#options.blobs, sha256)).catch(() => undefined);
    if (found?.sha256 !== sha256 || (size !== undefined && found.size !== size)) return false;
    this.#files.push({ path, size: found.size, sha256, temporary: undefined });
    this.#options.onBytes(found.size);
    return true;
  }

  /** Takes a claimed file. What fails leaves nothing, so that it may be tried again. */
  async take(path: string, content: AsyncIterable<Uint8Array>, expected: Expected = {}): Promise<Hashed> {
    const temporary = join(this.#options.folder, `${this.#count++}.part`);
    const before = this.#left;
    try {
      const hashed = await this.#write(path, temporary, content, expected);
      requireExpected(path, hashed, expected);
      const { size, sha256 } = hashed;
      this.#files.push({ path, size, sha256, temporary });
      return hashed;
    } catch (error) {
      this.#giveBack(before - this.#left);
      await rm(temporary, { force: true });
      throw error;
    }
  }

  /** Leaves out files that are taken already. */
  drop(leaveOut: (path: string) => boolean): void {
    const kept = this.#files.filter(({ path }) => !leaveOut(path));
    this.#files.splice(0, this.#files.length, ...kept);
  }

  /** Moves every file up by one folder. */
  strip(folder: string): void {
    const moved = this.#files.map((file) => ({ ...file, path: file.path.slice(folder.length + 1) }));
    this.#files.splice(0, this.#files.length, ...moved);
  }

  #giveBack(bytes: number): void {
    this.#left += bytes;
    this.#options.onBytes(-bytes);
  }

  async #hasBlob(sha256: string, size: number): Promise<boolean> {
    const found = await open(join(this.#options.blobs, sha256), 'r').catch(() => undefined);
    try {
      return (await found?.stat())?.size === size;
    } finally {
      await found?.close();
    }
  }

  async #write(
    path: string,
    temporary: string,
    content: AsyncIterable<Uint8Array>,
    { size: stated, gitBlob }: Expected,
  ): Promise<Hashed> {
    const sha256 = createHash('sha256');
    const git = gitBlob !== undefined && stated !== undefined ? createHash('sha1') : undefined;
    git?.update(`blob ${stated ?? 0}\0`);
    const handle = await open(temporary, 'wx', 0o600);
    let size = 0;
    try {
      for await (const piece of content) {
        size += piece.length;
        if (stated !== undefined && size > stated) throw otherSize(path, size, stated);
        if (piece.length > this.#left) throw overQuota(piece.length, this.#left);
        this.#left -= piece.length;
        sha256.update(piece);
        git?.update(piece);
        await handle.writeFile(piece);
        this.#options.onBytes(piece.length);
      }
      await handle.sync();
      await handle.chmod(0o444);
    } finally {
      await handle.close();
    }
    return { size, sha256: sha256.digest('hex'), ...(git && { gitBlob: git.digest('hex') }) };
  }
}

function requireExpected(path: string, hashed: Hashed, expected: Expected): void {
  if (expected.size !== undefined && hashed.size !== expected.size) {
    throw otherSize(path, hashed.size, expected.size);
  }
  for (const kind of ['sha256', 'gitBlob'] as const) {
    const [found, wanted] = [hashed[kind], expected[kind]];
    if (wanted !== undefined && found !== wanted) {
      const message = `${JSON.stringify(path)} has the digest ${found ?? 'none'}, wanted is ${wanted}`;
      throw new HostingError('DIGEST_MISMATCH', message);
    }
  }
}

function otherSize(path: string, found: number, wanted: number): HostingError {
  const code = found < wanted ? 'SOURCE_TRUNCATED' : 'DIGEST_MISMATCH';
  const message = `${JSON.stringify(path)} has ${found < wanted ? found : `more than ${wanted}`} bytes, of ${wanted}`;
  return new HostingError(code, message, { transient: found < wanted });
}

function overQuota(needed: number, left: number): HostingError {
  return new HostingError('QUOTA_EXCEEDED', `${needed} more bytes are needed, ${left} are left of the quota`);
}
