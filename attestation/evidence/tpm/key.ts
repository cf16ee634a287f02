import { concat, toHex } from '../../bytes/bytes.ts';
import { Refusal } from '../../errors.ts';
import { decodeUnsigned, readElements, readOnly, TAG } from '../../x509/der.ts';
import { curveOf, readAlgorithm } from '../../x509/signature.ts';

/** Keys below this are within reach of a factoring effort; all clouds use 2048. */
const MIN_RSA_BITS = 2048;
const MAX_RSA_BITS = 4096;
const MAX_MODULUS_BYTES = MAX_RSA_BITS / 8;
const MIN_EXPONENT = 65537;
const MAX_EXPONENT_BYTES = 4;
const RSA_ENCRYPTION = '1.2.840.113549.1.1.1';
/** AlgorithmIdentifiers of RFC 3279 section 2.3.1 and RFC 5480 section 2.1.1, encoded. */
const RSA_ALGORITHM = Uint8Array.of(0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0);
const EC_PUBLIC_KEY = [6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1] as const;
const CURVE_OID = {
  'P-256': [6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7],
  'P-384': [6, 5, 0x2b, 0x81, 4, 0, 0x22],
} as const;

export type TpmCurve = keyof typeof CURVE_OID;
/** Bytes of a coordinate. */
export const CURVE_BYTES: Readonly<Record<TpmCurve, number>> = { 'P-256': 32, 'P-384': 48 };

/** What kind of key a SubjectPublicKeyInfo holds. */
export type PublicKeyKind =
  { readonly kind: 'rsa'; readonly bits: number } | { readonly kind: 'ec'; readonly curve: TpmCurve };

/**
 * The kind of an attestation or endorsement key. RSA of 2048 to 4096 bits with an odd exponent of 65537 or more, and
 * P-256 and P-384 are allowed; another key is refused, for whoever chose it could have made its signatures himself.
 */
export function publicKeyKind(spki: Uint8Array): PublicKeyKind {
  const elements = readElements(readOnly(spki, TAG.sequence, 'public key').content, 'public key');
  const [algorithm, bits] = elements;
  if (!algorithm || bits?.tag !== TAG.bitString || bits.content[0] !== 0 || elements.length !== 2) {
    throw new Refusal('MALFORMED', 'public key is not an algorithm and a BIT STRING');
  }
  const { oid } = readAlgorithm(algorithm.encoded, 'public key algorithm');
  if (oid === RSA_ENCRYPTION) return rsaKind(bits.content.subarray(1));
  const curve = curveOf(spki)?.curve;
  if (curve !== 'P-256' && curve !== 'P-384') {
    throw new Refusal('UNSUPPORTED', `public key of algorithm ${oid}${curve ? ` on ${curve}` : ''}`);
  }
  return { kind: 'ec', curve };
}

function rsaKind(key: Uint8Array): PublicKeyKind {
  const elements = readElements(readOnly(key, TAG.sequence, 'RSA key').content, 'RSA key');
  const [n, e] = elements;
  if (!n || !e || elements.length !== 2) throw new Refusal('MALFORMED', 'RSA key is not two INTEGERs');
  const modulus = decodeUnsigned(n, 'modulus of the RSA key');
  const exponent = exponentOf(decodeUnsigned(e, 'exponent of the RSA key'));
  const bits = 8 * modulus.length - Math.clz32(modulus[0] ?? 0) + 24;
  if (bits < MIN_RSA_BITS || bits > MAX_RSA_BITS || exponent < MIN_EXPONENT || exponent % 2 === 0) {
    throw new Refusal(
      'ALGORITHM_MISMATCH',
      `RSA key of ${bits} bits with exponent ${exponent}; ${MIN_RSA_BITS} to ${MAX_RSA_BITS} bits and an odd exponent of at least ${MIN_EXPONENT} are allowed`,
    );
  }
  return { kind: 'rsa', bits };
}

/** A TPM's exponent fits four bytes; longer ones cost whoever verifies. */
function exponentOf(bytes: Uint8Array): number {
  if (bytes.length > MAX_EXPONENT_BYTES) {
    throw new Refusal('ALGORITHM_MISMATCH', `RSA exponent of ${bytes.length} bytes`);
  }
  return bytes.reduce((value, byte) => value * 256 + byte, 0);
}

/** DER SubjectPublicKeyInfo of an RSA key; `n` and `e` big endian. */
export function rsaSpki(n: Uint8Array, e: Uint8Array): Uint8Array {
  if (n.length > MAX_MODULUS_BYTES || e.length > MAX_EXPONENT_BYTES) {
    throw new Refusal('MALFORMED', `RSA modulus of ${n.length} bytes, exponent of ${e.length} bytes`);
  }
  const key = der(TAG.sequence, derInteger(n), derInteger(e));
  return der(TAG.sequence, RSA_ALGORITHM, der(TAG.bitString, Uint8Array.of(0), key));
}

/** DER SubjectPublicKeyInfo of a point; coordinates big endian, left-padded here where a TPM dropped zeros. */
export function ecSpki(curve: TpmCurve, x: Uint8Array, y: Uint8Array): Uint8Array {
  const size = CURVE_BYTES[curve];
  if (x.length > size || y.length > size) {
    throw new Refusal('MALFORMED', `coordinates of ${x.length} and ${y.length} bytes on ${curve}`);
  }
  const point = new Uint8Array(1 + 2 * size);
  point[0] = 4;
  point.set(x, 1 + size - x.length);
  point.set(y, 1 + 2 * size - y.length);
  const algorithm = der(TAG.sequence, Uint8Array.from(EC_PUBLIC_KEY), Uint8Array.from(CURVE_OID[curve]));
  return der(TAG.sequence, algorithm, der(TAG.bitString, Uint8Array.of(0), point));
}

/** DER SubjectPublicKeyInfo of an uncompressed point (SEC 1 section 2.3.3), as NitroTPM documents carry it. */
export function pointSpki(point: Uint8Array, curve: TpmCurve): Uint8Array {
  const size = CURVE_BYTES[curve];
  if (point.length !== 1 + 2 * size || point[0] !== 4) {
    throw new Refusal('MALFORMED', `no uncompressed point on ${curve}: ${toHex(point.subarray(0, 256))}`);
  }
  return ecSpki(curve, point.subarray(1, 1 + size), point.subarray(1 + size));
}

function derInteger(bytes: Uint8Array): Uint8Array {
  const start = bytes.findIndex((byte) => byte !== 0);
  if (start === -1) throw new Refusal('MALFORMED', 'a number of the RSA key is zero');
  const digits = bytes.subarray(start);
  const sign = (digits[0] ?? 0) >= 0x80 ? [Uint8Array.of(0)] : [];
  return der(TAG.integer, ...sign, digits);
}

/** One DER element of fewer than 65,536 bytes. */
function der(tag: number, ...content: readonly Uint8Array[]): Uint8Array {
  const body = concat(...content);
  const { length } = body;
  if (length < 0x80) return concat(Uint8Array.of(tag, length), body);
  const lengthBytes = length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return concat(Uint8Array.of(tag, ...lengthBytes), body);
}
