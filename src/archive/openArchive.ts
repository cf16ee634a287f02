import { join, resolve } from 'node:path';
import type { Config } from '../config/schema.ts';
import { makeFolder } from '../log/files.ts';
import { openObjectStore } from '../objectStore/objectStore.ts';
import { Archive, type ArchiveParts } from './archive.ts';
import { type BlobStore, DiskBlobs, ObjectBlobs } from './blobs.ts';
import { ArchiveKey } from './envelope.ts';
import type { Sql } from './sql.ts';

/** What the configuration says of the archive. */
export type ArchiveConfig = Pick<Config, 'archive' | 'data' | 'objectStore'>;

/** Database and blobs, as the configuration names them. */
export interface Storage {
  readonly sql: Sql;
  readonly blobs: BlobStore;
  readonly contentBlobs: BlobStore;
  close(): Promise<void>;
}

/** Opens the archive of a running service, or nothing where it is off. */
export async function openArchive(
  config: ArchiveConfig,
  rest: Pick<ArchiveParts, 'live' | 'former' | 'now' | 'onFailure'>,
): Promise<Archive | undefined> {
  const { enabled, content, contentKey, contentMinDays, contentMaxDays, receiptsMaxDays } = config.archive;
  if (!enabled) return undefined;
  const storage = await openStorage(config, rest.now);
  try {
    return await Archive.open({
      ...rest,
      ...storage,
      contentKey: contentKey === undefined ? undefined : ArchiveKey.parse(contentKey),
      keepsContent: content,
      retention: { contentMinDays, contentMaxDays, receiptsMaxDays },
    });
  } catch (error) {
    await storage.close();
    throw error;
  }
}

/** For the service, and for commands that read the archive of a service that is stopped. */
export async function openStorage(config: ArchiveConfig, now: () => number): Promise<Storage> {
  const { postgresql } = config.archive;
  const directory = archiveFolder(config);
  if (postgresql === undefined || config.archive.blobs === 'disk') await makeFolder(directory);
  const sql =
    postgresql === undefined
      ? await (await import('./embedded.ts')).openEmbedded(join(directory, 'archive.db'))
      : await (await import('./postgres.ts')).openPostgres(postgresql);
  try {
    const { blobs, contentBlobs, close } = await openBlobs(config, directory, now);
    const closeBoth = async (): Promise<void> => {
      close();
      await sql.close();
    };
    return { sql, blobs, contentBlobs, close: closeBoth };
  } catch (error) {
    await sql.close();
    throw error;
  }
}

/** Where the archive is on this machine. */
export function archiveFolder({ archive, data }: ArchiveConfig): string {
  return resolve(archive.directory ?? join(data.directory, 'archive'));
}

async function openBlobs(
  { archive, objectStore }: ArchiveConfig,
  directory: string,
  now: () => number,
): Promise<Pick<Storage, 'blobs' | 'contentBlobs'> & { readonly close: () => void }> {
  if (archive.blobs === 'disk') {
    return {
      blobs: new DiskBlobs(join(directory, 'log')),
      contentBlobs: new DiskBlobs(join(directory, 'content')),
      close: () => undefined,
    };
  }
  const store = await openObjectStore(objectStore);
  const lockDays = archive.objectLockDays;
  return {
    blobs: new ObjectBlobs(store, { prefix: 'archive/log/', lockDays, now }),
    // Content must be erasable: it is never under the store's own lock.
    contentBlobs: new ObjectBlobs(store, { prefix: 'archive/content/', lockDays: undefined, now }),
    close: () => {
      store.close();
    },
  };
}
