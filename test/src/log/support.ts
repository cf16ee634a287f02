import { mkdtemp, rm } from 'node:fs/promises';
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
import { openJournalFile, type JournalFile, type OpenJournalFile } from '../../../src/log/journal.ts';
import { openLog, type LogOptions } from '../../../src/log/openLog.ts';

export const ORIGIN = 'example.org/vouchsafe/00';
export const sha256 = sha256With(nodeCrypto);

/** Runs with a folder that is removed afterwards. */
export async function withFolder(run: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), 'vouchsafe-archive-'));
  try {
    await run(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Runs with an open log below a folder of its own. */
export function withLog(
  run: (log: InstanceLog) => Promise<void>,
  options: Partial<LogOptions> = {},
): Promise<void> {
  return withFolder(async (folder) => {
    const directory = join(folder, 'instances', 'a0');
    const log = await openLog({ directory, origin: ORIGIN, created: 1, ...options });
    try {
      await run(log);
    } finally {
      await log.close();
    }
  });
}

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
