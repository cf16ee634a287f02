import { decodeDc, encodeDc, type Dc, type DcMap } from '../cbor/deterministic.ts';
import { asBytes, asClosedMap, asCount, asFixedBytes, asLabel, asMap, asText } from '../cbor/shape.ts';
import { parseSign1, type Sign1 } from '../cose/sign1.ts';
import { Refusal } from '../errors.ts';
import { parseEntryHeader, RECORD_TYPE, type EntryHeader } from './receipt.ts';

export const RECORD_PROFILE = 'tag:vouchsafe,2026:record/1';

const CLAIM = {
  issuedAt: 6,
  profile: 265,
  keyset: -65539,
  kind: -65600,
  predecessorOrigin: -65601,
  predecessorCheckpoint: -65602,
  predecessorEvidence: -65603,
  seq: -65604,
  evidence: -65538,
} as const;

const COMMON = [CLAIM.issuedAt, CLAIM.profile, CLAIM.keyset, CLAIM.kind] as const;
const PREDECESSOR = [
  CLAIM.predecessorOrigin,
  CLAIM.predecessorCheckpoint,
  CLAIM.predecessorEvidence,
] as const;

/** What the former instance left on disk, as found: the host may have rolled it back. */
export interface Predecessor {
  readonly origin: string;
  /** Signed note; empty where none was found. */
  readonly checkpoint: Uint8Array;
  /** Digest of its last evidence document; empty where none was found. */
  readonly evidenceDigest: Uint8Array;
}

/** A log entry about the log itself (DESIGN section 6). */
export type LogRecord =
  | {
      readonly kind: 'open';
      readonly issuedAt: number;
      readonly keysetDigest: Uint8Array;
      readonly predecessor: Predecessor | undefined;
    }
  | {
      readonly kind: 'epoch';
      readonly issuedAt: number;
      readonly keysetDigest: Uint8Array;
      /** Of the document that ended the epoch. */
      readonly seq: number;
      readonly evidenceDigest: Uint8Array;
    };

export function encodeRecord(record: LogRecord): Uint8Array {
  const map = new Map<number, Dc>([
    [CLAIM.issuedAt, record.issuedAt],
    [CLAIM.profile, RECORD_PROFILE],
    [CLAIM.kind, record.kind],
    [CLAIM.keyset, record.keysetDigest],
  ]);
  if (record.kind === 'epoch') {
    map.set(CLAIM.seq, record.seq).set(CLAIM.evidence, record.evidenceDigest);
  } else if (record.predecessor) {
    map
      .set(CLAIM.predecessorOrigin, record.predecessor.origin)
      .set(CLAIM.predecessorCheckpoint, record.predecessor.checkpoint)
      .set(CLAIM.predecessorEvidence, record.predecessor.evidenceDigest);
  }
  return encodeDc(map);
}

export interface ParsedRecord {
  readonly sign1: Sign1;
  readonly header: EntryHeader;
  readonly record: LogRecord;
}

/** Parses a record. A receipt is refused: its `typ` is another. */
export function parseRecord(encoded: Uint8Array): ParsedRecord {
  const sign1 = parseSign1(encoded);
  const header = parseEntryHeader(sign1, RECORD_TYPE);
  const map = asMap(decodeDc(sign1.payload), 'record');
  asLabel(map.get(CLAIM.profile), 'record profile', RECORD_PROFILE);
  const kind = asText(map.get(CLAIM.kind), 'record kind');
  if (header.subject !== kind) throw new Refusal('MALFORMED', 'sub and kind of the record differ');
  return { sign1, header, record: parseBody(kind, map) };
}

function parseBody(kind: string, map: DcMap): LogRecord {
  const common = {
    issuedAt: asCount(map.get(CLAIM.issuedAt), 'record iat'),
    keysetDigest: asFixedBytes(map.get(CLAIM.keyset), 'record keyset digest', 32),
  };
  if (kind === 'open') return { kind, ...common, predecessor: parsePredecessor(map) };
  if (kind === 'epoch') {
    asClosedMap(map, 'epoch record', [...COMMON, CLAIM.seq, CLAIM.evidence]);
    const seq = asCount(map.get(CLAIM.seq), 'record seq');
    return { kind, ...common, seq, evidenceDigest: asFixedBytes(map.get(CLAIM.evidence), 'evidence', 32) };
  }
  throw new Refusal('MALFORMED', `record kind ${kind} is not known`);
}

function parsePredecessor(map: DcMap): Predecessor | undefined {
  asClosedMap(map, 'open record', [...COMMON, ...PREDECESSOR]);
  if (!PREDECESSOR.some((claim) => map.has(claim))) return undefined;
  return {
    origin: asText(map.get(CLAIM.predecessorOrigin), 'predecessor origin'),
    checkpoint: asBytes(map.get(CLAIM.predecessorCheckpoint), 'predecessor checkpoint'),
    evidenceDigest: asBytes(map.get(CLAIM.predecessorEvidence), 'predecessor evidence digest'),
  };
}
