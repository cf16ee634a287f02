import { appendFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { utf8 } from '../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { sha256With } from '../../../attestation/crypto/provider.ts';
import { encodeCheckpoint } from '../../../attestation/log/checkpoint.ts';
import { rootOf } from '../../../attestation/log/memoryTree.ts';
import { leafHash } from '../../../attestation/log/merkle.ts';
import { formatNote } from '../../../attestation/log/note.ts';
import { LogError } from '../../../src/log/errors.ts';
import type { InstanceLog } from '../../../src/log/instanceLog.ts';
import { openJournalFile, type JournalFile, type OpenJournalFile } from '../../../src/log/diskJournal.ts';
import { diskStorage } from '../../../src/log/diskStorage.ts';
import { objectStorage } from '../../../src/log/objectStorage.ts';
import { openLog, type LogOptions } from '../../../src/log/openLog.ts';
import { batchPath } from '../../../src/log/layout.ts';
import type { FormerFiles, LogStorage } from '../../../src/log/storage.ts';
import type { ServerOptions } from '../../../scripts/crash/objectStoreServer.ts';
import { startObjectStore, type TestObjectStore } from '../../support/objectStore.ts';

export const ORIGIN = 'example.org/vouchsafe/00';
export const sha256 = sha256With(nodeCrypto);

/** Runs with a folder that is removed afterwards. */
export async function withFolder(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'vouchsafe-log-'));
  try {
    await run(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Opens log `a0` of a storage, and closes it afterwards. */
export async function withLogIn(
  storage: LogStorage,
  run: (log: InstanceLog) => Promise<void>,
  options: Partial<LogOptions> = {},
): Promise<void> {
  const log = await openLog({ storage, instance: 'a0', origin: ORIGIN, created: 1, ...options });
  try {
    await run(log);
  } finally {
    await log.close();
  }
}

/** Runs with an open log below a folder of its own. */
export function withLog(
  run: (log: InstanceLog) => Promise<void>,
  { openFile, ...options }: Partial<LogOptions> & { readonly openFile?: OpenJournalFile } = {},
): Promise<void> {
  return withFolder((folder) => withLogIn(diskStorage(join(folder, 'instances'), openFile), run, options));
}

/** Runs with the logs of an object store of its own. */
export async function withObjects(
  run: (storage: LogStorage, objects: TestObjectStore) => Promise<void>,
  options: ServerOptions = {},
): Promise<void> {
  const objects = await startObjectStore(options);
  try {
    await run(objectStorage(objects.store, 'instances'), objects);
  } finally {
    await objects.close();
  }
}

/** Where logs are, with what somebody else can do to log `a0` there. */
export interface Place {
  readonly storage: LogStorage;
  readonly files: FormerFiles;
  readonly remove: (path: string) => Promise<void>;
  /** Path of what was appended to the journal last. */
  readonly journalPath: (bundle: number) => Promise<string>;
  /** Appends to the journal. */
  readonly lengthen: (bundle: number, bytes: Uint8Array) => Promise<void>;
}

function onDisk(run: (place: Place) => Promise<void>): Promise<void> {
  return withFolder((folder) => {
    const storage = diskStorage(join(folder, 'instances'));
    const files = storage.files('a0');
    return run({
      storage,
      files,
      remove: (path) => rm(join(files.name, path)),
      journalPath: () => Promise.resolve('journal'),
      lengthen: (_bundle, bytes) => appendFile(join(files.name, 'journal'), bytes),
    });
  });
}

function inObjects(options: ServerOptions, run: (place: Place) => Promise<void>): Promise<void> {
  return withObjects((storage, { store }) => {
    const files = storage.files('a0');
    const batches = async (bundle: number) => (await files.names(`journal/${bundle}`)).length;
    return run({
      storage,
      files,
      remove: (path) => store.remove(`${files.name}/${path}`),
      journalPath: async (bundle) => batchPath(bundle, (await batches(bundle)) - 1),
      lengthen: async (bundle, bytes) => files.write(batchPath(bundle, await batches(bundle)), bytes),
    });
  }, options);
}

type WithPlace = (run: (place: Place) => Promise<void>) => Promise<void>;

/** Every place where logs can be, each as something that runs with an empty one. */
export const PLACES: readonly (readonly [string, WithPlace])[] = [
  ['a disk', onDisk],
  ['an object store', (run) => inObjects({ conditional: true }, run)],
  ['an object store that knows no conditions', (run) => inObjects({}, run)],
];

export function entryOf(index: number): Uint8Array {
  return utf8(`record ${index}`);
}

/** Appends entries `log.size` up to `size`, and waits for them. */
export async function fill(log: InstanceLog, size: number): Promise<void> {
  const waiting: Promise<void>[] = [];
  while (log.size < size) waiting.push(log.enqueue(entryOf(log.size)).durable);
  await Promise.all(waiting);
}

/** Root over the first `size` entries of `fill`. */
export function expectedRoot(size: number): Uint8Array {
  return rootOf(
    sha256,
    Array.from({ length: size }, (_, i) => leafHash(sha256, entryOf(i))),
  );
}

/** A checkpoint note; its signature is not looked at by the log. */
export function noteOf(size: number, root: Uint8Array, origin = ORIGIN): Uint8Array {
  const text = encodeCheckpoint({ origin, size, root, extensions: [] });
  return formatNote(text, [{ name: origin, keyId: 1, signature: new Uint8Array(64) }]);
}

export async function publish(log: InstanceLog): Promise<void> {
  await log.publish(noteOf(log.durableSize, log.head.root), log.durableSize);
}

/** Code of the `LogError` that a step throws; `done` where it does not. */
export async function logCodeOf(step: () => unknown): Promise<string> {
  try {
    await step();
    return 'done';
  } catch (error) {
    if (error instanceof LogError) return error.code;
    throw error;
  }
}

/** Journal files of the real file system whose single operations a test replaces. */
export function brokenFile(
  change: (file: JournalFile, path: string) => Partial<JournalFile>,
): OpenJournalFile {
  return async (path) => {
    const file = await openJournalFile(path);
    return { ...file, ...change(file, path) };
  };
}

export function systemError(code: string): Error {
  return Object.assign(new Error(code), { code });
}
