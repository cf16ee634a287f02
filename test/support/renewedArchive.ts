import { formatFileLine } from '../../attestation/archive/fileList.ts';
import {
  encodeRenewal,
  SegmentTree,
  type FileEntry,
  type RenewalHash,
  type Segment,
} from '../../attestation/archive/renewal.ts';
import {
  listName,
  parseRenewalName,
  recordName,
  renewalsSegment,
  timestampName,
  type RenewalFiles,
  type SegmentFiles,
} from '../../attestation/archive/renewalFiles.ts';
import {
  verifyRenewals,
  type RenewalAudit,
  type RenewalContext,
} from '../../attestation/archive/verifyRenewals.ts';
import { utf8 } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { encodeTimestampRequest } from '../../attestation/time/timestampExchange.ts';
import { timestampAuthority, type TimestampAuthority } from './timestampAuthority.ts';

export const INSTANCE = '00112233445546778899aabbccddeeff';
export const YEAR = 365 * 86_400_000;
export const FIRST = Date.parse('2026-11-21T12:00:00Z');

interface RenewChanges {
  readonly hash?: RenewalHash;
  readonly timestampsOnly?: boolean;
  readonly authority?: TimestampAuthority | undefined;
  /** Hash of the imprint. */
  readonly imprint?: 'sha256' | RenewalHash;
}

/** An archive with its renewals in memory. */
export class RenewedArchive {
  readonly files = new Map<string, Uint8Array>([
    ['checkpoint', utf8('note')],
    ['evidence/0.cbor', utf8('document')],
    ['origin', utf8('host/vouchsafe/x\n')],
    ['tile/0/000', utf8('hashes')],
  ]);
  readonly renewals = new Map<string, Uint8Array>();

  get source(): SegmentFiles {
    return {
      instance: INSTANCE,
      paths: () => inOrder(this.files.keys()),
      read: (path) => Promise.resolve(this.files.get(path)),
    };
  }

  get folder(): RenewalFiles {
    return {
      names: () => Promise.resolve([...this.renewals.keys()]),
      read: (name) => Promise.resolve(this.renewals.get(name)),
    };
  }

  get nextSeq(): number {
    const names = [...this.renewals.keys()].flatMap((name) => parseRenewalName(name) ?? []);
    return Math.max(-1, ...names.filter(({ kind }) => kind === 'record').map(({ seq }) => seq)) + 1;
  }

  /** Adds the next renewal, with a timestamp of that time. */
  async renew(now: number, changes: RenewChanges = {}): Promise<void> {
    const { hash = 'sha512', timestampsOnly = false } = changes;
    const seq = this.nextSeq;
    const segments: Segment[] = [];
    if (!timestampsOnly) segments.push(await this.#list(seq, hash, this.source));
    const before = this.renewals.get(recordName(seq - 1));
    if (before) segments.push(await this.#list(seq, hash, renewalsSegment(this.folder, seq)));
    const previous = before && nodeCrypto.hash(hash, before);
    const madeAt = Math.floor(now / 1000);
    const sorted = segments.sort((a, b) => (a.name < b.name ? -1 : 1));
    this.renewals.set(recordName(seq), encodeRenewal({ hash, seq, previous, segments: sorted, madeAt }));
    if (!('authority' in changes) || changes.authority) this.stamp(seq, now, changes);
  }

  /** Adds a timestamp of a renewal that is there. */
  stamp(seq: number, now: number, { authority, hash = 'sha512', imprint = hash }: RenewChanges = {}): void {
    const index = [...this.renewals.keys()].filter((name) =>
      new RegExp(`^${seq}\\.\\d+\\.tsr$`).test(name),
    ).length;
    const digest = nodeCrypto.hash(imprint, this.renewals.get(recordName(seq))!);
    const query = encodeTimestampRequest({ hash: imprint, digest, nonce: undefined, certReq: true });
    this.renewals.set(timestampName(seq, index), (authority ?? timestampAuthority()).answer(query, now));
  }

  verify(now: number, changes: Partial<RenewalContext> = {}): Promise<RenewalAudit> {
    const anchors = [timestampAuthority().anchor];
    return verifyRenewals(this.folder, [this.source], { anchors, crypto: nodeCrypto, now, ...changes });
  }

  async #list(seq: number, hash: RenewalHash, files: SegmentFiles): Promise<Segment> {
    const tree = new SegmentTree(hash, nodeCrypto);
    let list = '';
    for await (const path of files.paths()) {
      const bytes = (await files.read(path))!;
      const entry: FileEntry = { path, size: bytes.length, digest: nodeCrypto.hash(hash, bytes) };
      tree.add(entry);
      list += formatFileLine(entry);
    }
    this.renewals.set(listName(seq, files.instance), utf8(list));
    return tree.segment(files.instance);
  }
}

async function* inOrder(names: Iterable<string>): AsyncGenerator<string> {
  for (const name of [...names].sort()) yield await Promise.resolve(name);
}

/** `code seq` of every problem. */
export function problemsOf({ problems }: RenewalAudit): readonly string[] {
  return problems.map(({ code, seq }) => `${code} ${seq}`);
}

/** What the audit shows of the instance: since when, by seq. */
export function sinceOf(
  { segments }: RenewalAudit,
  name: string = INSTANCE,
): readonly (string | undefined)[] {
  const covers = segments.find((segment) => segment.name === name)?.covers ?? [];
  return covers.map(({ since }) => (since === undefined ? undefined : new Date(since).toISOString()));
}
