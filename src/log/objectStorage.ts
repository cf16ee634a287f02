import { randomBytes } from 'node:crypto';
import { utf8 } from '../../attestation/bytes/bytes.ts';
import type { ObjectStore } from '../objectStore/objectStore.ts';
import { FILE } from './layout.ts';
import { mapAtOnce, namesIn, ObjectFiles } from './objectFiles.ts';
import { ObjectJournal } from './objectJournal.ts';
import type { LogFacts, LogStorage, NewLog } from './storage.ts';

/** A store may be away for longer than a disk: what waits is written when it is back within ten minutes. */
const RETRY_DELAYS_MS = [100, 500, 2000, 5000, ...Array<number>(60).fill(10_000)];

/** The logs below a folder of an object store. */
export function objectStorage(store: ObjectStore, folder: string): LogStorage {
  const files = (instance: string): ObjectFiles => new ObjectFiles(store, `${folder}/${instance}`);
  return {
    retryDelaysMs: RETRY_DELAYS_MS,
    instances: async () => {
      const names = await namesIn(store, folder);
      const folders = names.filter((name) => name.endsWith('/')).map((name) => name.slice(0, -1));
      const isLog = await mapAtOnce(folders, (name) => files(name).has(FILE.origin));
      return folders.filter((_, i) => isLog[i]);
    },
    files,
    // A store holds no locks. What recovery does to the log of a living process, that process would do itself.
    isLive: () => Promise.resolve(false),
    create: (instance, facts) => create(files(instance), facts),
    close: () => store.close(),
  };
}

async function create(files: ObjectFiles, { origin, created }: LogFacts): Promise<NewLog> {
  // Its content tells our own object, whose answer was lost, from that of another process.
  await files.writeOnce(FILE.lock, randomBytes(16), 'LOG_LOCKED');
  await files.write(FILE.created, utf8(`${created}\n`));
  // Last: a folder without it was never a log.
  const line = utf8(`${origin}\n`);
  await files.write(FILE.origin, line);
  const journal = new ObjectJournal(files, { path: FILE.origin, length: line.length });
  return { files, journal, release: () => files.settle() };
}
