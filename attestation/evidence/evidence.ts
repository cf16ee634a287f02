/** CPU evidence as collected: the report and the certificates that endorse its key, leaf first, in DER. */
export interface CpuEvidence {
  readonly platform: 'snp';
  readonly report: Uint8Array;
  readonly certificates: readonly Uint8Array[];
}

/** Evidence of one device: the report and its certificate chain, leaf first, in DER. */
export interface DeviceEvidence {
  readonly kind: 'gpu' | 'switch';
  readonly report: Uint8Array;
  readonly certificates: readonly Uint8Array[];
}
