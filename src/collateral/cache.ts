import { hash, randomBytes } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm, stat, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { equalBytes } from '../../attestation/bytes/bytes.ts';
import { decodeDc, encodeDc, type Dc } from '../../attestation/cbor/deterministic.ts';
import { asArray, asBytes, asCount, asLabel, asTuple } from '../../attestation/cbor/shape.ts';
import { Refusal } from '../../attestation/errors.ts';
import type { Received } from './item.ts';
import { needKey, type CollateralNeed } from './need.ts';

const LABEL = 'vouchsafe/collateral-cache/1';
/** The largest statement is a manifest or CRL of a few MiB; nothing larger is read. */
const MAX_ENTRY_BYTES = 8 * 1024 * 1024;
/** A writer that is older has ended without its rename. */
const ABANDONED_MS = 3_600_000;
/** Everything else in the folder is not ours and is left alone. */
const ENTRY_NAME = /^[0-9a-f]{64}$/;
const TEMPORARY_NAME = /^[0-9a-f]{64}\.[0-9a-f]{16}\.tmp$/;

export interface CacheEntry {
  readonly received: Received;
  /** Milliseconds since 1970. */
  readonly fetchedAt: number;
  /** Until then nobody need ask again. */
  readonly freshUntil: number;
}

export interface CacheOptions {
  /** Bytes of all entries together; 64 MiB by default. The least recently used go first. */
  readonly maxBytes?: number;
}

/**
 * Statements on disk, one file each, named by SHA-256 of what was asked for. Files appear whole, by a rename, and hold
 * their own digest: any number of processes may share a folder, and a damaged entry is none. Whoever may write there
 * can withhold and age what verifiers see, not forge it: vendors sign it.
 */
export class CollateralCache {
  readonly #folder: string;
  readonly #maxBytes: number;

  constructor(folder: string, { maxBytes = 64 * 1024 * 1024 }: CacheOptions = {}) {
    this.#folder = folder;
    this.#maxBytes = maxBytes;
  }

  /** Undefined where there is no entry or a damaged one, which is removed. */
  async read(need: CollateralNeed): Promise<CacheEntry | undefined> {
    const path = this.#pathOf(need);
    const bytes = await readBounded(path);
    if (!bytes) return undefined;
    const entry = decodeEntry(bytes, needKey(need));
    if (entry) await markUsed(path);
    else await this.remove(need);
    return entry;
  }

  /** Throws the error of the file system where the folder cannot be written. */
  async write(need: CollateralNeed, entry: CacheEntry): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const path = this.#pathOf(need);
    const temporary = `${path}.${randomBytes(8).toString('hex')}.tmp`;
    try {
      await writeNew(temporary, encodeEntry(needKey(need), entry));
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
    await this.#evict();
  }

  async remove(need: CollateralNeed): Promise<void> {
    await orAbsent(rm(this.#pathOf(need), { force: true }));
  }

  #pathOf(need: CollateralNeed): string {
    return join(this.#folder, hash('sha256', needKey(need), 'hex'));
  }

  async #evict(): Promise<void> {
    const names = await readdir(this.#folder);
    await Promise.all(names.filter((name) => TEMPORARY_NAME.test(name)).map((name) => this.#sweep(name)));
    const entries = (
      await Promise.all(names.filter((name) => ENTRY_NAME.test(name)).map((name) => this.#describe(name)))
    ).flatMap((entry) => entry ?? []);
    let total = entries.reduce((sum, { size }) => sum + size, 0);
    for (const { path, size } of entries.sort((a, b) => a.usedAt - b.usedAt)) {
      if (total <= this.#maxBytes) return;
      await rm(path, { force: true });
      total -= size;
    }
  }

  async #sweep(name: string): Promise<void> {
    const found = await this.#describe(name);
    if (found && Date.now() - found.usedAt > ABANDONED_MS) await rm(found.path, { force: true });
  }

  /** Another process may have removed it by now. */
  async #describe(name: string) {
    const path = join(this.#folder, name);
    const found = await orAbsent(stat(path));
    return found?.isFile() ? { path, size: found.size, usedAt: found.mtimeMs } : undefined;
  }
}

async function writeNew(path: string, bytes: Uint8Array): Promise<void> {
  const handle = await open(path, 'wx', 0o600);
  try {
    await handle.writeFile(bytes);
  } finally {
    await handle.close();
  }
}

async function readBounded(path: string): Promise<Uint8Array | undefined> {
  const found = await orAbsent(stat(path));
  if (!found) return undefined;
  if (found.size > MAX_ENTRY_BYTES) return new Uint8Array(0);
  return orAbsent(readFile(path));
}

/** A file that is not there, or that the file system will not give, is no entry: a cache stops nobody. */
async function orAbsent<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== undefined) return undefined;
    throw error;
  }
}

/** Eviction goes by the time of last use; a folder that is not ours to write keeps its own. */
async function markUsed(path: string): Promise<void> {
  const now = new Date();
  await utimes(path, now, now).catch(() => undefined);
}

/** `dc([label, SHA-256 of the rest, dc([key, fetched, fresh until, body, [certificate, ...]])])`; times in ms. */
function encodeEntry(key: string, { received, fetchedAt, freshUntil }: CacheEntry): Uint8Array {
  const content = encodeDc([key, fetchedAt, freshUntil, received.body, received.chain]);
  return encodeDc([LABEL, digest(content), content]);
}

function decodeEntry(bytes: Uint8Array, key: string): CacheEntry | undefined {
  try {
    const [label, expected, content] = asTuple(decodeDc(bytes), 'cache entry', 3);
    asLabel(label, 'cache entry label', LABEL);
    const inner = asBytes(content, 'cache entry');
    if (!equalBytes(digest(inner), asBytes(expected, 'digest'))) return undefined;
    return readContent(asTuple(decodeDc(inner), 'cache entry', 5), key);
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}

function readContent(content: readonly Dc[], key: string): CacheEntry {
  const [stored, fetchedAt, freshUntil, body, chain] = content;
  asLabel(stored, 'cache key', key);
  return {
    received: {
      body: asBytes(body, 'statement'),
      chain: asArray(chain, 'issuer chain').map((certificate) => asBytes(certificate, 'certificate')),
    },
    fetchedAt: asCount(fetchedAt, 'time'),
    freshUntil: asCount(freshUntil, 'time'),
  };
}

function digest(bytes: Uint8Array): Uint8Array {
  return hash('sha256', bytes, 'buffer');
}
