import { createPublicKey, type JsonWebKey } from 'node:crypto';
import type { SignatureScheme } from '../../attestation/crypto/provider.ts';
import { Disagreement, PROVIDERS } from './family.ts';

/** The schemes that our providers know, by their JOSE names, with their COSE algorithm ids. */
const ALGORITHMS: ReadonlyMap<string, { readonly id: number; readonly scheme: SignatureScheme }> = new Map([
  ['ES256', { id: -7, scheme: { kind: 'ecdsa', curve: 'P-256', hash: 'sha256' } }],
  ['ES384', { id: -35, scheme: { kind: 'ecdsa', curve: 'P-384', hash: 'sha384' } }],
  ['ES512', { id: -36, scheme: { kind: 'ecdsa', curve: 'P-521', hash: 'sha512' } }],
  ['EdDSA', { id: -8, scheme: { kind: 'ed25519' } }],
  ['Ed25519', { id: -19, scheme: { kind: 'ed25519' } }],
  ['PS256', { id: -37, scheme: { kind: 'rsa-pss', hash: 'sha256', saltLength: 32 } }],
  ['PS384', { id: -38, scheme: { kind: 'rsa-pss', hash: 'sha384', saltLength: 48 } }],
  ['PS512', { id: -39, scheme: { kind: 'rsa-pss', hash: 'sha512', saltLength: 64 } }],
]);

export function algorithmOf(
  name: string,
): { readonly id: number; readonly scheme: SignatureScheme } | undefined {
  return ALGORITHMS.get(name);
}

/** DER SubjectPublicKeyInfo of a JSON Web Key; the cose-wg examples also write members as hex. */
export function spkiOf(jwk: Readonly<Record<string, unknown>>): Uint8Array {
  const key: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(jwk)) {
    if (name.endsWith('_hex'))
      key[name.slice(0, -'_hex'.length)] = Buffer.from(String(value), 'hex').toString('base64url');
    else if (name !== 'd') key[name] = value;
  }
  return createPublicKey({ key: key as JsonWebKey, format: 'jwk' }).export({ format: 'der', type: 'spki' });
}

/** The answer of both providers, which must be one. */
export async function verifyTwice(
  scheme: SignatureScheme,
  spki: Uint8Array,
  data: Uint8Array,
  signature: Uint8Array,
): Promise<boolean> {
  const [node, portable] = await Promise.all(
    PROVIDERS.map((provider) => provider.verify(scheme, spki, data, signature)),
  );
  if (node !== portable)
    throw new Disagreement(`node:crypto says ${String(node)}, WebCrypto ${String(portable)}`);
  return node === true;
}
