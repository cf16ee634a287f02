import type { CoseKey } from '../../attestation/cose/key.ts';
import type { Keyset } from '../../attestation/keyset.ts';

/** A signing key as this room sees it: the private half stays with whoever made it. */
export interface Signer {
  readonly publicKey: CoseKey;
  sign(data: Uint8Array): Uint8Array;
}

/** The keys of the instance that issues. */
export interface InstanceKeys {
  readonly keyset: Keyset;
  readonly receipt: Signer;
  readonly log: Signer;
  /** Signs COSE Receipts of the log. */
  readonly inclusion: Signer;
}
