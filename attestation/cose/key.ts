import { concat, fromHex } from '../bytes/bytes.ts';
import { encodeDc, type Dc, type DcMap } from '../cbor/deterministic.ts';
import { asClosedMap, asFixedBytes, asInteger } from '../cbor/shape.ts';
import type { CryptoProvider, SignatureScheme } from '../crypto/provider.ts';
import { Refusal } from '../errors.ts';

/** COSE algorithm ids that our keys have: ES256 (RFC 9053) and Ed25519 (RFC 9864). */
export const ALG = { es256: -7, ed25519: -19 } as const;
export type Alg = (typeof ALG)[keyof typeof ALG];

const LABEL = { kty: 1, alg: 3, crv: -1, x: -2, y: -3 } as const;
const KTY = { okp: 1, ec2: 2 } as const;
const CRV = { p256: 1, ed25519: 6 } as const;

/** A public signature key of a keyset, with its one algorithm. */
export type CoseKey =
  | { readonly alg: typeof ALG.es256; readonly x: Uint8Array; readonly y: Uint8Array }
  | { readonly alg: typeof ALG.ed25519; readonly x: Uint8Array };

/** COSE_Key (RFC 9052 section 7) as our keysets hold it: `alg` and the members that RFC 9679 requires. */
export function encodeCoseKey(key: CoseKey): DcMap {
  return new Map<number, Dc>([...requiredMembers(key), [LABEL.alg, key.alg]]);
}

/** The members that identify the key, without `alg`. */
function requiredMembers(key: CoseKey): readonly [number, Dc][] {
  if (key.alg === ALG.ed25519) {
    return [
      [LABEL.kty, KTY.okp],
      [LABEL.crv, CRV.ed25519],
      [LABEL.x, key.x],
    ];
  }
  return [
    [LABEL.kty, KTY.ec2],
    [LABEL.crv, CRV.p256],
    [LABEL.x, key.x],
    [LABEL.y, key.y],
  ];
}

/** Reads a COSE_Key: exactly the members of its type, and a curve that fits the algorithm. */
export function parseCoseKey(value: Dc | undefined, what: string): CoseKey {
  const map = asClosedMap(value, what, Object.values(LABEL));
  const alg = asInteger(map.get(LABEL.alg), `${what} alg`);
  const x = asFixedBytes(map.get(LABEL.x), `${what} x`, 32);
  if (alg === ALG.ed25519) {
    expectMember(map, LABEL.kty, KTY.okp, what);
    expectMember(map, LABEL.crv, CRV.ed25519, what);
    if (map.has(LABEL.y)) throw new Refusal('MALFORMED', `${what} of type OKP has y`);
    return { alg, x };
  }
  if (alg === ALG.es256) {
    expectMember(map, LABEL.kty, KTY.ec2, what);
    expectMember(map, LABEL.crv, CRV.p256, what);
    return { alg, x, y: asFixedBytes(map.get(LABEL.y), `${what} y`, 32) };
  }
  throw new Refusal('ALGORITHM_MISMATCH', `${what} has algorithm ${alg}, neither ES256 nor Ed25519`);
}

function expectMember(map: DcMap, label: number, expected: number, what: string): void {
  if (map.get(label) !== expected) {
    throw new Refusal('ALGORITHM_MISMATCH', `${what} member ${label} does not fit its algorithm`);
  }
}

/** COSE Key Thumbprint (RFC 9679): SHA-256 over the required members in deterministic encoding. It is our `kid`. */
export function keyThumbprint(key: CoseKey, crypto: CryptoProvider): Uint8Array {
  return crypto.hash('sha256', encodeDc(new Map<number, Dc>(requiredMembers(key))));
}

// SubjectPublicKeyInfo up to the key: AlgorithmIdentifier and BIT STRING head (RFC 5480, RFC 8410).
const P256_SPKI = fromHex('3059301306072a8648ce3d020106082a8648ce3d03010703420004');
const ED25519_SPKI = fromHex('302a300506032b6570032100');

/** DER SubjectPublicKeyInfo of the key. */
export function keySpki(key: CoseKey): Uint8Array {
  return key.alg === ALG.ed25519 ? concat(ED25519_SPKI, key.x) : concat(P256_SPKI, key.x, key.y);
}

export function keyScheme(key: CoseKey): SignatureScheme {
  return key.alg === ALG.ed25519 ? { kind: 'ed25519' } : { kind: 'ecdsa', curve: 'P-256', hash: 'sha256' };
}

// Half of the order of P-256, rounded down (SEC 2 section 2.4.2).
const P256_HALF_ORDER = 0x7fffffff800000007fffffffffffffffde737d56d38bcf4279dce5617e3192a8n;

/** True when `s` of an ES256 signature is at most n/2: the signer normalises, so the other form is a forgery aid. */
export function hasLowS(signature: Uint8Array): boolean {
  let s = 0n;
  for (const byte of signature.subarray(32)) s = (s << 8n) | BigInt(byte);
  return s <= P256_HALF_ORDER;
}

/**
 * Verifies a signature of ours under a key that was taken by role: 64 bytes, and low-s for ES256.
 * Refuses with `SIGNATURE_MALLEABLE` or `SIGNATURE_INVALID`.
 */
export async function verifySignature(
  key: CoseKey,
  data: Uint8Array,
  signature: Uint8Array,
  crypto: CryptoProvider,
  what: string,
): Promise<void> {
  if (signature.length !== 64) throw new Refusal('SIGNATURE_INVALID', `${what}: signature is not 64 bytes`);
  if (key.alg === ALG.es256 && !hasLowS(signature)) {
    throw new Refusal('SIGNATURE_MALLEABLE', `${what}: s is above n/2`);
  }
  if (!(await crypto.verify(keyScheme(key), keySpki(key), data, signature))) {
    throw new Refusal('SIGNATURE_INVALID', `${what}: the signature does not verify`);
  }
}
