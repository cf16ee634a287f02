import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Anchor } from '../../../attestation/anchors.ts';
import {
  encodeRenewal,
  isHashTreeRenewal,
  parseRenewal,
  RENEWAL_HASHES,
  type RenewalHash,
  type RenewalRecord,
  type Segment,
} from '../../../attestation/archive/renewal.ts';
import {
  listName,
  MAX_TIMESTAMPS,
  parseRenewalName,
  recordName,
  renewalsSegment,
  timestampName,
  type RenewalFiles,
  type SegmentFiles,
} from '../../../attestation/archive/renewalFiles.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { openRenewals, renewalsFolder } from '../../export/renewals.ts';
import { LogError } from '../../log/errors.ts';
import { makeFolder, writeWhole } from '../../log/files.ts';
import { holdLock, isLocked, type Lock } from '../../log/lock.ts';
import { RenewalError } from './errors.ts';

import { openInstances, type RenewableInstance } from './instances.ts';
import { listSegment, readFormer, type FormerList } from './segmentList.ts';
import { requestStamp, type Stamp } from './timestamp.ts';

const LOCK_NAME = 'lock';

export interface RenewOptions {
  /** Data folder: `instances/`, and beside it `renewals/`. */
  readonly data: string;
  readonly hash: RenewalHash;
  /** Renews the former timestamps alone: the data is not read. */
  readonly timestampsOnly: boolean;
  /** Addresses of timestamp authorities; at most 16. */
  readonly authorities: readonly string[];
  /** Authorities whose answers are judged at once. */
  readonly anchors: readonly Anchor[] | undefined;
  readonly now: () => number;
  readonly signal: AbortSignal;
  readonly onFile: (bytes: number) => void;
}

export interface RenewOutcome {
  readonly record: RenewalRecord;
  readonly kind: 'hash-tree' | 'timestamp';
  /** A record that was there already, and lacked its timestamp. */
  readonly isContinued: boolean;
  readonly stamps: readonly (Stamp & { readonly url: string; readonly file: string })[];
  readonly failures: readonly RenewalError[];
  /** Files of the last renewal that are there no more. */
  readonly missing: number;
}

/**
 * Renews an archive: lists, then the record, then its timestamps, each durable before the next. Run again after a
 * failure it goes on where it stopped. At least one authority must answer.
 */
export async function renewArchive(options: RenewOptions): Promise<RenewOutcome> {
  const folder = renewalsFolder(options.data);
  const instances = await openInstances(options.data);
  await makeFolder(folder);
  const lock = await lockFolder(folder);
  try {
    return await new Renewing(options, folder, instances).run();
  } finally {
    await lock.release();
  }
}

async function lockFolder(folder: string): Promise<Lock> {
  const busy = (cause?: unknown) => new RenewalError('RENEWAL_BUSY', `${folder} is in use`, cause);
  if (await isLocked(folder)) throw busy();
  // The name of a socket stays behind where its process was killed.
  await rm(join(folder, LOCK_NAME), { force: true });
  return holdLock(folder).catch((error: unknown) => {
    throw error instanceof LogError ? busy(error) : error;
  });
}

interface Former {
  readonly bytes: Uint8Array;
  readonly record: RenewalRecord;
  readonly timestamps: number;
}

class Renewing {
  readonly #options: RenewOptions;
  readonly #folder: string;
  readonly #instances: readonly RenewableInstance[];
  readonly #files: RenewalFiles;
  #missing = 0;

  constructor(options: RenewOptions, folder: string, instances: readonly RenewableInstance[]) {
    this.#options = options;
    this.#folder = folder;
    this.#instances = instances;
    this.#files = openRenewals(options.data);
  }

