import { mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { utf8 } from '../../attestation/bytes/bytes.ts';
import { hasSystemCode } from '../errors/systemCode.ts';
import { LogError } from './errors.ts';
import { makeFolder, readIfPresent, syncFolder, writeInFolder, writeWhole } from './files.ts';
import { DiskJournal, openJournalFile, type OpenJournalFile } from './diskJournal.ts';
import { bundlePath, EVIDENCE_FOLDER, FILE } from './layout.ts';
import { holdLock, isLocked } from './lock.ts';
import type { FormerFiles, LogFacts, LogStorage, NewLog } from './storage.ts';
import type { TornTail } from './storedLog.ts';

const RETRY_DELAYS_MS = [20, 100, 500, 2000, 5000];

/** The logs below a folder of a local disk, `<data>/instances`. */
export function diskStorage(
  folder: string,
  openFile: OpenJournalFile = openJournalFile,
): LogStorage & { files(instance: string): DiskFiles } {
  const files = (instance: string): DiskFiles => new DiskFiles(join(folder, instance));
  return {
    retryDelaysMs: RETRY_DELAYS_MS,
    instances: () => listInstances(folder, files),
    files,
    isLive: (instance) => isLocked(join(folder, instance)),
    create: (instance, facts) => create(join(folder, instance), facts, openFile),
    close: () => undefined,
  };
}

async function listInstances(
  folder: string,
  files: (instance: string) => DiskFiles,
): Promise<readonly string[]> {
  const found = await readdir(folder, { withFileTypes: true }).catch((error: unknown) => {
    if (hasSystemCode(error, 'ENOENT')) return [];
    throw error;
  });
  const names = found.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  const isLog = await Promise.all(names.map((name) => files(name).has(FILE.origin)));
  return names.filter((_, i) => isLog[i]);
}

async function create(directory: string, facts: LogFacts, openFile: OpenJournalFile): Promise<NewLog> {
  await makeFolder(dirname(directory));
  await mkdir(directory).catch((error: unknown) => {
    if (!hasSystemCode(error, 'EEXIST')) throw error;
    throw new LogError('LOG_LOCKED', `${directory} exists: another process opened it`, error);
  });
  const lock = await holdLock(directory);
  try {
    const journal = await prepareFolder(directory, facts, openFile);
    return { files: new DiskFiles(directory), journal, release: () => lock.release() };
  } catch (error) {
    await lock.release();
    throw new LogError('LOG_UNAVAILABLE', `${directory} cannot be written`, error);
  }
}

async function prepareFolder(
  directory: string,
  { origin, created }: LogFacts,
  openFile: OpenJournalFile,
): Promise<DiskJournal> {
  await makeFolder(join(directory, EVIDENCE_FOLDER));
  await makeFolder(join(directory, 'tile', 'entries'));
  const journal = await DiskJournal.create(directory, openFile);
  await writeWhole(join(directory, FILE.created), utf8(`${created}\n`));
  // Last: a folder without it was never a log.
  await writeWhole(join(directory, FILE.origin), utf8(`${origin}\n`));
  await syncFolder(dirname(directory));
  return journal;
}

/** The folder of one log. */
export class DiskFiles implements FormerFiles {
  readonly name: string;

  constructor(directory: string) {
    this.name = directory;
  }

  read(path: string): Promise<Uint8Array | undefined> {
    return readIfPresent(join(this.name, path));
  }

  async has(path: string): Promise<boolean> {
    try {
      return (await stat(join(this.name, path))).isFile();
    } catch (error) {
      if (hasSystemCode(error, 'ENOENT')) return false;
      throw error;
    }
  }

  write(path: string, bytes: Uint8Array): Promise<void> {
    return writeInFolder(join(this.name, path), bytes);
  }

  async names(folder: string): Promise<readonly string[]> {
    try {
      return await readdir(join(this.name, folder));
    } catch (error) {
      if (hasSystemCode(error, 'ENOENT')) return [];
      throw error;
    }
  }

  removeFolder(folder: string): Promise<void> {
    return rm(join(this.name, folder), { recursive: true, force: true });
  }

  async readJournal(): Promise<Uint8Array> {
    return (await this.read(FILE.journal)) ?? new Uint8Array(0);
  }

  async cutJournal(_bundle: number, { bytes }: TornTail): Promise<void> {
    const handle = await open(join(this.name, FILE.journal), 'r+');
    try {
      const { size } = await handle.stat();
      await handle.truncate(size - bytes);
      await handle.sync();
    } finally {
      await handle.close();
    }
  }

  async sealJournal(bundle: number): Promise<void> {
    const path = join(this.name, bundlePath(bundle));
    await makeFolder(dirname(path));
    await rename(join(this.name, FILE.journal), path);
    await syncFolder(dirname(path));
    await syncFolder(this.name);
  }

  /** A journal that was sealed is the bundle itself. */
  tidyJournals(): Promise<void> {
    return Promise.resolve();
  }
}
