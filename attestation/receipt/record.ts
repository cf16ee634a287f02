import { decodeDc, encodeDc, type Dc, type DcMap } from '../cbor/deterministic.ts';
import { asBytes, asClosedMap, asCount, asFixedBytes, asLabel, asMap, asText } from '../cbor/shape.ts';
import { parseSign1, type Sign1 } from '../cose/sign1.ts';
import type { CryptoProvider } from '../crypto/provider.ts';
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
  act: -65605,
  actor: -65606,
  rule: -65607,
  subject: -65608,
  count: -65609,
} as const;

const COMMON = [CLAIM.issuedAt, CLAIM.profile, CLAIM.keyset, CLAIM.kind] as const;
const PREDECESSOR = [
  CLAIM.predecessorOrigin,
  CLAIM.predecessorCheckpoint,
  CLAIM.predecessorEvidence,
] as const;
const ACT = [CLAIM.act, CLAIM.actor, CLAIM.rule, CLAIM.subject, CLAIM.count] as const;

/** What people and rules do to an archive. Closed: an act that is not known is refused. */
export const ACTS = [
  'hold-placed',
  'hold-lifted',
  'content-erased',
  'receipts-expired',
  'policy-registered',
  'statement-registered',
  'key-released',
  'admin',
] as const;
export type Act = (typeof ACTS)[number];

/** Most characters (UTF-16 code units) of an actor and of a rule. */
export const MAX_ACTOR_LENGTH = 64;
export const MAX_RULE_LENGTH = 256;

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
    }
  | {
      readonly kind: 'act';
      readonly issuedAt: number;
      readonly keysetDigest: Uint8Array;
      readonly act: Act;
      /** Name of the key that acted, or of the rule that acts by itself. */
      readonly actor: string;
      /** Names the rule under which it was done. */
      readonly rule: string;
      /** See `actSubject`. */
      readonly subject: Uint8Array;
      /** How many things it is about. */
      readonly count: number;
    };

/** What an act is about: `SHA-256(dc([id, ...]))`. The ids themselves are no part of the log. */
export function actSubject(ids: readonly Uint8Array[], crypto: CryptoProvider): Uint8Array {
  return crypto.hash('sha256', encodeDc(ids));
}

export function encodeRecord(record: LogRecord): Uint8Array {
  const map = new Map<number, Dc>([
    [CLAIM.issuedAt, record.issuedAt],
    [CLAIM.profile, RECORD_PROFILE],
    [CLAIM.kind, record.kind],
    [CLAIM.keyset, record.keysetDigest],
  ]);
  if (record.kind === 'act') {
    map
      .set(CLAIM.act, record.act)
      .set(CLAIM.actor, requireLength(record.actor, 'actor', MAX_ACTOR_LENGTH))
      .set(CLAIM.rule, requireLength(record.rule, 'rule', MAX_RULE_LENGTH))
      .set(CLAIM.subject, record.subject)
      .set(CLAIM.count, record.count);
  } else if (record.kind === 'epoch') {
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
  if (kind === 'act') return { kind, ...common, ...parseAct(map) };
  throw new Refusal('MALFORMED', `record kind ${kind} is not known`);
}

type ActBody = Omit<Extract<LogRecord, { kind: 'act' }>, 'kind' | 'issuedAt' | 'keysetDigest'>;

function parseAct(map: DcMap): ActBody {
  asClosedMap(map, 'act record', [...COMMON, ...ACT]);
  const name = asText(map.get(CLAIM.act), 'act');
  const act = ACTS.find((known) => known === name);
  if (act === undefined) throw new Refusal('MALFORMED', `act ${name} is not known`);
  return {
    act,
    actor: requireLength(asText(map.get(CLAIM.actor), 'actor'), 'actor', MAX_ACTOR_LENGTH),
    rule: requireLength(asText(map.get(CLAIM.rule), 'rule'), 'rule', MAX_RULE_LENGTH),
    subject: asFixedBytes(map.get(CLAIM.subject), 'act subject', 32),
    count: asCount(map.get(CLAIM.count), 'act count'),
  };
}

function requireLength(text: string, what: string, most: number): string {
  if (text.length > 0 && text.length <= most) return text;
  throw new Refusal('MALFORMED', `${what} has ${text.length} characters, not 1 to ${most}`);
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
