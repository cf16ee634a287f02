import { constants, statSync } from 'node:fs';
import { open, readFile, rename } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { hasSystemCode } from '../errors/systemCode.ts';
import { LogError } from './errors.ts';
import { makeFolder, syncFolder } from './files.ts';
import { bundlePath, FILE } from './layout.ts';
import type { Journal } from './storage.ts';

/** What the journal needs of an open file. */
export interface JournalFile {
  /** May write less than it was given; returns how much. What it returns is durable. */
  write(bytes: Uint8Array, position: number): Promise<number>;
  /** Makes a new length durable. */
  sync(): Promise<void>;
  truncate(length: number): Promise<void>;
  /** Device and inode, and length, of what the path names now. */
  stat(): FileState;
  close(): Promise<void>;
}

export interface FileState {
  readonly identity: string;
  readonly length: number;
}

export type OpenJournalFile = (path: string) => Promise<JournalFile>;

const { O_CREAT, O_DSYNC, O_TRUNC, O_WRONLY } = constants;

/**
 * A new empty file of the real file system. With O_DSYNC a write and its sync are one system call: one turn of the
 * thread pool for a commit. `stat` of a local path takes microseconds and needs none.
 */
export const openJournalFile: OpenJournalFile = async (path) => {
  const handle = await open(path, O_WRONLY | O_CREAT | O_TRUNC | O_DSYNC, 0o644);
  return {
    write: async (bytes, position) => (await handle.write(bytes, 0, bytes.length, position)).bytesWritten,
    sync: () => handle.datasync(),
    truncate: (length) => handle.truncate(length),
    stat: () => {
      const { dev, ino, size } = statSync(path, { bigint: true });
      return { identity: `${dev.toString()}:${ino.toString()}`, length: Number(size) };
    },
    close: () => handle.close(),
  };
};

interface OpenFile {
  readonly file: JournalFile;
  readonly identity: string;
}

async function createFile(path: string, openFile: OpenJournalFile): Promise<OpenFile> {
  const file = await openFile(path);
  try {
    await syncFolder(dirname(path));
    const { identity } = file.stat();
    return { file, identity };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/**
 * The open entry bundle on disk. What is synced is never written again: each append starts at the synced length, and
 * what a failed one left behind is cut off first. Before and after each append the file must be the one that this
 * process made, as long as this process left it, else `LOG_DIVERGED`.
 */
export class DiskJournal implements Journal {
  readonly #directory: string;
  readonly #path: string;
  readonly #openFile: OpenJournalFile;
  #open: OpenFile;
  #bundle = 0;
  #length = 0;
  /** A failed append may have left bytes behind the synced length. */
  #torn = false;
  /** The file has its final name and no new one took its place yet. */
  #moved = false;

  private constructor(directory: string, openFile: OpenJournalFile, open: OpenFile) {
    this.#directory = directory;
    this.#path = join(directory, FILE.journal);
    this.#openFile = openFile;
    this.#open = open;
  }

  static async create(directory: string, openFile: OpenJournalFile): Promise<DiskJournal> {
    return new DiskJournal(directory, openFile, await createFile(join(directory, FILE.journal), openFile));
  }

  async append(bytes: Uint8Array): Promise<void> {
    if (this.#torn) await this.#cut();
    this.check();
    this.#torn = true;
    const { file } = this.#open;
    let written = 0;
    while (written < bytes.length) {
      written += await file.write(bytes.subarray(written), this.#length + written);
    }
    this.#expect(this.#length + bytes.length);
    this.#length += bytes.length;
    this.#torn = false;
  }

  /** A failed sync may drop pages from memory as if they were clean: they are cut here and written again after. */
  async #cut(): Promise<void> {
    await this.#open.file.truncate(this.#length);
    await this.#open.file.sync();
    this.#torn = false;
  }

  check(): void {
    this.#expect(this.#length);
  }

  read(): Promise<Uint8Array> {
    this.check();
    return readFile(this.#path);
  }

  #expect(length: number): void {
    const found = this.#stat();
    if (found.identity !== this.#open.identity) {
      throw new LogError('LOG_DIVERGED', `${this.#path} was replaced by another file`);
    }
    if (found.length !== length) {
      const detail = `${this.#path} has ${found.length} bytes where this process left ${length}`;
      throw new LogError('LOG_DIVERGED', detail);
    }
  }

  #stat(): FileState {
    try {
      return this.#open.file.stat();
    } catch (error) {
      if (hasSystemCode(error, 'ENOENT')) throw new LogError('LOG_DIVERGED', `${this.#path} is gone`);
      throw error;
    }
  }

  async seal(): Promise<void> {
    const path = join(this.#directory, bundlePath(this.#bundle));
    if (!this.#moved) {
      this.check();
      await makeFolder(dirname(path));
      await rename(this.#path, path);
      this.#moved = true;
    }
    await syncFolder(dirname(path));
    const next = await createFile(this.#path, this.#openFile);
    await this.#open.file.close();
    this.#open = next;
    this.#bundle++;
    this.#length = 0;
    this.#moved = false;
  }

  close(): Promise<void> {
    return this.#open.file.close();
  }
}
