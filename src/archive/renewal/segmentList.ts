import { open, readFile, rename, rm, truncate, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { formatFileLine, readFileList } from '../../../attestation/archive/fileList.ts';
import {
  SegmentTree,
  type FileEntry,
  type RenewalHash,
  type Segment,
} from '../../../attestation/archive/renewal.ts';
import type { SegmentFiles } from '../../../attestation/archive/renewalFiles.ts';
import { equalBytes } from '../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { readIfPresent, syncFolder } from '../../log/files.ts';
import { RenewalError } from './errors.ts';

/** Lines are written in pieces of so many bytes: what is lost in a crash is hashed again. */
const FLUSH_BYTES = 1024 * 1024;
const NEWLINE = 0x0a;

/** The list that the last renewal made of the same segment. */
export interface FormerList {
  readonly hash: RenewalHash;
  readonly bytes: Uint8Array;
}

export interface ListingOptions {
  readonly files: SegmentFiles;
  readonly hash: RenewalHash;
  /** Where the list goes; beside it stands what is not finished. */
  readonly path: string;
  /** Files that are left out: they may still be replaced. */
  readonly isOpen: (path: string) => boolean;
  readonly former: FormerList | undefined;
  readonly signal: AbortSignal;
  /** Told of each file that was read. */
  readonly onFile: (bytes: number) => void;
}

export interface Listing {
  readonly segment: Segment;
  /** Files of the former list that are there no more. */
  readonly missing: number;
}

/**
 * Hashes every file of a segment into a list, which is durable when it resolves. It goes on where a run before it
 * stopped; a list that is there already is taken as it is. A file that is not as it was in the former list ends it:
 * a renewal must not cover what was altered.
 */
export async function listSegment(options: ListingOptions): Promise<Listing> {
  const { files, hash, path, former } = options;
  const done = await readUnfinished(path, hash);
  if (done) return { segment: done.segment(files.instance), missing: 0 };
  const unfinished = `${path}.tmp`;
  const tree = (await readUnfinished(unfinished, hash)) ?? new SegmentTree(hash, nodeCrypto);
  const handle = await open(unfinished, 'a');
  const before = former && new FormerFiles(former, tree.last);
  try {
    await append(handle, tree, before, options);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(unfinished, path);
  await syncFolder(dirname(path));
  return { segment: tree.segment(files.instance), missing: before?.finish() ?? 0 };
}

/** The tree of a list of ours. */
function treeOf(list: Uint8Array, hash: RenewalHash): SegmentTree {
  const tree = new SegmentTree(hash, nodeCrypto);
  for (const entry of readFileList(list, hash)) tree.add(entry);
  return tree;
}

/**
 * What a run before this one wrote of a renewal whose record was never made. A torn line at its end is cut off; what
 * is damaged, or by another hash, is made anew, for nothing depends on it.
 */
async function readUnfinished(path: string, hash: RenewalHash): Promise<SegmentTree | undefined> {
  const bytes = await readIfPresent(path);
  if (!bytes) return undefined;
  const length = bytes.lastIndexOf(NEWLINE) + 1;
  try {
    const tree = treeOf(bytes.subarray(0, length), hash);
    if (length < bytes.length) await truncate(path, length);
    return tree;
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    await rm(path);
    return undefined;
  }
}

async function append(
  handle: FileHandle,
  tree: SegmentTree,
  former: FormerFiles | undefined,
  { files, hash, isOpen, signal, onFile }: ListingOptions,
): Promise<void> {
  const resumedAt = tree.last;
  let lines = '';
  for await (const path of files.paths()) {
    if (path <= resumedAt || isOpen(path)) continue;
    signal.throwIfAborted();
    const bytes = await files.read(path);
    if (!bytes)
      throw new RenewalError('DATA_ALTERED', `${path} of ${files.instance} vanished while it was read`);
    former?.check(path, bytes, files.instance);
    const entry: FileEntry = { path, size: bytes.length, digest: nodeCrypto.hash(hash, bytes) };
    tree.add(entry);
    lines += formatFileLine(entry);
    onFile(bytes.length);
    if (lines.length < FLUSH_BYTES) continue;
    await handle.appendFile(lines);
    lines = '';
  }
  await handle.appendFile(lines);
}

/** Goes through the former list beside the files, which have the same order. */
class FormerFiles {
  readonly #hash: RenewalHash;
  readonly #entries: Iterator<FileEntry, void>;
  #next: FileEntry | undefined;
  #missing = 0;

  constructor({ hash, bytes }: FormerList, after: string) {
    this.#hash = hash;
    this.#entries = readFileList(bytes, hash);
    do this.#advance();
    while (this.#next && this.#next.path <= after);
  }

  check(path: string, bytes: Uint8Array, instance: string): void {
    while (this.#next && this.#next.path < path) this.#miss();
    const entry = this.#next?.path === path ? this.#next : undefined;
    if (!entry) return;
    this.#advance();
    if (entry.size === bytes.length && equalBytes(entry.digest, nodeCrypto.hash(this.#hash, bytes))) return;
    throw new RenewalError('DATA_ALTERED', `${path} of ${instance} is not as it was`);
  }

  /** Files that are there no more, of what was compared. */
  finish(): number {
    while (this.#next) this.#miss();
    return this.#missing;
  }

  #miss(): void {
    this.#missing++;
    this.#advance();
  }

  #advance(): void {
    const step = this.#entries.next();
    this.#next = step.done === true ? undefined : step.value;
  }
}

/** A list whose tree the record names. */
export async function readFormer(
  path: string,
  hash: RenewalHash,
  { name, root }: Segment,
): Promise<FormerList> {
  try {
    const bytes = await readFile(path);
    if (equalBytes(treeOf(bytes, hash).segment(name).root, root)) return { hash, bytes };
  } catch (error) {
    throw new RenewalError('RENEWAL_DAMAGED', `the list ${path} cannot be read`, error);
  }
  throw new RenewalError('RENEWAL_DAMAGED', `the list ${path} is not the one of its renewal`);
}
