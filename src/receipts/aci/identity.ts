import { toHex } from '../../../attestation/bytes/bytes.ts';
import { type AciKeyset, ACI_SIGNATURE, aciKeysetDigest } from '../../../attestation/aci/keyset.ts';
import type { CoseKey } from '../../../attestation/cose/key.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { instanceUrn, type HpkeKey, type Keyset } from '../../../attestation/keyset.ts';

/** A private key of the role that signs receipts of ACI; `enclave/keys` makes it. */
export interface AciSigner {
  /** Ed25519. */
  readonly publicKey: CoseKey;
  readonly isDropped: boolean;
  sign(data: Uint8Array): Uint8Array;
}

/** The keys of one generation: our keyset, and the key that signs for ACI. */
export interface AciKeys {
  readonly keyset: Keyset;
  readonly signer: AciSigner;
}

/** One generation of keys as ACI sees it. */
export interface AciIdentity {
  readonly keyset: AciKeyset;
  /** `sha256:` and hex. */
  readonly digest: string;
  readonly keyId: string;
  readonly signer: AciSigner;
}

/**
 * The workload keyset of a generation: its receipt key, and the keys of ours that channels may be bound to. It ends
 * when ours does.
 */
export function aciIdentity({ keyset, signer }: AciKeys): AciIdentity {
  const keyId = `receipt-${keyset.generation}`;
  const workload: AciKeyset = {
    subject: instanceUrn(keyset.instance),
    not_after: keyset.notAfter,
    receipt_signing_keys: [{ key_id: keyId, algo: ACI_SIGNATURE, public_key: toHex(signer.publicKey.x) }],
    e2ee_public_keys: keyset.hpke.map((key, place) => ({
      key_id: `hpke-${keyset.generation}-${place}`,
      algo: suiteName(key),
      public_key: toHex(key.publicKey),
    })),
    tls_public_keys: keyset.tlsSpki ? [{ spki_sha256: toHex(keyset.tlsSpki) }] : [],
  };
  return { keyset: workload, digest: aciKeysetDigest(workload, nodeCrypto), keyId, signer };
}

/** ACI has no name for these suites: the ids of RFC 9180, by which EHBP (`Ehbp-Encapsulated-Key`) takes the key. */
function suiteName({ kem, kdf, aead }: HpkeKey): string {
  return `ehbp-${[kem, kdf, aead].map((id) => id.toString(16).padStart(4, '0')).join('-')}`;
}
