import { join, resolve } from 'node:path';
import { openObjectStore, type ObjectStoreSettings } from '../objectStore/objectStore.ts';
import { diskStorage } from './diskStorage.ts';
import { objectStorage } from './objectStorage.ts';
import type { LogStorage } from './storage.ts';

/** The folder of the logs, in the data folder or below the prefix of the object store. */
export const INSTANCES = 'instances';

export interface StorageSettings {
  readonly data: { readonly directory: string; readonly logStorage: 'disk' | 'object-store' };
  readonly objectStore: ObjectStoreSettings;
}

/** Where the configuration says that the logs are. */
export async function openStorage({ data, objectStore }: StorageSettings): Promise<LogStorage> {
  return data.logStorage === 'disk'
    ? diskStorage(join(resolve(data.directory), INSTANCES))
    : objectStorage(await openObjectStore(objectStore), INSTANCES);
}
