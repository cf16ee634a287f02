import { parsePemChain } from '../../attestation/x509/certificate.ts';
import { baseAddress } from './address.ts';
import { CollateralError } from './errors.ts';
import { HttpClient, type HttpOptions } from './http.ts';
import { reading, type CollateralItem, type CollateralRequest, type Received } from './item.ts';
import { AMD_KDS, checkAmd, kdsRequest } from './kds.ts';
import type { CollateralNeed } from './need.ts';
import { checkOcsp, NVIDIA_OCSP, ocspRequest } from './ocsp.ts';
import { checkIntel, INTEL_PCS, INTEL_ROOT_CRL, pcsRequest } from './pcs.ts';
import { checkRim, NVIDIA_RIM, rimRequest } from './rim.ts';

/** A statement, and how it came here. */
export interface Obtained {
  readonly item: CollateralItem;
  readonly from: 'network' | 'cache';
  /** Milliseconds since 1970. */
  readonly fetchedAt: number;
  /** What is to be said about it: that it is stale, or why it is not a newer one. */
  readonly remarks: readonly CollateralError[];
}

/** Where statements come from: vendors, mirrors, a cache before them. */
export interface CollateralSource {
  /** Throws a `CollateralError`, or the reason of `signal`. */
  obtain(need: CollateralNeed, signal: AbortSignal): Promise<Obtained>;
}

/** Base addresses that replace those of the vendors: mirrors and caches with the same paths. */
export interface SourceAddresses {
  readonly amd?: string | undefined;
  readonly intel?: string | undefined;
  /** The CRL of Intel's root, which lies on a host of its own. */
  readonly intelRootCrl?: string | undefined;
  /** A provisioning certificate caching service instead of both addresses of Intel. */
  readonly pccs?: string | undefined;
  readonly nvidia?: string | undefined;
  /** A responder that stands in for NVIDIA's. */
  readonly ocsp?: string | undefined;
}

/** The vendors' services, or their mirrors. */
export function networkSource(
  addresses: SourceAddresses,
  options: HttpOptions,
  now: () => number,
): CollateralSource {
  const http = new HttpClient(options);
  const requestOf = requestsTo(addresses);
  return {
    async obtain(need, signal) {
      const request = requestOf(need);
      const answer = await http.ask(request, signal);
      const body = reading('answer', () => request.unpack?.(answer.body) ?? answer.body);
      const item = checkReceived(need, { body, chain: readChain(answer.headers, request) });
      return { item, from: 'network', fetchedAt: now(), remarks: [] };
    },
  };
}

function requestsTo(addresses: SourceAddresses): (need: CollateralNeed) => CollateralRequest {
  const amd = baseAddress(addresses.amd ?? AMD_KDS);
  const nvidia = baseAddress(addresses.nvidia ?? NVIDIA_RIM);
  const ocsp = baseAddress(addresses.ocsp ?? NVIDIA_OCSP);
  const intel = {
    pcs: baseAddress(addresses.intel ?? INTEL_PCS),
    rootCrl: baseAddress(addresses.intelRootCrl ?? INTEL_ROOT_CRL),
    // Settings of other tools name a caching service with the path of its interface.
    pccs:
      addresses.pccs === undefined
        ? undefined
        : baseAddress(addresses.pccs).replace(/\/sgx\/certification\/v4$/, ''),
  };
  return (need) => {
    switch (need.kind) {
      case 'vcek':
      case 'amd-chain':
      case 'amd-crl':
        return kdsRequest(need, amd);
      case 'tcb-info':
      case 'qe-identity':
      case 'pck-crl':
      case 'intel-root-crl':
        return pcsRequest(need, intel);
      case 'rim':
        return rimRequest(need, nvidia);
      case 'ocsp':
        return ocspRequest(need, need.responder === NVIDIA_OCSP ? ocsp : baseAddress(need.responder));
    }
  };
}

/** Looks at what came, or what was kept, before anyone uses it: no trust, but no nonsense either. */
export function checkReceived(need: CollateralNeed, received: Received): CollateralItem {
  switch (need.kind) {
    case 'vcek':
    case 'amd-chain':
    case 'amd-crl':
      return checkAmd(need, received);
    case 'tcb-info':
    case 'qe-identity':
    case 'pck-crl':
    case 'intel-root-crl':
      return checkIntel(need, received);
    case 'rim':
      return checkRim(need, received);
    case 'ocsp':
      return checkOcsp(need, received);
  }
}

/** Signer and root. */
const MAX_CHAIN = 4;

function readChain(headers: Headers, { chainHeaders }: CollateralRequest): readonly Uint8Array[] {
  if (!chainHeaders) return [];
  const [encoded] = chainHeaders.flatMap((name) => headers.get(name) ?? []);
  if (encoded === undefined) {
    throw new CollateralError('malformed', `the answer has no header ${chainHeaders[0] ?? ''}`);
  }
  const pem = reading('issuer chain', () => decodeURIComponent(encoded));
  return reading('issuer chain', () => parsePemChain(pem, MAX_CHAIN)).map(({ der }) => der);
}
