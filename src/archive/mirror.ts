import { toHex } from '../../attestation/bytes/bytes.ts';
import { Refusal } from '../../attestation/errors.ts';
import { fullTiles, parseBundle, partialTiles, TILE_WIDTH, tilePath } from '../../attestation/log/tiles.ts';
import { FILE } from '../log/layout.ts';
import { LogError } from '../log/errors.ts';
import { type BlobStore, digestOf } from './blobs.ts';
import { documentFacts } from './documentFacts.ts';
import { entryFacts } from './entryFacts.ts';
import { newCollateral, newExtras } from './mirroredExtras.ts';
import type { MirroredLog } from './mirroredLog.ts';
import {
  documentStatements,
  entryStatements,
  fileOf,
  fileStatement,
  headOf,
  type MirroredFile,
} from './mirrorRows.ts';
import { bytesOf, numberOf, type Sql, type Statement, textOf } from './sql.ts';
import type { TenantNotes } from './tenantNotes.ts';

export interface MirrorParts {
  readonly sql: Sql;
  readonly blobs: BlobStore;
  readonly tenants: TenantNotes;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** Bundles whose blobs are written side by side. */
const AHEAD = 16;
/** Pause between two looks at what comes beside the log, unless there is a new checkpoint. */
const EXTRAS_MS = 5000;

/** How far one log is in the archive. */
interface Progress {
  size: number;
  bundles: number;
  documents: number;
  /** Of the checkpoint whose partial tiles are there. */
  checkpoint: string | undefined;
  readonly seqs: Map<string, number>;
  /** Digests of the files beside the log, by path. */
  readonly extras: Map<string, string>;
}

/**
 * Copies the log of one instance into blobs, files and index rows. Blobs come before the rows that name them, and each
 * row says how far it got: whatever happens in between, the next pass goes on from there. Nothing here is in the way
 * of an answer.
 */
export class LogMirror {
  readonly log: MirroredLog;
  readonly #parts: MirrorParts;
  #progress: Progress | undefined;
  #extrasAt = 0;

  constructor(log: MirroredLog, parts: MirrorParts) {
    this.log = log;
    this.#parts = parts;
  }

  /** Entries that the index does not have yet. */
  get behind(): number {
    return this.log.size - (this.#progress?.size ?? 0);
  }

  /** Copies what is new. After an error everything that counts is read anew. */
  async pass(policy: Uint8Array | undefined): Promise<void> {
    try {
      const progress = (this.#progress ??= await this.#begin());
      // Entries below this size cite documents that were there when the size was read.
      const { size } = this.log;
      await this.#mirrorDocuments(progress);
      await this.#mirrorEntries(progress, size, policy);
      // The checkpoint of a document comes before it, so that this one is of no smaller tree than any of them.
      const isNewHead = await this.#mirrorHead(progress, size, this.log.checkpoint);
      if (isNewHead || this.#parts.now() - this.#extrasAt >= EXTRAS_MS) await this.#mirrorExtras(progress);
    } catch (error) {
      this.#progress = undefined;
      throw error;
    }
  }

  /** The last pass of a log that nobody writes any more. */
  async finish(policy: Uint8Array | undefined): Promise<void> {
    await this.pass(policy);
    await this.#parts.sql.batch([
      {
        text: 'UPDATE archive_instances SET live = 0, complete = 1, problem = NULL WHERE instance = ?',
        values: [this.log.instance],
      },
    ]);
  }

  async #begin(): Promise<Progress> {
    const { instance, origin, created, live } = this.log;
    const { sql, now } = this.#parts;
    const fixed = [
      fileOf(FILE.origin, Buffer.from(`${origin}\n`)),
      fileOf(FILE.created, Buffer.from(`${created}\n`)),
    ];
    await this.#putBlob(Buffer.from(`${origin}\n`));
    await this.#putBlob(Buffer.from(`${created}\n`));
    await sql.batch([
      {
        text: `INSERT INTO archive_instances
          (instance, origin, created, live, size, bundles, documents, complete, seen)
          VALUES (?, ?, ?, ?, 0, 0, 0, 0, ?)
          ON CONFLICT (instance) DO UPDATE SET live = excluded.live, seen = excluded.seen`,
        values: [instance, origin, created, live ? 1 : 0, Math.floor(now() / 1000)],
      },
      ...fixed.map((file) => fileStatement(instance, file)),
    ]);
    return this.#readProgress();
  }

