import { equalBytes, toHex } from './bytes/bytes.ts';
import { decodeDc, encodeDc, type Dc, type DcMap } from './cbor/deterministic.ts';
import {
  asArray,
  asBytes,
  asClosedMap,
  asCount,
  asFixedBytes,
  asLabel,
  asText,
  asTuple,
} from './cbor/shape.ts';
import { ALG, encodeCoseKey, parseCoseKey, type CoseKey } from './cose/key.ts';
import type { CryptoProvider } from './crypto/provider.ts';
import { Refusal } from './errors.ts';

const LABEL = 'vouchsafe/keyset/1';
const DIGEST_LABEL = 'vouchsafe/keyset-digest/1';
const MAX_HPKE_KEYS = 4;
const MAX_UINT16 = 0xffff;
/** Public keys of KEMs that are not known here, bytes. */
const MAX_HPKE_KEY_BYTES = 8192;

/** What HPKE computes with, by the numbers of its IANA registry. */
export interface HpkeSuite {
  readonly kem: number;
  readonly kdf: number;
  readonly aead: number;
}

/** DHKEM(X25519), HKDF-SHA256, AES-256-GCM (RFC 9180 section 7): always the first HPKE entry. */
export const HPKE_SUITE = { kem: 0x0020, kdf: 0x0001, aead: 0x0002 } as const satisfies HpkeSuite;
/** X-Wing (ML-KEM-768 with X25519, draft-connolly-cfrg-xwing-kem), HKDF-SHA256, AES-256-GCM. */
export const HYBRID_SUITE = { kem: 0x647a, kdf: 0x0001, aead: 0x0002 } as const satisfies HpkeSuite;

/** Public key of each known KEM, bytes. */
const HPKE_KEY_BYTES: ReadonlyMap<number, number> = new Map([
  [HPKE_SUITE.kem, 32],
  [HYBRID_SUITE.kem, 1216],
]);

export interface HpkeKey extends HpkeSuite {
  readonly publicKey: Uint8Array;
}

export function isSuite(key: HpkeSuite, { kem, kdf, aead }: HpkeSuite): boolean {
  return key.kem === kem && key.kdf === kdf && key.aead === aead;
}

/** The public keys made inside one boot of the VM (DESIGN section 3). */
export interface Keyset {
  /** UUIDv4, 16 bytes. */
  readonly instance: Uint8Array;
  readonly generation: number;
  /** Digest of the former generation; undefined in generation 0. */
  readonly previous: Uint8Array | undefined;
  readonly receipt: CoseKey;
  /** Ed25519: signs checkpoints. */
  readonly log: CoseKey;
  /** `<host>/vouchsafe/<instance hex>`. */
  readonly origin: string;
  readonly inclusion: CoseKey;
  readonly hpke: readonly HpkeKey[];
  /** SHA-256 of the TLS SubjectPublicKeyInfo; undefined unless TLS ends in the VM. */
  readonly tlsSpki: Uint8Array | undefined;
  /** Seconds since 1970. */
  readonly notAfter: number;
  readonly software: { readonly name: string; readonly version: string };
}

export function encodeKeyset(keyset: Keyset): Uint8Array {
  const map = new Map<number, Dc>([
    [1, LABEL],
    [2, keyset.instance],
    [3, keyset.generation],
    [5, encodeCoseKey(keyset.receipt)],
    [6, encodeCoseKey(keyset.log)],
    [7, keyset.origin],
    [8, encodeCoseKey(keyset.inclusion)],
    [9, keyset.hpke.map(({ kem, kdf, aead, publicKey }) => [kem, kdf, aead, publicKey])],
    [11, keyset.notAfter],
    [12, [keyset.software.name, keyset.software.version]],
  ]);
  if (keyset.previous) map.set(4, keyset.previous);
  if (keyset.tlsSpki) map.set(10, keyset.tlsSpki);
  return encodeDc(map);
}

export function keysetDigest(encoded: Uint8Array, crypto: CryptoProvider): Uint8Array {
  return crypto.hash('sha256', encodeDc([DIGEST_LABEL, encoded]));
}

/** UUID URN of an instance (RFC 9562): the issuer of its receipts. */
export function instanceUrn(instance: Uint8Array): string {
  const hex = toHex(instance);
  const groups = [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)];
  return `urn:uuid:${groups.join('-')}`;
}

