import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  type ObjectStoreServer,
  type ServerOptions,
  startObjectStoreServer,
} from '../../scripts/crash/objectStoreServer.ts';
import {
  type ObjectStore,
  type ObjectStoreSettings,
  openObjectStore,
} from '../../src/objectStore/objectStore.ts';

export interface TestObjectStore {
  /** Its `mood` says how it answers. */
  readonly server: ObjectStoreServer;
  readonly settings: ObjectStoreSettings;
  /** A client of it. */
  readonly store: ObjectStore;
  close(): Promise<void>;
}

/** Starts an S3 store on this machine in a folder of its own; `close` stops it and removes the folder. */
export async function startObjectStore(options: ServerOptions = {}): Promise<TestObjectStore> {
  const folder = await mkdtemp(join(tmpdir(), 'vouchsafe-objects-'));
  const server = await startObjectStoreServer(folder, options);
  const settings = { ...server.settings, timeoutMs: 5000, attempts: 2 };
  const store = await openObjectStore(settings);
  return {
    server,
    settings,
    store,
    close: async () => {
      store.close();
      await server.close();
      await rm(folder, { recursive: true });
    },
  };
}