  async run(): Promise<RenewOutcome> {
    const former = await this.#readFormer();
    if (former?.timestamps === 0) return this.#stamp(former.record, former.bytes, true);
    this.#requireHash(former);
    const record = await this.#makeRecord(former);
    const bytes = encodeRenewal(record);
    await writeWhole(join(this.#folder, recordName(record.seq)), bytes);
    return this.#stamp(record, bytes, false);
  }

  async #readFormer(): Promise<Former | undefined> {
    const names = (await this.#files.names()).flatMap((name) => parseRenewalName(name) ?? []);
    const seq = Math.max(-1, ...names.filter(({ kind }) => kind === 'record').map((name) => name.seq));
    if (seq < 0) return undefined;
    const bytes = await this.#files.read(recordName(seq));
    if (!bytes) throw new RenewalError('RENEWAL_DAMAGED', `${recordName(seq)} is not there`);
    const timestamps = names.filter((name) => name.kind === 'timestamp' && name.seq === seq).length;
    return { bytes, record: readRecord(bytes, seq), timestamps };
  }

  #requireHash(former: Former | undefined): void {
    const { hash, timestampsOnly } = this.#options;
    if (timestampsOnly && !former) throw new RenewalError('NOTHING_TO_RENEW', 'there is no renewal');
    if (!former || RENEWAL_HASHES[hash] >= RENEWAL_HASHES[former.record.hash]) return;
    throw new RenewalError('HASH_WEAKER', `${hash} after ${former.record.hash}`);
  }

  async #makeRecord(former: Former | undefined): Promise<RenewalRecord> {
    const { hash, timestampsOnly, now } = this.#options;
    const seq = former ? former.record.seq + 1 : 0;
    const segments: Segment[] = [];
    for (const instance of timestampsOnly ? [] : this.#instances) {
      const before = await this.#formerList(instance.files.instance, seq);
      segments.push(await this.#list(seq, instance.files, instance.isOpen, before));
    }
    // Last: it covers all that stands there before this renewal.
    if (former)
      segments.push(await this.#list(seq, renewalsSegment(this.#files, seq), () => false, undefined));
    return {
      hash,
      seq,
      previous: former && nodeCrypto.hash(hash, former.bytes),
      segments: segments.sort((a, b) => (a.name < b.name ? -1 : 1)),
      madeAt: Math.floor(now() / 1000),
    };
  }

  async #list(
    seq: number,
    files: SegmentFiles,
    isOpen: (path: string) => boolean,
    former: FormerList | undefined,
  ): Promise<Segment> {
    const { hash, signal, onFile } = this.#options;
    const path = join(this.#folder, listName(seq, files.instance));
    const { segment, missing } = await listSegment({ files, hash, path, isOpen, former, signal, onFile });
    this.#missing += missing;
    return segment;
  }

  /** Of the last renewal that read the instance's files. */
  async #formerList(instance: string, before: number): Promise<FormerList | undefined> {
    for (let seq = before - 1; seq >= 0; seq--) {
      const bytes = await this.#files.read(recordName(seq));
      if (!bytes) throw new RenewalError('RENEWAL_DAMAGED', `${recordName(seq)} is not there`);
      const { hash, segments } = readRecord(bytes, seq);
      const segment = segments.find(({ name }) => name === instance);
      if (segment) return readFormer(join(this.#folder, listName(seq, instance)), hash, segment);
    }
    return undefined;
  }

  async #stamp(record: RenewalRecord, data: Uint8Array, isContinued: boolean): Promise<RenewOutcome> {
    const { authorities, anchors, signal } = this.#options;
    const { hash, seq } = record;
    const stamps: (Stamp & { readonly url: string; readonly file: string })[] = [];
    const failures: RenewalError[] = [];
    for (const url of authorities.slice(0, MAX_TIMESTAMPS)) {
      try {
        const stamp = await requestStamp({ url, data, hash, anchors, signal });
        const file = timestampName(seq, stamps.length);
        await writeWhole(join(this.#folder, file), stamp.response);
        stamps.push({ ...stamp, url, file });
      } catch (error) {
        if (!(error instanceof RenewalError)) throw error;
        failures.push(error);
      }
    }
    const [failure] = failures;
    if (stamps.length === 0) throw failure ?? new RenewalError('AUTHORITY_FAILED', 'no authority was named');
    const kind = isHashTreeRenewal(record) ? 'hash-tree' : 'timestamp';
    return { record, kind, isContinued, stamps, failures, missing: this.#missing };
  }
}

function readRecord(bytes: Uint8Array, seq: number): RenewalRecord {
  try {
    const record = parseRenewal(bytes);
    if (record.seq === seq) return record;
    throw new RenewalError('RENEWAL_DAMAGED', `${recordName(seq)} is renewal ${record.seq}`);
  } catch (error) {
    if (error instanceof Refusal) {
      throw new RenewalError('RENEWAL_DAMAGED', `${recordName(seq)}: ${error.message}`, error);
    }
    throw error;
  }
}
