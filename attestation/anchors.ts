/** What a root vouches for. A key of one role is not accepted in another. */
export type AnchorRole =
  /** AMD root key: SNP chips. */
  | 'amd-ark'
  /** Intel SGX root: SGX and TDX platforms, and Intel's statements on their firmware. */
  | 'intel-sgx-root'
  /** AWS Nitro Enclaves and NitroTPM documents. */
  | 'aws-nitro'
  /** Attestation keys of virtual TPMs by Azure and by Google, and of TPMs that the caller names. */
  | 'azure-vtpm'
  | 'gcp-vtpm'
  | 'tpm'
  | 'nvidia-device'
  /** NVIDIA reference values. */
  | 'nvidia-rim'
  /** RFC 3161 timestamp authorities that the caller names: no key of one is published here. */
  | 'timestamp'
  /** Organisations that answer for a service, by keys that the caller names. */
  | 'operator';

/** A public key that a relying party trusts, pinned by the SHA-256 of its DER SubjectPublicKeyInfo. */
export interface Anchor {
  readonly role: AnchorRole;
  readonly name: string;
  /** Lower-case hex. */
  readonly spkiSha256: string;
  /** True for our published, worthless roots. SIMULATED follows from this and from nothing else. */
  readonly simulated: boolean;
  /** Validity of the published certificate and where its key was found, for people; judged is the key alone. */
  readonly published?: { readonly notBefore: string; readonly notAfter: string; readonly source: string };
}

/** The anchor of the role with this key; undefined when it is not pinned. */
export function findAnchor(
  anchors: readonly Anchor[],
  role: Anchor['role'],
  spkiSha256: string,
): Anchor | undefined {
  return anchors.find((anchor) => anchor.role === role && anchor.spkiSha256 === spkiSha256);
}
