import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { utf8 } from '../../attestation/bytes/bytes.ts';
import { hasSystemCode, LogError } from './errors.ts';
import { EVIDENCE_FOLDER } from './evidenceStore.ts';
import { makeFolder, syncFolder, writeWhole } from './files.ts';
import { InstanceLog, type LogSettings } from './instanceLog.ts';
import { Journal, openJournalFile, type OpenJournalFile } from './journal.ts';
import { FILE } from './layout.ts';
import { holdLock } from './lock.ts';

export interface LogOptions extends LogSettings {
  /** Larger than that of every former instance: `recoverLogs` gives it. */
  readonly created: number;
  readonly openFile?: OpenJournalFile;
}

/**
 * Opens the log of a new instance. A log is written only by the process that made its folder: an existing folder is
 * refused as `LOG_LOCKED`, also after a crash.
 */
export async function openLog(options: LogOptions): Promise<InstanceLog> {
  const { directory } = options;
  await makeFolder(dirname(directory));
  await mkdir(directory).catch((error: unknown) => {
    if (!hasSystemCode(error, 'EEXIST')) throw error;
    throw new LogError('LOG_LOCKED', `${directory} exists: another process opened it`, error);
  });
  const lock = await holdLock(directory);
  try {
    return new InstanceLog(options, await prepareFolder(options), lock);
  } catch (error) {
    await lock.release();
    throw new LogError('LOG_UNAVAILABLE', `${directory} cannot be written`, error);
  }
}

async function prepareFolder({ directory, origin, created, openFile }: LogOptions): Promise<Journal> {
  await makeFolder(join(directory, EVIDENCE_FOLDER));
  await makeFolder(join(directory, 'tile', 'entries'));
  const journal = await Journal.create(join(directory, FILE.journal), openFile ?? openJournalFile);
  await writeWhole(join(directory, FILE.created), utf8(`${created}\n`));
  // Last: a folder without it was never a log.
  await writeWhole(join(directory, FILE.origin), utf8(`${origin}\n`));
  await syncFolder(dirname(directory));
  return journal;
}
