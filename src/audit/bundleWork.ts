import { equalBytes, toHex } from '../../attestation/bytes/bytes.ts';
import { keyThumbprint } from '../../attestation/cose/key.ts';
import { createNodeCrypto, nodeCrypto } from '../../attestation/crypto/node.ts';
import { Refusal } from '../../attestation/errors.ts';
import { instanceUrn, parseKeyset, type Keyset } from '../../attestation/keyset.ts';
import { MAX_ENTRY_BYTES, TILE_WIDTH } from '../../attestation/log/tiles.ts';
import { entryKindOf, registrationSubject } from '../../attestation/receipt/entryKind.ts';
import { parseReceipt, verifyEntry, type EntryHeader } from '../../attestation/receipt/receipt.ts';
import { parseRecord } from '../../attestation/receipt/record.ts';
import { Needle } from '../../attestation/receipt/needle.ts';
import type { Setting } from '../../attestation/receipt/knownHeader.ts';
import { ReceiptSkimmer } from '../../attestation/receipt/skim.ts';
import { BundleHash, HASH_BYTES } from './bundleHash.ts';
import { BundleTally } from './bundleTally.ts';
import { FileBuffer } from './fileBuffer.ts';
import type { AuditCheckId, LocalFinding } from './findings.ts';
import type { BundleFacts, BundleTask, InstanceSetup } from './tasks.ts';

/** One keyset, receipt key and a few vendors' keys: enough for a worker. */
const KEPT_KEYS = 64;

interface KnownKeyset {
  readonly keyset: Keyset;
  readonly digest: Needle;
  readonly encodedDigest: Uint8Array;
  readonly thumbprint: Uint8Array;
}

interface Place {
  readonly index: number;
  readonly start: number;
  readonly end: number;
}

/** Reads, hashes and checks bundles of one instance after the other, in buffers that are used again. */
export class BundleWork {
  readonly #hash = new BundleHash();
  readonly #skimmer = new ReceiptSkimmer();
  readonly #crypto = createNodeCrypto(KEPT_KEYS);
  readonly #watched: readonly string[];
  readonly #ends = new Int32Array(TILE_WIDTH);
  readonly #file = new FileBuffer(TILE_WIDTH * (2 + MAX_ENTRY_BYTES));
  readonly #tile = new FileBuffer(TILE_WIDTH * HASH_BYTES);
  #urn = '';
  #keysets: readonly KnownKeyset[] = [];
  #current: KnownKeyset | undefined;
  /** Of the receipt before, whose keyset is the current one. */
  #setting: Setting | undefined;
  #judged: InstanceSetup['judged'];
  /** Header that was last found to be of the current keyset. */
  #ownHeader: EntryHeader | undefined;

  constructor(watchedManifests: readonly string[]) {
    this.#watched = watchedManifests;
  }

