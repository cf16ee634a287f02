import { fromUtf8, utf8 } from '../bytes/bytes.ts';
import type { HashName } from '../crypto/provider.ts';
import { Refusal } from '../errors.ts';
import { decodeBoolean, decodeOid, decodeUint, decodeUnsigned, DerReader, TAG } from '../x509/der.ts';
import { readExtensions } from '../x509/extensions.ts';
import { checkName } from '../x509/name.ts';
import { hashOf } from '../x509/signature.ts';
import { decodeTime } from '../x509/time.ts';
import type { DerElement } from '../x509/der.ts';

/** What a timestamp authority states: these bytes existed at this time (RFC 3161 section 2.4.2, TSTInfo). */
export interface TimestampInfo {
  /** OID of the authority's policy. */
  readonly policy: string;
  readonly imprint: Imprint;
  /** Magnitude of the serial number. */
  readonly serial: Uint8Array;
  /** genTime, milliseconds since 1970; a finer fraction is cut off. */
  readonly time: number;
  /** Whether genTime has a fraction of a second. */
  readonly isFine: boolean;
  /** How far the authority says that its clock may be off, milliseconds either way; undefined where it does not. */
  readonly accuracy: number | undefined;
  readonly ordering: boolean;
  /** Magnitude of the nonce. */
  readonly nonce: Uint8Array | undefined;
  /** Encoded directory name by which the authority calls itself. A claim: the chain decides who it is. */
  readonly tsa: Uint8Array | undefined;
}

export interface Imprint {
  readonly hash: HashName;
  readonly digest: Uint8Array;
}

const HASH_BYTES: Readonly<Partial<Record<HashName, number>>> = { sha256: 32, sha384: 48, sha512: 64 };
/** Context tags of TSTInfo and Accuracy; the module has implicit tags, and a GeneralName is a choice. */
const TAGS = { tsa: 0xa0, extensions: 0xa1, millis: 0x80, micros: 0x81, directoryName: 0xa4 } as const;
const MAX_NUMBER_BYTES = 64;

export function parseTimestampInfo(der: Uint8Array): TimestampInfo {
  const fields = new DerReader(der, 'TSTInfo').enterLast(TAG.sequence);
  if (decodeUint(fields.take(), 'TSTInfo version') !== 1) {
    throw new Refusal('UNSUPPORTED', 'the timestamp is not of version 1');
  }
  const policy = decodeOid(fields.take(TAG.oid).content);
  const imprint = readImprint(fields.enter(TAG.sequence));
  const serial = readNumber(fields.take(), 'timestamp serial');
  const { time, isFine } = readGenTime(fields.take(TAG.generalizedTime));
  const accuracy = fields.has(TAG.sequence) ? readAccuracy(fields.enter(TAG.sequence)) : undefined;
  const ordering = fields.optional(TAG.boolean);
  const nonce = fields.optional(TAG.integer);
  const tsa = fields.has(TAGS.tsa) ? readTsa(fields.enter(TAGS.tsa)) : undefined;
  if (fields.has(TAGS.extensions)) refuseCritical(fields.enter(TAGS.extensions));
  fields.end();
  return {
    policy,
    imprint,
    serial,
    time,
    isFine,
    accuracy,
    ordering: ordering !== undefined && decodeBoolean(ordering, 'timestamp ordering'),
    nonce: nonce && readNumber(nonce, 'timestamp nonce'),
    tsa,
  };
}

/** A MessageImprint. SHA-1 and unknown hashes are refused: with them other bytes could have the same imprint. */
export function readImprint(fields: DerReader): Imprint {
  const hash = hashOf(fields.take(TAG.sequence));
  const { content: digest } = fields.take(TAG.octetString);
  fields.end();
  if (!hash)
    throw new Refusal('UNSUPPORTED', 'the imprint is by another hash than SHA-256, SHA-384 or SHA-512');
  if (digest.length !== HASH_BYTES[hash])
    throw new Refusal('MALFORMED', `the imprint is no digest of ${hash}`);
  return { hash, digest };
}

/** Magnitude of a non-negative INTEGER of at most 64 bytes. */
export function readNumber(element: DerElement, what: string): Uint8Array {
  const magnitude = decodeUnsigned(element, what);
  if (magnitude.length > MAX_NUMBER_BYTES) throw new Refusal('MALFORMED', `${what} is too long`);
  return magnitude;
}

/** `YYYYMMDDhhmmss[.f...]Z` (RFC 3161 section 2.4.2): no trailing zeros in the fraction, so each time has one form. */
function readGenTime({ tag, content }: DerElement): { readonly time: number; readonly isFine: boolean } {
  const [, digits, fraction = ''] = /^(\d{14})(?:\.(\d{0,11}[1-9]))?Z$/.exec(fromUtf8(content)) ?? [];
  if (digits === undefined) throw new Refusal('MALFORMED', 'genTime is no GeneralizedTime in UTC');
  const second = decodeTime({ tag, content: utf8(`${digits}Z`), encoded: content }, 'genTime');
  const time = second + Number(fraction.slice(0, 3).padEnd(3, '0'));
  return { time, isFine: fraction !== '' };
}

/** Seconds, milliseconds and microseconds, each left out where zero; rounded up to milliseconds. */
function readAccuracy(fields: DerReader): number {
  const seconds = fields.optional(TAG.integer);
  const millis = fields.optional(TAGS.millis);
  const micros = fields.optional(TAGS.micros);
  fields.end();
  const total =
    1000 * (seconds ? decodeUint(seconds, 'accuracy seconds') : 0) +
    readThousandths(millis, 'accuracy milliseconds') +
    Math.ceil(readThousandths(micros, 'accuracy microseconds') / 1000);
  if (!Number.isSafeInteger(total)) throw new Refusal('MALFORMED', 'the accuracy is out of range');
  return total;
}

function readThousandths(element: DerElement | undefined, what: string): number {
  if (!element) return 0;
  const value = decodeUint({ ...element, tag: TAG.integer }, what);
  if (value < 1 || value > 999) throw new Refusal('MALFORMED', `${what} are outside 1 to 999`);
  return value;
}

function readTsa(fields: DerReader): Uint8Array | undefined {
  const name = fields.take();
  fields.end();
  if (name.tag !== TAGS.directoryName) return undefined;
  const directory = new DerReader(name.content, 'timestamp authority');
  const element = directory.take(TAG.sequence);
  directory.end();
  checkName(element, 'timestamp authority');
  return element.encoded;
}

function refuseCritical(list: DerReader): void {
  for (const [oid, { critical }] of readExtensions(list, 'TSTInfo')) {
    if (critical) throw new Refusal('UNSUPPORTED', `the timestamp has the unknown critical extension ${oid}`);
  }
}
