import type { CoseKey } from '../../attestation/cose/key.ts';
import type { Keyset } from '../../attestation/keyset.ts';

/** A signing key as this room sees it: the private half stays with whoever made it. */
export interface Signer {
  readonly publicKey: CoseKey;
  /** True once the private half is gone; absent where it never goes. */
  readonly isDropped?: boolean;
  sign(data: Uint8Array): Uint8Array;
}

/** The keys of one generation of the instance that issues. */
export interface InstanceKeys {
  readonly keyset: Keyset;
  readonly receipt: Signer;
  readonly log: Signer;
  /** Signs COSE Receipts of the log. */
  readonly inclusion: Signer;
}

/** Who makes the keys of further generations; `enclave/keys` has it. */
export interface KeySource {
  /** When the next generation is due, milliseconds since 1970. */
  readonly dueAt: number;
  /** Makes the next generation; what it made before and nobody entered is dropped. */
  next(): Promise<InstanceKeys>;
  /** Evidence vouches for the keys that `next` made last: they are in use from now on. */
  enter(): void;
}
