import { concat, toHex } from '../../../attestation/bytes/bytes.ts';
import type { CryptoProvider } from '../../../attestation/crypto/provider.ts';

/** Bytes of the member of each platform's evidence that the digest goes into. */
export const HOST_DATA_BYTES = 32;
export const MR_CONFIG_ID_BYTES = 48;
const PCR_BYTES = 32;

/** Where the digest of init-data shows, on each platform. */
export interface ExpectedInitData {
  /** The digest as the agent calculates it. */
  readonly digest: Uint8Array;
  /** SEV-SNP, HOST_DATA of the report. */
  readonly hostData: Uint8Array;
  /** TDX, MRCONFIGID of the quote. */
  readonly mrConfigId: Uint8Array;
  /**
   * Azure, PCR 8 of the bank SHA-256: the guest extends it with the first 32 bytes before it uses the data. A host
   * cannot choose it, but the image of the guest must do it: without PCRs of that image it says nothing.
   */
  readonly pcr8: Uint8Array;
}

/** «Integrity Binding for Different TEEs»: what is longer is cut at its end, what is shorter gets zeros. */
export function expectInitData(digest: Uint8Array, crypto: CryptoProvider): ExpectedInitData {
  return {
    digest,
    hostData: fit(digest, HOST_DATA_BYTES),
    mrConfigId: fit(digest, MR_CONFIG_ID_BYTES),
    pcr8: crypto.hash('sha256', concat(new Uint8Array(PCR_BYTES), fit(digest, PCR_BYTES))),
  };
}

interface NamedValue {
  readonly name: string;
  readonly value: string;
}

/** Parts of a policy, below `cpu`. */
export interface InitDataPolicyPart {
  readonly snp: { readonly hostData: readonly NamedValue[] };
  readonly tdx: { readonly mrConfigId: readonly NamedValue[] };
  readonly tpm: {
    readonly pcrs: { readonly bank: 'sha256'; readonly values: { readonly 8: readonly NamedValue[] } };
  };
}

/**
 * The expected values in the form of a policy, one platform each: to be put into one that names the guest's own launch
 * measurement as well. Init-data binds what the guest was told, not the agent that obeys it.
 */
export function initDataPolicyPart(expected: ExpectedInitData, name: string): InitDataPolicyPart {
  const named = (value: Uint8Array): readonly NamedValue[] => [{ name, value: toHex(value) }];
  return {
    snp: { hostData: named(expected.hostData) },
    tdx: { mrConfigId: named(expected.mrConfigId) },
    tpm: { pcrs: { bank: 'sha256', values: { 8: named(expected.pcr8) } } },
  };
}

function fit(digest: Uint8Array, bytes: number): Uint8Array {
  const fitted = new Uint8Array(bytes);
  fitted.set(digest.subarray(0, bytes));
  return fitted;
}
