import type { HashName } from '../crypto/provider.ts';

/**
 * The closed set of CPU platforms (DESIGN section 4). The last three rest on a TPM that the host runs or emulates:
 * it says what booted and protects no memory, so a policy has to name them in words.
 */
export const PLATFORMS = [
  'snp',
  'tdx',
  'nitro',
  'azure-snp',
  'azure-tdx',
  'gcp-vtpm',
  'nitrotpm',
  'tpm',
] as const;
export type Platform = (typeof PLATFORMS)[number];

/** Register values of one bank of a TPM, as its host reports them: true only under a quote. */
export interface PcrBank {
  readonly hash: HashName;
  readonly values: ReadonlyMap<number, Uint8Array>;
}

/** A TPM 2.0 quote and what is needed to check it, in the encodings of TPM 2.0 part 2. */
export interface EncodedTpmQuote {
  /** TPMS_ATTEST. */
  readonly message: Uint8Array;
  /** TPMT_SIGNATURE. */
  readonly signature: Uint8Array;
  readonly pcrs: PcrBank;
  /** Certificates of the attestation key, leaf first, in DER; empty where something else vouches for it. */
  readonly certificates: readonly Uint8Array[];
}

/** An SNP report and the VEK, ASK or ASVK, and ARK certificates, in DER. */
export interface SnpEvidence {
  readonly platform: 'snp';
  readonly report: Uint8Array;
  readonly certificates: readonly Uint8Array[];
}

/** A TD quote; its PCK chain lies inside. */
export interface TdxEvidence {
  readonly platform: 'tdx';
  readonly report: Uint8Array;
}

/** An attestation document of a Nitro enclave, or of NitroTPM. */
export interface NitroEvidence {
  readonly platform: 'nitro' | 'nitrotpm';
  readonly report: Uint8Array;
}

/** An HCL report, the certificates of the SNP report inside, and the virtual TPM's quote. */
export interface AzureSnpEvidence {
  readonly platform: 'azure-snp';
  readonly report: Uint8Array;
  readonly certificates: readonly Uint8Array[];
  readonly tpm: EncodedTpmQuote;
}

/** An HCL report, the TD quote made of the TDREPORT inside, and the virtual TPM's quote. */
export interface AzureTdxEvidence {
  readonly platform: 'azure-tdx';
  readonly report: Uint8Array;
  readonly quote: Uint8Array;
  readonly tpm: EncodedTpmQuote;
}

/** A TPM and nothing else. */
export interface TpmEvidence {
  readonly platform: 'gcp-vtpm' | 'tpm';
  readonly tpm: EncodedTpmQuote;
}

/** CPU evidence as collected. */
export type CpuEvidence =
  SnpEvidence | TdxEvidence | NitroEvidence | AzureSnpEvidence | AzureTdxEvidence | TpmEvidence;

/** Evidence of one device: the report and its certificate chain, leaf first, in DER. */
export interface DeviceEvidence {
  readonly kind: 'gpu' | 'switch';
  readonly report: Uint8Array;
  readonly certificates: readonly Uint8Array[];
}
