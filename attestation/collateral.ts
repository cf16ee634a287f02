/**
 * What vendors say about evidence, as a value. Everything in it is signed by its vendor and is judged: whoever
 * supplies it can withhold it, not forge it.
 */
export interface Collateral {
  /** NVIDIA reference integrity manifests (SWID XML) by RIM id, such as `NV_GPU_DRIVER_GH100_550.90.07`. */
  readonly rims: ReadonlyMap<string, Uint8Array>;
  /** DER certificate revocation lists. */
  readonly crls: readonly Uint8Array[];
}

export const NO_COLLATERAL: Collateral = { rims: new Map(), crls: [] };
