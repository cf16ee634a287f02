/** A public key that a relying party trusts, pinned by the SHA-256 of its DER SubjectPublicKeyInfo. */
export interface Anchor {
  /** `amd-ark` endorses SNP chips, `nvidia-device` devices, `nvidia-rim` reference values. */
  readonly role: 'amd-ark' | 'nvidia-device' | 'nvidia-rim';
  readonly name: string;
  /** Lower-case hex. */
  readonly spkiSha256: string;
  /** True for our published, worthless roots. SIMULATED follows from this and from nothing else. */
  readonly simulated: boolean;
}

/** The anchor of the role with this key; undefined when it is not pinned. */
export function findAnchor(
  anchors: readonly Anchor[],
  role: Anchor['role'],
  spkiSha256: string,
): Anchor | undefined {
  return anchors.find((anchor) => anchor.role === role && anchor.spkiSha256 === spkiSha256);
}