/** Parses a keyset: closed map, one key and one algorithm for each role. */
export function parseKeyset(encoded: Uint8Array): Keyset {
  const map = asClosedMap(decodeDc(encoded), 'keyset', [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
  asLabel(map.get(1), 'keyset label', LABEL);
  const keyset: Keyset = {
    instance: parseInstance(map),
    generation: asCount(map.get(3), 'keyset generation'),
    previous: map.has(4) ? asFixedBytes(map.get(4), 'previous keyset digest', 32) : undefined,
    receipt: parseCoseKey(map.get(5), 'receipt key'),
    log: parseCoseKey(map.get(6), 'log key'),
    origin: asText(map.get(7), 'log origin'),
    inclusion: parseCoseKey(map.get(8), 'inclusion key'),
    hpke: parseHpkeKeys(map.get(9)),
    tlsSpki: map.has(10) ? asFixedBytes(map.get(10), 'TLS key digest', 32) : undefined,
    notAfter: asCount(map.get(11), 'keyset not_after'),
    software: parseSoftware(map.get(12)),
  };
  checkRoles(keyset);
  return keyset;
}

function parseInstance(map: DcMap): Uint8Array {
  const instance = asFixedBytes(map.get(2), 'keyset instance', 16);
  const isUuid4 = ((instance[6] ?? 0) & 0xf0) === 0x40 && ((instance[8] ?? 0) & 0xc0) === 0x80;
  if (!isUuid4) throw new Refusal('MALFORMED', 'keyset instance is no UUIDv4');
  return instance;
}

function parseHpkeKeys(value: Dc | undefined): readonly HpkeKey[] {
  const entries = asArray(value, 'HPKE keys');
  if (entries.length === 0 || entries.length > MAX_HPKE_KEYS) {
    throw new Refusal('MALFORMED', `keyset has ${entries.length} HPKE keys instead of 1 to ${MAX_HPKE_KEYS}`);
  }
  const keys = entries.map(parseHpkeKey);
  const [first] = keys;
  if (!first || !isSuite(first, HPKE_SUITE)) {
    throw new Refusal('MALFORMED', 'the first HPKE key is not of the suite X25519, HKDF-SHA256, AES-256-GCM');
  }
  for (const [i, key] of keys.entries()) {
    const isAgain = (other: HpkeKey): boolean =>
      isSuite(other, key) || equalBytes(other.publicKey, key.publicKey);
    if (keys.slice(0, i).some(isAgain)) {
      throw new Refusal('MALFORMED', 'the keyset has two HPKE keys of one suite, or one HPKE key twice');
    }
  }
  return keys;
}

/** A suite that is not known here is carried, so that the keyset encodes to itself; nothing is sealed to it. */
function parseHpkeKey(entry: Dc): HpkeKey {
  const [kem, kdf, aead, publicKey] = asTuple(entry, 'HPKE key', 4);
  const key = {
    kem: asUint16(kem, 'HPKE kem'),
    kdf: asUint16(kdf, 'HPKE kdf'),
    aead: asUint16(aead, 'HPKE aead'),
    publicKey: asBytes(publicKey, 'HPKE public key'),
  };
  const { length } = key.publicKey;
  const expected = HPKE_KEY_BYTES.get(key.kem);
  if (expected === undefined ? length === 0 || length > MAX_HPKE_KEY_BYTES : length !== expected) {
    const wanted = expected === undefined ? `1 to ${MAX_HPKE_KEY_BYTES}` : String(expected);
    throw new Refusal('MALFORMED', `HPKE public key of KEM ${key.kem} has ${length} bytes, not ${wanted}`);
  }
  return key;
}

function asUint16(value: Dc | undefined, what: string): number {
  const number = asCount(value, what);
  if (number > MAX_UINT16) throw new Refusal('MALFORMED', `${what} is ${number}, above ${MAX_UINT16}`);
  return number;
}

function parseSoftware(value: Dc | undefined): Keyset['software'] {
  const [name, version] = asTuple(value, 'keyset software', 2);
  return { name: asText(name, 'software name'), version: asText(version, 'software version') };
}

function checkRoles(keyset: Keyset): void {
  if (keyset.log.alg !== ALG.ed25519) throw new Refusal('ALGORITHM_MISMATCH', 'the log key is not Ed25519');
  if ((keyset.generation === 0) !== (keyset.previous === undefined)) {
    throw new Refusal('MALFORMED', 'keyset generation and previous keyset digest contradict each other');
  }
  const suffix = `/vouchsafe/${toHex(keyset.instance)}`;
  if (!keyset.origin.endsWith(suffix) || keyset.origin.length > 255 || /[\s+]/.test(keyset.origin)) {
    throw new Refusal('MALFORMED', `log origin ${keyset.origin} does not end in ${suffix}`);
  }
  const points = [keyset.receipt, keyset.log, keyset.inclusion].map((key) => toHex(key.x));
  if (new Set(points).size !== points.length) throw new Refusal('MALFORMED', 'one key serves two roles');
}
