import { toHex } from '../../attestation/bytes/bytes.ts';
import { isLogError } from '../log/errors.ts';
import { Acts, type RecordAct } from './acts.ts';
import { Administration } from './administration.ts';
import type { BlobStore } from './blobs.ts';
import { boundedReads } from './boundedReads.ts';
import type { ArchivedContent } from './contentRecord.ts';
import { ContentArchive } from './content.ts';
import type { ArchiveKey } from './envelope.ts';
import { removeErasedBlobs } from './erasure.ts';
import { ArchiveError } from './errors.ts';
import { removeExpiredBlobs } from './expiry.ts';
import { formerLog, liveLog, type LiveSource } from './logAdapters.ts';
import { migrate } from './migrations.ts';
import { isLogFault, LogMirror } from './mirror.ts';
import { MirrorLoop } from './mirrorLoop.ts';
import { currentPolicy } from './policies.ts';
import { Reading } from './reading.ts';
import { type RetentionSettings, sweep } from './retention.ts';
import { storeSource } from './storeSource.ts';
import type { ArchiveSource } from './source.ts';
import type { Sql } from './sql.ts';
import { storeStatus, type StoreStatus } from './status.ts';
import { TenantNotes } from './tenantNotes.ts';

type FormerReader = Parameters<typeof formerLog>[1];

export interface ArchiveParts {
  readonly sql: Sql;
  /** Closes the database and what the blobs are reached by. */
  readonly close: () => Promise<void>;
  /** Blobs of logs, plain. */
  readonly blobs: BlobStore;
  /** Blobs of content, encrypted. */
  readonly contentBlobs: BlobStore;
  /** Undefined where no content is kept and none was. */
  readonly contentKey: ArchiveKey | undefined;
  /** Whether the content of new answers is kept. */
  readonly keepsContent: boolean;
  readonly retention: RetentionSettings;
  readonly live: LiveSource & { readonly recordAct: RecordAct };
  /** Logs of former instances that this machine holds. */
  readonly former: readonly {
    readonly instance: string;
    /** Entries that were found at the start; undefined where they could not be counted. */
    readonly size: number | undefined;
    readonly open: () => Promise<FormerReader | undefined>;
  }[];
  readonly now: () => number;
  /** Told once of each outage, and of each damaged log. */
  readonly onFailure: (error: unknown) => void;
}

/** What the running archive says of itself. */
export interface MirrorStatus {
  /** `ready`: at most a pass behind. `unavailable`: see `code`; it catches up by itself. */
  readonly state: 'ready' | 'catching up' | 'unavailable';
  readonly code: string | undefined;
  /** Durable entries of this instance that the index does not have. */
  readonly behind: number;
  /** Former logs that are still to be taken over. */
  readonly former: number;
  readonly content: boolean;
}

const SWEEP_MS = 3_600_000;
/** Entries that a pass may be behind under load. */
const NEARLY = 10_000;

/** The compliance archive: one per process, beside the log and never in its way. */
export class Archive {
  readonly reading: Reading;
  readonly administration: Administration;
  readonly #parts: ArchiveParts;
  readonly #tenants = new TenantNotes();
  readonly #content: ContentArchive | undefined;
  readonly #acts: Acts;
  readonly #live: LogMirror;
  readonly #liveLoop: MirrorLoop;
  readonly #careLoop: MirrorLoop;
  #former: ArchiveParts['former'];
  /** What a crash interrupted is done. */
  #isResumed = false;
  #isMigrated = false;
  #isClosed = false;
  #sweptAt = 0;