  async #readProgress(): Promise<Progress> {
    const { sql } = this.#parts;
    const values = [this.log.instance];
    const [row] = await sql.query({
      text: 'SELECT size, bundles, documents FROM archive_instances WHERE instance = ?',
      values,
    });
    if (!row) throw new Error('an instance that was written is not there');
    const documents = await sql.query({
      text: 'SELECT seq, digest FROM archive_documents WHERE instance = ?',
      values,
    });
    const files = await sql.query({
      text: `SELECT path, digest FROM archive_files WHERE instance = ? AND (path < 'tile/' OR path > 'tile0')`,
      values,
    });
    const digests = new Map(files.map((file) => [textOf(file, 'path'), toHex(bytesOf(file, 'digest'))]));
    return {
      size: numberOf(row, 'size'),
      bundles: numberOf(row, 'bundles'),
      documents: numberOf(row, 'documents'),
      checkpoint: digests.get(FILE.checkpoint),
      seqs: new Map(documents.map((found) => [toHex(bytesOf(found, 'digest')), numberOf(found, 'seq')])),
      extras: digests,
    };
  }

  async #mirrorDocuments(progress: Progress): Promise<void> {
    const { instance } = this.log;
    while (progress.documents < this.log.documents) {
      const seq = progress.documents;
      const document = await this.log.readEvidence(seq);
      const file = fileOf(`evidence/${seq}.cbor`, document);
      // What it is judged by comes before it: nobody may export the one without the other.
      await this.#putExtras(progress, await newCollateral(this.log, seq, progress.extras));
      await this.#putBlob(document);
      const facts = documentFacts(document);
      const time = await this.#timeBelow(facts.logSize);
      const note = await this.log.note(facts.logSize);
      await this.#parts.sql.batch([
        fileStatement(instance, file),
        ...documentStatements(instance, { seq, digest: file.digest, time, facts, note }),
        {
          // Whoever took it for finished was too early.
          text: 'UPDATE archive_instances SET documents = ?, complete = 0 WHERE instance = ?',
          values: [seq + 1, instance],
        },
      ]);
      progress.seqs.set(toHex(file.digest), seq);
      progress.documents = seq + 1;
    }
  }

  /** Guest clock of the newest entry that a tree of this size holds. */
  async #timeBelow(size: number): Promise<number> {
    if (size === 0) return 0;
    const facts = entryFacts(await this.log.entry(size - 1));
    if (facts.kind === 'receipt') return facts.claims.issuedAt;
    return facts.kind === 'record' ? facts.record.issuedAt : 0;
  }

  async #mirrorEntries(progress: Progress, size: number, policy: Uint8Array | undefined): Promise<void> {
    // A bundle that is full now has its rows perhaps, but no file yet.
    let bundle = Math.min(progress.bundles, Math.floor(progress.size / TILE_WIDTH));
    for (; bundle * TILE_WIDTH < size; bundle++) {
      const width = Math.min(TILE_WIDTH, size - bundle * TILE_WIDTH);
      const isNew = bundle * TILE_WIDTH + width > progress.size;
      if (isNew || (width === TILE_WIDTH && bundle >= progress.bundles)) {
        if (bundle % AHEAD === 0) await this.#putAhead(bundle, size);
        await this.#mirrorBundle(progress, bundle, width, policy);
      }
    }
  }

  /** Where there is much to take over, blobs of several bundles are synced side by side. */
  async #putAhead(first: number, size: number): Promise<void> {
    const count = Math.min(AHEAD, Math.floor(size / TILE_WIDTH) - first);
    const bundles = Array.from({ length: Math.max(0, count) }, (_, i) => first + i);
    await Promise.all(
      bundles.map(async (index) => {
        const path = tilePath({ level: 'entries', index, width: TILE_WIDTH });
        await this.#putFull(index, path, await this.#tile(path));
      }),
    );
  }

  async #mirrorBundle(
    progress: Progress,
    index: number,
    width: number,
    policy: Uint8Array | undefined,
  ): Promise<void> {
    const { sql, tenants } = this.#parts;
    const { instance } = this.log;
    const path = tilePath({ level: 'entries', index, width });
    const bytes = await this.#tile(path);
    const start = index * TILE_WIDTH;
    const first = Math.max(progress.size, start);
    const fresh = parseBundle(bytes, width).slice(first - start);
    const seqOf = (digest: Uint8Array): number | undefined => progress.seqs.get(toHex(digest));
    const named: string[] = [];
    const tenantOf = (receipt: string): string | undefined => {
      named.push(receipt);
      return tenants.get(receipt);
    };
    const full = width === TILE_WIDTH && index >= progress.bundles;
    const files = full ? await this.#putFull(index, path, bytes) : [];
    const [size, bundles] = [start + width, full ? index + 1 : progress.bundles];
    await sql.batch([
      ...files.map((file) => fileStatement(instance, file)),
      ...entryStatements(fresh, first, { instance, seqOf, tenantOf, policy }),
      {
        text: 'UPDATE archive_instances SET size = ?, bundles = ?, complete = 0 WHERE instance = ?',
        values: [Math.max(size, progress.size), bundles, instance],
      },
    ]);
    progress.size = Math.max(size, progress.size);
    progress.bundles = bundles;
    for (const receipt of named) tenants.forget(receipt);
  }

  /** A full bundle, its tile, and the tiles above that it completed. */
  async #putFull(index: number, path: string, bytes: Uint8Array): Promise<readonly MirroredFile[]> {
    await this.#putBlob(bytes);
    const files = [fileOf(path, bytes)];
    const size = (index + 1) * TILE_WIDTH;
    for (let level = 0; size % TILE_WIDTH ** (level + 1) === 0; level++) {
      const tile = tilePath({ level, index: fullTiles(level, size) - 1, width: TILE_WIDTH });
      files.push(await this.#putTile(tile, false));
    }
    return files;
  }

  /** The newest checkpoint with its partial tiles; of a log that has ended, also the entries beyond it. */
  async #mirrorHead(progress: Progress, size: number, checkpoint: Uint8Array | undefined): Promise<boolean> {
    const digest = checkpoint && toHex(digestOf(checkpoint));
    if (this.log.live && digest === progress.checkpoint) return false;
    const { instance, live } = this.log;
    const head = checkpoint && headOf(checkpoint);
    const sizes = new Set([...(head ? [head.size] : []), ...(live ? [] : [size])]);
    const files: MirroredFile[] = [];
    for (const each of sizes) files.push(...(await this.#putPartials(each)));
    if (checkpoint) {
      await this.#putBlob(checkpoint);
      files.push(fileOf(FILE.checkpoint, checkpoint));
    }
    const former = await this.#partialDigests();
    await this.#parts.sql.batch([
      { text: 'DELETE FROM archive_files WHERE instance = ? AND partial = 1', values: [instance] },
      ...files.map((file) => fileStatement(instance, file)),
    ]);
    progress.checkpoint = digest;
    await this.#removeUnused(former);
    return true;
  }

  async #putPartials(size: number): Promise<readonly MirroredFile[]> {
    const files: MirroredFile[] = [];
    for (const tile of partialTiles(size)) files.push(await this.#putTile(tilePath(tile), true));
    const width = size % TILE_WIDTH;
    if (width === 0) return files;
    const bundle = { level: 'entries', index: Math.floor(size / TILE_WIDTH), width } as const;
    return [...files, await this.#putTile(tilePath(bundle), true)];
  }

  async #partialDigests(): Promise<readonly Uint8Array[]> {
    const rows = await this.#parts.sql.query({
      text: 'SELECT digest FROM archive_files WHERE instance = ? AND partial = 1',
      values: [this.log.instance],
    });
    return rows.map((row) => bytesOf(row, 'digest'));
  }

  /** Partial tiles of former checkpoints; a store that keeps blobs under a lock keeps them. */
  async #removeUnused(digests: readonly Uint8Array[]): Promise<void> {
    const { sql, blobs } = this.#parts;
    for (const digest of digests) {
      const used = await sql.query({
        text: 'SELECT 1 AS used FROM archive_files WHERE digest = ? LIMIT 1',
        values: [digest],
      });
      if (used.length === 0) await blobs.remove(digest).catch(() => undefined);
    }
  }

  /** Anchors and collateral: whoever writes them does so when outsiders have answered. */
  async #mirrorExtras(progress: Progress): Promise<void> {
    this.#extrasAt = this.#parts.now();
    await this.#putExtras(progress, await newExtras(this.log, progress.extras));
  }

  async #putExtras(progress: Progress, paths: readonly string[]): Promise<void> {
    const statements: Statement[] = [];
    for (const path of paths) {
      const bytes = await this.log.readExtra(path);
      if (!bytes) continue;
      const file = fileOf(path, bytes);
      const digest = toHex(file.digest);
      if (progress.extras.get(path) === digest) continue;
      await this.#putBlob(bytes);
      statements.push(fileStatement(this.log.instance, file));
      progress.extras.set(path, digest);
    }
    await this.#parts.sql.batch(statements);
  }

  async #putTile(path: string, partial: boolean): Promise<MirroredFile> {
    const bytes = await this.#tile(path);
    await this.#putBlob(bytes);
    return fileOf(path, bytes, partial);
  }

  async #tile(path: string): Promise<Uint8Array> {
    const bytes = await this.log.tile(path);
    if (!bytes) throw new LogError('LOG_OUT_OF_RANGE', `${path} is beyond the log`);
    return bytes;
  }

  #putBlob(bytes: Uint8Array): Promise<void> {
    return this.#parts.blobs.put(digestOf(bytes), bytes);
  }
}

/** True for what is wrong with the log itself, not with the archive. */
export function isLogFault(error: unknown): error is LogError | Refusal {
  return error instanceof LogError || error instanceof Refusal;
}
