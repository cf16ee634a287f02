import type { SignatureScheme } from '../crypto/provider.ts';

const P256 = { kind: 'ecdsa', curve: 'P-256', hash: 'sha256' } as const;
const P384 = { kind: 'ecdsa', curve: 'P-384', hash: 'sha384' } as const;
const P521 = { kind: 'ecdsa', curve: 'P-521', hash: 'sha512' } as const;
const ED25519 = { kind: 'ed25519' } as const;

/** COSE algorithm ids of RFC 9053 and, with the curve fixed, of RFC 9864. For the former the curve is pinned here. */
const SCHEMES: ReadonlyMap<number, SignatureScheme> = new Map<number, SignatureScheme>([
  [-7, P256],
  [-9, P256],
  [-35, P384],
  [-51, P384],
  [-36, P521],
  [-52, P521],
  [-8, ED25519],
  [-19, ED25519],
]);

/** How a signature of a foreign statement is checked; undefined for an algorithm that is not taken. */
export function signatureScheme(alg: number): SignatureScheme | undefined {
  return SCHEMES.get(alg);
}
