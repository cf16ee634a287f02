import type { SecureContextOptions } from 'node:tls';

/** A key with which TLS ends in this machine; the keyset holds the digest of its public half. */
export interface TlsIdentity {
  /** SHA-256 of the SubjectPublicKeyInfo in DER: field 10 of the keyset. */
  readonly spki: Uint8Array;
  /** True where the certificate names the evidence, so that newer evidence asks for another certificate. */
  readonly namesEvidence: boolean;
  /**
   * Hands key and certificate to `take`, which must read them before it returns: what can be wiped is wiped after.
   * `evidence` is the digest of the newest document, where there is one.
   */
  present(evidence: Uint8Array | undefined, take: (options: SecureContextOptions) => void): Promise<void>;
  /** Forgets the private key. */
  drop(): void;
}
