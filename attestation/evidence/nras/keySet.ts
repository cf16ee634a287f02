import * as z from 'zod';
import { concat, equalBytes, fromBase64, fromBase64Url, fromHex } from '../../bytes/bytes.ts';
import { Refusal } from '../../errors.ts';
import { parseJson } from '../../json/strict.ts';
import { parseCertificate } from '../../x509/certificate.ts';
import { quoted, readShape } from './json.ts';

/** Sets seen have up to 36 keys in 91 kB. */
const MAX_SET_BYTES = 1024 * 1024;
const MAX_KEYS = 256;
const COORDINATE_BYTES = 48;
/** SubjectPublicKeyInfo of P-384 before the coordinates of an uncompressed point (RFC 5480). */
const P384_SPKI = fromHex('3076301006072a8648ce3d020106052b8104002203620004');

const coordinate = z.string().length(COORDINATE_BYTES * (4 / 3));

/** RFC 7517: members that are not known here are passed over. The service writes kty, crv, kid, x, y and x5c. */
const jwkSchema = z.object({
  kty: z.string().max(20),
  kid: z.string().min(1).max(200),
  crv: z.string().max(20).optional(),
  use: z.string().max(20).optional(),
  alg: z.string().max(20).optional(),
  x: z.string().max(2000).optional(),
  y: z.string().max(2000).optional(),
  /** Leaf first, base64 of DER. */
  x5c: z.array(z.string().max(16_384)).min(1).max(8).optional(),
});
const setSchema = z.object({ keys: z.array(jwkSchema).min(1).max(MAX_KEYS) });

type Jwk = z.infer<typeof jwkSchema>;

/** Keys of the service by their id. */
export type KeySet = ReadonlyMap<string, Jwk>;

/**
 * Parses the key set (JWKS) of the service. Nothing in it is signed by anyone that a verifier could pin: its issuer,
 * «NVIDIA Attestation Service CA 001», is not published. Trust in it is trust in the TLS connection over which it was
 * fetched, so it comes from the caller and never from the one who presents the tokens.
 */
export function parseKeySet(bytes: Uint8Array): KeySet {
  if (bytes.length > MAX_SET_BYTES) {
    throw new Refusal('MALFORMED', `key set: ${bytes.length} bytes exceed ${MAX_SET_BYTES}`);
  }
  const { keys } = readShape(setSchema, parseJson(bytes, 'key set'), 'key set');
  const byId = new Map<string, Jwk>();
  for (const key of keys) {
    if (byId.has(key.kid)) throw new Refusal('MALFORMED', `key set: key ${quoted(key.kid)} is there twice`);
    byId.set(key.kid, key);
  }
  return byId;
}

/** SubjectPublicKeyInfo of the key that signs with ES384 under this id. */
export function signingKey(keys: KeySet, id: string | undefined): Uint8Array {
  if (id === undefined) throw new Refusal('UNTRUSTED_KEY', 'the token names no key');
  const key = keys.get(id);
  if (!key) {
    throw new Refusal('UNTRUSTED_KEY', `key ${quoted(id)} is not among the ${keys.size} of the key set`);
  }
  const { kty, crv = '', use = 'sig', alg = 'ES384' } = key;
  if (kty !== 'EC' || crv !== 'P-384' || use !== 'sig' || alg !== 'ES384') {
    const kind = [kty, crv, use, alg].join(' ');
    throw new Refusal('UNTRUSTED_KEY', `key ${quoted(id)} is ${quoted(kind)}, not for ES384`);
  }
  const spki = concat(P384_SPKI, readCoordinate(key, 'x'), readCoordinate(key, 'y'));
  checkCertificate(key, spki);
  return spki;
}

function readCoordinate(key: Jwk, member: 'x' | 'y'): Uint8Array {
  return fromBase64Url(readShape(coordinate, key[member], `key set: ${member} of key ${quoted(key.kid)}`));
}

/** The certificate beside a key vouches for nothing here; one for another key is a damaged or edited set. */
function checkCertificate({ kid, x5c }: Jwk, spki: Uint8Array): void {
  const [leaf] = x5c ?? [];
  if (leaf === undefined) return;
  if (!equalBytes(parseCertificate(fromBase64(leaf)).spki, spki)) {
    throw new Refusal('UNTRUSTED_KEY', `key ${quoted(kid)} stands beside a certificate of another key`);
  }
}
