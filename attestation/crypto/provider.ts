import type { HpkeSender } from '../channel/runtime.ts';

/** Hashes that evidence formats and our own bytes use. */
export type HashName = 'sha1' | 'sha256' | 'sha384' | 'sha512';

/** How a signature is made. ECDSA signatures are `r || s` of fixed length (IEEE P1363), Ed25519 64 bytes. */
export type SignatureScheme =
  | { readonly kind: 'ecdsa'; readonly curve: 'P-256' | 'P-384' | 'P-521'; readonly hash: HashName }
  | { readonly kind: 'ed25519' }
  | { readonly kind: 'rsa-pss'; readonly hash: HashName; readonly saltLength: number }
  | { readonly kind: 'rsa-pkcs1'; readonly hash: HashName };

/**
 * The cryptography that a verifier is given. Both doors bring one: WebCrypto with noble hashes (`portable.ts`) and
 * `node:crypto` (`node.ts`). An implementation must be trusted like the verifier itself.
 */
export interface CryptoProvider {
  hash(name: HashName, bytes: Uint8Array): Uint8Array;
  /** HMAC-SHA-256, 32 bytes. */
  hmacSha256(key: Uint8Array, bytes: Uint8Array): Uint8Array;
  /**
   * True when `signature` over `data` verifies under the DER SubjectPublicKeyInfo `spki`. A key of another kind or
   * curve than the scheme, or one that cannot be read, gives false, never a throw.
   */
  verify(
    scheme: SignatureScheme,
    spki: Uint8Array,
    data: Uint8Array,
    signature: Uint8Array,
  ): Promise<boolean>;
  /**
   * The same provider, remembering the keys that it reads, for one verification that meets some of them more than
   * once. Absent where remembering saves nothing.
   */
  readonly forOneVerification?: (() => CryptoProvider) | undefined;
  /** What a client seals requests with; WebCrypto where it is absent. */
  readonly hpke?: HpkeSender | undefined;
}

export type Sha256 = (bytes: Uint8Array) => Uint8Array;

export function sha256With(crypto: CryptoProvider): Sha256 {
  return (bytes) => crypto.hash('sha256', bytes);
}
