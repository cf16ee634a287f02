import { toHex } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { formatTcb, splitTcb, type SnpProduct } from '../../attestation/evidence/snp/product.ts';
import { parseCertificate } from '../../attestation/x509/certificate.ts';
import { certIdOf, type OcspCertId } from '../../attestation/x509/ocspCertId.ts';

export type IntelTee = 'sgx' | 'tdx';
/** Who issued a PCK certificate: the CA of single-package or of multi-package platforms. */
export type PckCa = 'processor' | 'platform';

export type AmdNeed =
  | {
      readonly kind: 'vcek';
      readonly product: SnpProduct;
      /** 64 bytes, on Turin 8: as the certificate will state it. */
      readonly hwid: Uint8Array;
      /** Raw TCB_VERSION, 8 bytes, laid out as in reports. */
      readonly tcb: Uint8Array;
    }
  /** ASK and ARK, or for a VLEK ASVK and ARK. */
  | { readonly kind: 'amd-chain'; readonly product: SnpProduct; readonly endorses: 'vcek' | 'vlek' }
  | { readonly kind: 'amd-crl'; readonly product: SnpProduct };

export type IntelNeed =
  /** `fmspc`: 12 lower-case hex digits. */
  | { readonly kind: 'tcb-info'; readonly tee: IntelTee; readonly fmspc: string }
  | { readonly kind: 'qe-identity'; readonly tee: IntelTee }
  | { readonly kind: 'pck-crl'; readonly ca: PckCa }
  | { readonly kind: 'intel-root-crl' };

/** `id`: of letters that need no escape in an address, see `rimId`. */
export interface NvidiaNeed {
  readonly kind: 'rim';
  readonly id: string;
}

/** The status of one certificate, which a responder is asked for (RFC 6960). See `ocspNeed`. */
export interface OcspNeed {
  readonly kind: 'ocsp';
  /** DER that parses, and the certificate of its issuer. */
  readonly certificate: Uint8Array;
  readonly issuer: Uint8Array;
  /** Address of the responder. */
  readonly responder: string;
  /** By which the question names the issuer. */
  readonly hash: 'sha1' | 'sha384';
}

/** One statement of a vendor that a verification wants. */
export type CollateralNeed = AmdNeed | IntelNeed | NvidiaNeed | OcspNeed;

export type VendorName = 'amd' | 'intel' | 'nvidia';

export function vendorOf({ kind }: CollateralNeed): VendorName {
  switch (kind) {
    case 'vcek':
    case 'amd-chain':
    case 'amd-crl':
      return 'amd';
    case 'tcb-info':
    case 'qe-identity':
    case 'pck-crl':
    case 'intel-root-crl':
      return 'intel';
    case 'rim':
    case 'ocsp':
      return 'nvidia';
  }
}

/** Equal for equal needs and for no others: the name under which a statement is cached. */
export function needKey(need: CollateralNeed): string {
  switch (need.kind) {
    case 'vcek':
      return `amd/vcek/${need.product}/${toHex(need.hwid)}/${toHex(need.tcb)}`;
    case 'amd-chain':
      return `amd/chain/${need.product}/${need.endorses}`;
    case 'amd-crl':
      return `amd/crl/${need.product}`;
    case 'tcb-info':
      return `intel/tcb-info/${need.tee}/${need.fmspc}`;
    case 'qe-identity':
      return `intel/qe-identity/${need.tee}`;
    case 'pck-crl':
      return `intel/pck-crl/${need.ca}`;
    case 'intel-root-crl':
      return 'intel/root-crl';
    case 'rim':
      return `nvidia/rim/${need.id}`;
    case 'ocsp':
      return ocspKey(need);
  }
}

/** Two certificates are read for each: once is enough. */
const OCSP_KEYS = new WeakMap<OcspNeed, string>();

function ocspKey(need: OcspNeed): string {
  const known = OCSP_KEYS.get(need);
  if (known !== undefined) return known;
  const { issuerNameHash, issuerKeyHash, serial } = ocspCertId(need);
  const question = [need.hash, ...[issuerNameHash, issuerKeyHash, serial].map(toHex)];
  const key = `ocsp/${need.responder}/${question.join('/')}`;
  OCSP_KEYS.set(need, key);
  return key;
}

function ocspCertId({ certificate, issuer, hash }: OcspNeed): OcspCertId {
  return certIdOf(parseCertificate(certificate), parseCertificate(issuer), hash, nodeCrypto);
}

/** For people: `VCEK of genoa chip 0102030405060708… at bootloader 10, …`. */
export function needName(need: CollateralNeed): string {
  switch (need.kind) {
    case 'vcek': {
      const chip = `${toHex(need.hwid.subarray(0, 8))}${need.hwid.length > 8 ? '…' : ''}`;
      return `VCEK of ${need.product} chip ${chip} at ${formatTcb(splitTcb(need.tcb, need.product))}`;
    }
    case 'amd-chain':
      return `AMD CA certificates of ${need.product} (${need.endorses})`;
    case 'amd-crl':
      return `AMD CRL of ${need.product}`;
    case 'tcb-info':
      return `Intel ${need.tee.toUpperCase()} TCB info of FMSPC ${need.fmspc}`;
    case 'qe-identity':
      return `Intel identity of the ${need.tee.toUpperCase()} quoting enclave`;
    case 'pck-crl':
      return `Intel CRL of the PCK ${need.ca} CA`;
    case 'intel-root-crl':
      return 'Intel CRL of the SGX root CA';
    case 'rim':
      return `NVIDIA RIM ${need.id}`;
    case 'ocsp': {
      const { subject, serial } = parseCertificate(need.certificate);
      return `OCSP status of ${subject}, serial ${toHex(serial)}`;
    }
  }
}

/** The needs without repetition, in their order. */
export function distinctNeeds(needs: readonly CollateralNeed[]): readonly CollateralNeed[] {
  return [...new Map(needs.map((need) => [needKey(need), need])).values()];
}