  private constructor(parts: ArchiveParts) {
    this.#parts = parts;
    const { sql, blobs, contentBlobs, contentKey, live, now, onFailure } = parts;
    const content = contentKey && new ContentArchive({ sql, blobs: contentBlobs, key: contentKey, now });
    this.#content = parts.keepsContent ? content : undefined;
    this.#acts = new Acts({ sql, blobs, recordAct: live.recordAct, instance: live.instance, now });
    const mirrored = liveLog(live, () => !this.#isClosed);
    this.reading = new Reading({
      sql: boundedReads(sql),
      blobs,
      content,
      acts: this.#acts,
      live: mirrored,
    });
    const { contentMinDays } = parts.retention;
    this.administration = new Administration({
      sql,
      blobs,
      contentBlobs,
      acts: this.#acts,
      minDays: contentMinDays,
      now,
    });
    this.#live = new LogMirror(mirrored, { sql, blobs, tenants: this.#tenants, now });
    this.#former = parts.former;
    this.#liveLoop = new MirrorLoop(() => this.#passLive(), onFailure);
    this.#careLoop = new MirrorLoop(() => this.#care(), onFailure);
  }

  /**
   * Opens the archive. A database that does not answer now is no reason not to start: the state says so, and the archive
   * catches up. One of a later version is refused.
   */
  static async open(parts: ArchiveParts): Promise<Archive> {
    if (parts.keepsContent && !parts.contentKey) {
      throw new ArchiveError('CONTENT_KEY_MISSING', 'content is to be kept, and there is no key for it');
    }
    const archive = new Archive(parts);
    try {
      await archive.#migrateOnce();
    } catch (error) {
      if (!(error instanceof ArchiveError) || error.code !== 'STORE_UNAVAILABLE') throw error;
      parts.onFailure(error);
    }
    return archive;
  }

  /** Begins to mirror, once a second. */
  start(): void {
    this.#liveLoop.start();
    this.#careLoop.start();
  }

  /** True where the content of answers is kept: nothing goes out before it is durable. */
  get keepsContent(): boolean {
    return this.#content !== undefined;
  }

  /** Everything that the archive has, for exports. */
  get source(): ArchiveSource {
    return storeSource({ sql: this.#parts.sql, blobs: this.#parts.blobs });
  }

  /** Whose a receipt is that is being issued: to be called before its entry is in the log. */
  noteTenant(receipt: Uint8Array, tenant: string | undefined): void {
    this.#tenants.add(toHex(receipt), tenant);
  }

  /** Keeps the content of one answer, where content is kept. Durable when it resolves. */
  async keep(content: ArchivedContent, tenant: string | undefined): Promise<void> {
    await this.#content?.keep(content, tenant);
  }

  /** Why content that is to be kept cannot be; undefined where it can, or none is kept. */
  get contentFailure(): ArchiveError | undefined {
    const { failure } = this.#liveLoop;
    return this.#content && failure instanceof ArchiveError ? failure : undefined;
  }

  /** Throws where content is to be kept and cannot be: call before the work is done. */
  requireContent(): void {
    const { contentFailure } = this;
    if (contentFailure) throw contentFailure;
  }

  get mirrorStatus(): MirrorStatus {
    const failure = this.#liveLoop.failure ?? this.#careLoop.failure;
    const behind = this.#live.behind;
    const isBehind = this.#former.length > 0 || behind > NEARLY;
    return {
      state: failure !== undefined ? 'unavailable' : isBehind ? 'catching up' : 'ready',
      code: failure === undefined ? undefined : codeOf(failure),
      behind,
      former: this.#former.length,
      content: this.keepsContent,
    };
  }

  storeStatus(): Promise<StoreStatus> {
    return storeStatus({ sql: boundedReads(this.#parts.sql), blobs: this.#parts.blobs });
  }

  /** Resolves when everything that is durable now is in the archive; throws what stands in the way. */
  async catchUp(): Promise<void> {
    await this.#careLoop.once();
    await this.#liveLoop.once();
  }

  /** Begins nothing more: acts need a log that takes entries. Call before the log is closed, then `close`. */
  async pause(): Promise<void> {
    await Promise.all([this.#liveLoop.stop(), this.#careLoop.stop()]);
  }

  /** Takes over the rest of the log, which its writer has closed, and closes the database. */
  async close(): Promise<void> {
    await this.pause();
    this.#isClosed = true;
    try {
      await this.#migrateOnce();
      await this.#live.finish(await currentPolicy(this.#parts.sql));
    } catch (error) {
      // The next start finds the log and takes over the rest.
      this.#parts.onFailure(error);
    } finally {
      await this.#parts.close();
    }
  }

  async #migrateOnce(): Promise<void> {
    if (this.#isMigrated) return;
    await migrate(this.#parts.sql, this.#parts.now());
    this.#isMigrated = true;
  }

  async #passLive(): Promise<void> {
    await this.#migrateOnce();
    await this.#live.pass(await currentPolicy(this.#parts.sql));
    await this.#content?.probe();
  }

  async #care(): Promise<void> {
    await this.#migrateOnce();
    const { sql, now, retention } = this.#parts;
    if (!this.#isResumed) await this.#resume();
    if (this.#acts.isBehind) {
      await sql.exclusive(() => this.#acts.settle());
      await this.#removeBlobs();
    }
    if (now() - this.#sweptAt < SWEEP_MS) return;
    this.#sweptAt = now();
    await this.#removeBlobs();
    await sweep({ ...this.#parts, acts: this.#acts }, retention);
  }

  /**
   * Former logs first, as an act that a crash interrupted may be in one of them. Nothing expires before: it may be a
   * hold.
   */
  async #resume(): Promise<void> {
    const away: ArchiveParts['former'][number][] = [];
    let reason: unknown;
    for (const former of this.#former) {
      try {
        await this.#takeOver(former);
      } catch (error) {
        if (!isLogError(error, 'LOG_UNAVAILABLE')) throw error;
        away.push(former);
        reason = error;
      }
    }
    this.#former = away;
    if (away.length > 0) throw reason;
    await this.#parts.sql.exclusive(() => this.#acts.resume());
    await this.#removeBlobs();
    this.#isResumed = true;
  }

  async #removeBlobs(): Promise<void> {
    const { sql, blobs, contentBlobs } = this.#parts;
    await removeErasedBlobs(sql, contentBlobs);
    await removeExpiredBlobs(sql, blobs);
  }

  async #takeOver({ instance, size, open }: ArchiveParts['former'][number]): Promise<void> {
    const { sql, blobs, now, onFailure } = this.#parts;
    if (await this.#isComplete(instance, size)) return;
    try {
      const log = await open();
      if (!log) return;
      const mirror = new LogMirror(formerLog(instance, log), { sql, blobs, tenants: this.#tenants, now });
      await mirror.finish(undefined);
    } catch (error) {
      // A damaged log is named; it keeps nobody from the others.
      if (!isLogFault(error) || isLogError(error, 'LOG_UNAVAILABLE')) throw error;
      onFailure(error);
      await sql.batch([
        {
          text: 'UPDATE archive_instances SET live = 0, problem = ? WHERE instance = ?',
          values: [codeOf(error), instance],
        },
      ]);
    }
  }

  /** Who took it over before may have done so while it was still written. */
  async #isComplete(instance: string, size = 0): Promise<boolean> {
    const rows = await this.#parts.sql.query({
      text: 'SELECT instance FROM archive_instances WHERE instance = ? AND complete = 1 AND size >= ?',
      values: [instance, size],
    });
    return rows.length > 0;
  }
}

function codeOf(error: unknown): string {
  const { code } = error as { readonly code?: unknown };
  return typeof code === 'string' ? code : 'INTERNAL';
}