  enter({ instance, judged, keysets }: InstanceSetup): void {
    this.#judged = judged;
    this.#urn = instanceUrn(Buffer.from(instance, 'hex'));
    this.#keysets = keysets.map(([digest, encoded]) => {
      const keyset = parseKeyset(encoded);
      const thumbprint = keyThumbprint(keyset.receipt, nodeCrypto);
      const encodedDigest = Buffer.from(digest, 'hex');
      return { keyset, digest: new Needle(encodedDigest), encodedDigest, thumbprint };
    });
    this.#current = undefined;
    this.#setting = undefined;
    this.#ownHeader = undefined;
  }

  /** Undefined where the bundle is not there. */
  async run(task: BundleTask): Promise<BundleFacts | undefined> {
    const { file, first, width } = task;
    const bytes = file instanceof Uint8Array ? file : this.#file.read(file);
    if (!bytes) return undefined;
    const size = bytes.length;
    const tally = new BundleTally(bytes, this.#watched);
    const findings: LocalFinding[] = [];
    const ends = this.#ends;
    if (!readEnds(bytes, width, ends)) {
      findings.push(
        fault('log.tree', 'TREE_MISMATCH', first, `the bundle does not hold exactly ${width} entries`),
      );
      return { ...tally.facts(first), size, root: undefined, partialRoots: [], signatures: 0, findings };
    }
    let start = 2;
    let signatures = 0;
    for (let i = 0; i < width; i++) {
      const end = ends[i] as number;
      this.#hash.leaf(i, bytes, start, end);
      const place = { index: first + i, start, end };
      const isReceipt = this.#read(place, bytes, tally, findings);
      if (isReceipt !== undefined && (!isReceipt || place.index >= task.verifyFrom)) {
        if (await this.#verify(place, bytes, isReceipt, findings)) signatures++;
      }
      start = end + 2;
    }
    return { ...tally.facts(first), size, ...this.#roots(task, findings), signatures, findings };
  }

  #roots(
    { first, width, partialRoots, tile }: BundleTask,
    findings: LocalFinding[],
  ): Pick<BundleFacts, 'root' | 'partialRoots'> {
    const hashes = tile === undefined || tile instanceof Uint8Array ? tile : this.#tile.read(tile);
    if (hashes && Buffer.compare(hashes, this.#hash.leaves(width)) !== 0) {
      findings.push(
        fault('log.tree', 'TREE_MISMATCH', first, 'the tile beside the bundle holds other hashes'),
      );
    }
    return {
      partialRoots: partialRoots.map((count) => [count, this.#hash.root(count)] as const),
      root: this.#hash.root(width),
    };
  }

  /** True for a receipt, false for a record, undefined for what is neither: a foreign statement waits for its record. */
  #read(
    { index, start, end }: Place,
    bytes: Uint8Array,
    tally: BundleTally,
    findings: LocalFinding[],
  ): boolean | undefined {
    const skimmer = this.#skimmer;
    try {
      if (!skimmer.read(bytes, start, end)) {
        tally.record(index, bytes.slice(start, end));
        return false;
      }
    } catch (error) {
      const finding = refused('receipts.format', index, error);
      const entry = bytes.subarray(start, end);
      if (!isForeign(entry)) findings.push(finding);
      else tally.foreign({ index, subject: toHex(registrationSubject(entry, nodeCrypto)), finding });
      return undefined;
    }
    if (skimmer.index !== index) {
      findings.push(
        fault('log.indexes', 'INDEX_MISMATCH', index, `the receipt states index ${skimmer.index}`),
      );
    }
    const keyset = this.#keysetAt(skimmer);
    const judged = this.#isJudged(index);
    if (keyset) this.#checkHeader(index, keyset, findings);
    else if (judged)
      findings.push(
        fault('receipts.evidence', 'KEYSET_MISMATCH', index, 'no evidence vouches for its keyset'),
      );
    tally.receipt(index, skimmer, judged);
    return true;
  }

  #keysetAt({ keysetAt, setting, view }: ReceiptSkimmer): KnownKeyset | undefined {
    const current = this.#current;
    if (setting && setting === this.#setting) return current;
    this.#setting = setting;
    if (current?.digest.isAt(view, keysetAt)) return current;
    this.#current = this.#keysets.find(({ digest }) => digest.isAt(view, keysetAt));
    this.#ownHeader = undefined;
    return this.#current;
  }

  /** Outside the exported range keysets of other generations are rightly not there. */
  #isJudged(index: number): boolean {
    const judged = this.#judged;
    return !judged || (index >= judged.from && index < judged.to);
  }

  /** Algorithm, key id and issuer: compared for each entry, signed or not, and cheap because headers repeat. */
  #checkHeader(index: number, { keyset, thumbprint }: KnownKeyset, findings: LocalFinding[]): void {
    const { header } = this.#skimmer;
    if (!header || header === this.#ownHeader) return;
    if (header.alg !== keyset.receipt.alg || !equalBytes(header.kid, thumbprint)) {
      findings.push(
        fault('receipts.evidence', 'ALGORITHM_MISMATCH', index, 'alg or kid is not that of the receipt key'),
      );
    } else if (header.issuer !== this.#urn) {
      findings.push(fault('receipts.evidence', 'KEYSET_MISMATCH', index, 'the issuer is another instance'));
    } else this.#ownHeader = header;
  }

  async #verify(
    place: Place,
    bytes: Uint8Array,
    isReceipt: boolean,
    findings: LocalFinding[],
  ): Promise<boolean> {
    const { index, start, end } = place;
    const check = isReceipt ? 'receipts.signatures' : 'log.records';
    try {
      const entry = bytes.subarray(start, end);
      const parsed = isReceipt ? parseReceipt(entry) : parseRecord(entry);
      const digest = 'claims' in parsed ? parsed.claims.keysetDigest : parsed.record.keysetDigest;
      const known = this.#keysets.find((candidate) => equalBytes(candidate.encodedDigest, digest));
      if (!known && !this.#isJudged(index)) return false;
      if (!known) throw new Refusal('KEYSET_MISMATCH', `no evidence vouches for the keyset ${toHex(digest)}`);
      await verifyEntry(parsed, known.keyset.receipt, known.keyset.instance, this.#crypto);
      return true;
    } catch (error) {
      findings.push(refused(check, index, error));
      return false;
    }
  }
}

/** The ends of exactly `width` entries that fill the bytes, each behind its 16-bit length; false where they do not. */
function readEnds(bytes: Uint8Array, width: number, ends: Int32Array): boolean {
  let at = 0;
  for (let i = 0; i < width; i++) {
    if (at + 2 > bytes.length) return false;
    at += 2 + 256 * (bytes[at] as number) + (bytes[at + 1] as number);
    ends[i] = at;
  }
  return at === bytes.length && width <= TILE_WIDTH;
}

function isForeign(entry: Uint8Array): boolean {
  try {
    return entryKindOf(entry) === 'foreign';
  } catch (error) {
    if (error instanceof Refusal) return false;
    throw error;
  }
}

function fault(check: AuditCheckId, code: LocalFinding['code'], index: number, detail: string): LocalFinding {
  return { check, code, severity: 'fail', index, detail };
}

function refused(check: AuditCheckId, index: number, error: unknown): LocalFinding {
  if (!(error instanceof Refusal)) throw error;
  return fault(check, error.code, index, error.message);
}
