import { parseSnpReport } from '../../attestation/evidence/snp/parse.ts';
import { bootLogSections, ccelTableSections } from './inspectBootLog.ts';
import { derSections, pemSections } from './inspectCertificate.ts';
import { deviceFileSections, reportWithChainSections, type Beside } from './inspectDeviceSet.ts';
import { hclSections } from './inspectHcl.ts';
import { qeIdentitySections, tcbInfoSections } from './inspectIntel.ts';
import { nitroSections } from './inspectNitro.ts';
import { ocspSections } from './inspectOcsp.ts';
import { sgxQuoteSections, tdxQuoteSections } from './inspectQuote.ts';
import { rimSections } from './inspectRim.ts';
import type { Section } from './inspectSection.ts';
import { extendedReportSections, reportResponseSections, snpSections, thimSections } from './inspectSnp.ts';
import { answerSections, jwtSections } from './inspectToken.ts';
import { keySetSections } from './inspectTokenKeys.ts';
import { tpmPublicSections, tpmQuoteSections, tpmSignatureSections } from './inspectTpm.ts';
import type { EvidenceKind } from '../../attestation/recognition/evidenceKinds.ts';

/** What shows each kind of file of vendors and of firmware; throws a coded refusal for one that cannot be read. */
export const EVIDENCE_SECTIONS: Readonly<
  Record<EvidenceKind, (bytes: Uint8Array, beside: Beside) => readonly Section[]>
> = {
  'snp-report': (bytes) => snpSections(parseSnpReport(bytes)),
  'snp-extended-report': extendedReportSections,
  'snp-report-response': reportResponseSections,
  'thim-certificates': thimSections,
  'tdx-quote': (bytes) => tdxQuoteSections(bytes),
  'sgx-quote': (bytes) => sgxQuoteSections(bytes),
  'nitro-document': (bytes) => nitroSections(bytes),
  'tpm-quote': (bytes) => tpmQuoteSections(bytes),
  'tpm-public': tpmPublicSections,
  'tpm-signature': (bytes) => tpmSignatureSections(bytes),
  'hcl-report': (bytes) => hclSections(bytes),
  'boot-log': (bytes) => bootLogSections(bytes, undefined),
  'ccel-table': ccelTableSections,
  certificates: x509Sections,
  crl: x509Sections,
  'public-key': x509Sections,
  'tcb-info': tcbInfoSections,
  'qe-identity': qeIdentitySections,
  'device-report-chain': reportWithChainSections,
  'device-evidence': deviceFileSections,
  'nras-request': deviceFileSections,
  'nras-answer': answerSections,
  jwt: jwtSections,
  jwks: keySetSections,
  rim: rimSections,
  'ocsp-response': ocspSections,
};

const DER_SEQUENCE = 0x30;

function x509Sections(bytes: Uint8Array): readonly Section[] {
  return bytes[0] === DER_SEQUENCE ? derSections(bytes) : pemSections(bytes);
}
