/** A response of Intel's Provisioning Certification Service: a body whose inner object is signed. */
export interface SignedJson {
  /** The body as received: signatures run over its exact bytes. */
  readonly body: Uint8Array;
  /** DER certificates that sign it, leaf first. */
  readonly issuerChain: readonly Uint8Array[];
}

/**
 * What vendors say about evidence, as a value. Everything in it is signed by its vendor and is judged: whoever
 * supplies it can withhold it, not forge it.
 */
export interface Collateral {
  /** NVIDIA reference integrity manifests (SWID XML) by RIM id, such as `NV_GPU_DRIVER_GH100_550.90.07`. */
  readonly rims: ReadonlyMap<string, Uint8Array>;
  /** DER certificate revocation lists, of any issuer. */
  readonly crls: readonly Uint8Array[];
  /** DER certificates that complete chains: intermediates that the evidence does not carry. */
  readonly certificates: readonly Uint8Array[];
  /** Intel TCB info of SGX and TDX platforms, version 2 or 3. */
  readonly tcbInfos: readonly SignedJson[];
  /** Intel identities of quoting enclaves. */
  readonly qeIdentities: readonly SignedJson[];
  /** DER OCSP responses (RFC 6960), of any responder. */
  readonly ocspResponses: readonly Uint8Array[];
}

export const NO_COLLATERAL: Collateral = {
  rims: new Map(),
  crls: [],
  certificates: [],
  tcbInfos: [],
  qeIdentities: [],
  ocspResponses: [],
};

/** Both, `own` first: where two are given for one id, that of `own` counts. Vendors sign all of it. */
export function mergeCollateral(own: Collateral, supplied: Collateral): Collateral {
  return {
    rims: new Map([...supplied.rims, ...own.rims]),
    crls: [...own.crls, ...supplied.crls],
    certificates: [...own.certificates, ...supplied.certificates],
    tcbInfos: [...own.tcbInfos, ...supplied.tcbInfos],
    qeIdentities: [...own.qeIdentities, ...supplied.qeIdentities],
    ocspResponses: [...own.ocspResponses, ...supplied.ocspResponses],
  };
}
