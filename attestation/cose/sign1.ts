import { concat } from '../bytes/bytes.ts';
import { decodeDc, encodeDc, type DcMap } from '../cbor/deterministic.ts';
import { decodeForeign } from '../cbor/foreign.ts';
import { asBytes, asMap, asTuple } from '../cbor/shape.ts';
import { Refusal } from '../errors.ts';

/** Header labels of RFC 9052, 9596, 9597 and 9942. */
export const HEADER = {
  alg: 1,
  crit: 2,
  contentType: 3,
  kid: 4,
  cwtClaims: 15,
  typ: 16,
  receipts: 394,
  vds: 395,
  vdp: 396,
} as const;

const TAG_SIGN1 = 0xd2;
const MAX_BYTES = 1024 * 1024;
const EMPTY = new Uint8Array(0);

/** The bytes that a COSE_Sign1 signature covers (RFC 9052 section 4.4). */
export function sigStructure(
  protectedBytes: Uint8Array,
  payload: Uint8Array,
  externalAad: Uint8Array = EMPTY,
): Uint8Array {
  return encodeDc(['Signature1', protectedBytes, externalAad, payload]);
}

/** A COSE_Sign1 that we issue: tagged, deterministic, with an empty unprotected header and the payload inside. */
export interface Sign1 {
  readonly protectedBytes: Uint8Array;
  readonly protectedHeader: DcMap;
  readonly payload: Uint8Array;
  readonly signature: Uint8Array;
}

/** `d2 84 protected a0 payload signature`: also how a log entry is rebuilt (DESIGN section 6). */
export function encodeSign1(
  protectedBytes: Uint8Array,
  payload: Uint8Array,
  signature: Uint8Array,
): Uint8Array {
  return concat(Uint8Array.of(TAG_SIGN1), encodeDc([protectedBytes, new Map(), payload, signature]));
}

/** Parses one of ours: anything but its one encoding is refused. */
export function parseSign1(bytes: Uint8Array): Sign1 {
  if (bytes[0] !== TAG_SIGN1) throw new Refusal('MALFORMED', 'COSE_Sign1 has no tag 18');
  const parts = asTuple(decodeDc(bytes.subarray(1), { maxDepth: 8, maxBytes: MAX_BYTES }), 'COSE_Sign1', 4);
  if (asMap(parts[1], 'unprotected header').size !== 0) {
    throw new Refusal('MALFORMED', 'COSE_Sign1 has an unprotected header');
  }
  const protectedBytes = asBytes(parts[0], 'protected header');
  return {
    protectedBytes,
    protectedHeader: asMap(decodeDc(protectedBytes), 'protected header'),
    payload: asBytes(parts[2], 'payload'),
    signature: asBytes(parts[3], 'signature'),
  };
}

export type ForeignHeader = ReadonlyMap<unknown, unknown>;

/** A COSE_Sign1 that someone else wrote, in any well-formed encoding. */
export interface ForeignSign1 {
  readonly tagged: boolean;
  /** As received, but empty where the sender wrote an encoded empty map (RFC 9052 section 3). */
  readonly protectedBytes: Uint8Array;
  readonly protectedHeader: ForeignHeader;
  readonly unprotectedHeader: ForeignHeader;
  /** Undefined when detached. */
  readonly payload: Uint8Array | undefined;
  readonly signature: Uint8Array;
}

/** Parses a foreign COSE_Sign1, tagged or not; labels in both headers and unknown `crit` labels are refused. */
export function parseForeignSign1(bytes: Uint8Array): ForeignSign1 {
  const tagged = bytes[0] === TAG_SIGN1;
  const value = decodeForeign(tagged ? bytes.subarray(1) : bytes, { maxDepth: 16, maxBytes: MAX_BYTES });
  if (!Array.isArray(value) || value.length !== 4) {
    throw new Refusal('MALFORMED', 'COSE_Sign1 is not an array of four');
  }
  const [protectedItem, unprotectedHeader, payload, signature] = value as readonly unknown[];
  const received = foreignBytes(protectedItem, 'protected header');
  const protectedHeader = received.length === 0 ? new Map() : foreignMap(decodeForeign(received));
  const headers = { protectedHeader, unprotectedHeader: foreignMap(unprotectedHeader) };
  checkHeaders(headers.protectedHeader, headers.unprotectedHeader);
  return {
    tagged,
    protectedBytes: protectedHeader.size === 0 ? EMPTY : received,
    ...headers,
    payload: payload === null ? undefined : foreignBytes(payload, 'payload'),
    signature: foreignBytes(signature, 'signature'),
  };
}

function checkHeaders(protectedHeader: ForeignHeader, unprotectedHeader: ForeignHeader): void {
  for (const label of protectedHeader.keys()) {
    if (unprotectedHeader.has(label)) throw new Refusal('MALFORMED', 'COSE header label is in both headers');
  }
  if (unprotectedHeader.has(HEADER.crit)) throw new Refusal('MALFORMED', 'COSE crit is not protected');
  const critical = protectedHeader.get(HEADER.crit);
  if (critical === undefined) return;
  if (!Array.isArray(critical) || critical.length === 0) throw new Refusal('MALFORMED', 'COSE crit is empty');
  const known: readonly unknown[] = Object.values(HEADER);
  for (const label of critical as readonly unknown[]) {
    if (!known.includes(label) || !protectedHeader.has(label)) {
      throw new Refusal('UNSUPPORTED', `COSE crit names ${String(label)}`);
    }
  }
}

function foreignBytes(value: unknown, what: string): Uint8Array {
  if (value instanceof Uint8Array) return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  throw new Refusal('MALFORMED', `COSE_Sign1 ${what} is not a byte string`);
}

function foreignMap(value: unknown): ForeignHeader {
  if (value instanceof Map) return value;
  throw new Refusal('MALFORMED', 'COSE header is not a map');
}
