import { readChain } from '../../attestation/evidence/dcap/certificationData.ts';
import { commonNameOf } from '../../attestation/evidence/dcap/distinguishedName.ts';
import { readPckCertificate, SGX_EXTENSION } from '../../attestation/evidence/dcap/pck.ts';
import { parseQuote } from '../../attestation/evidence/dcap/quote.ts';
import type { Certificate } from '../../attestation/x509/certificate.ts';
import type { IntelTee, PckCa } from './need.ts';

/** What Intel's statements are asked for by. */
export interface DcapPlatform {
  readonly tee: IntelTee;
  /** 6 bytes in hex, of either case: from the PCK certificate. */
  readonly fmspc: string;
  /** Issuer of the PCK certificate. */
  readonly ca: PckCa;
}

const CAS: Readonly<Record<string, PckCa>> = {
  'Intel SGX PCK Processor CA': 'processor',
  'Intel SGX PCK Platform CA': 'platform',
};

/** The platform of a quote as its PCK certificate names it; undefined where there is none of Intel's. */
export function platformOfQuote(
  bytes: Uint8Array,
  beside: readonly Certificate[] = [],
): DcapPlatform | undefined {
  const { tee, signature } = parseQuote(bytes);
  const chain = readChain(signature.certification) ?? beside;
  const pck = chain.find(({ extensions }) => extensions.has(SGX_EXTENSION));
  const ca = pck && CAS[commonNameOf(pck.issuerName) ?? ''];
  return ca && { tee, fmspc: readPckCertificate(pck).fmspc, ca };
}
