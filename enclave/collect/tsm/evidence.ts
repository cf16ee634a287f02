import { concat, equalBytes, isZero } from '../../../attestation/bytes/bytes.ts';
import { ByteReader } from '../../../attestation/bytes/reader.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { Refusal } from '../../../attestation/errors.ts';
import type { SnpEvidence, TdxEvidence } from '../../../attestation/evidence/evidence.ts';
import { readVekCertificate } from '../../../attestation/evidence/snp/certificate.ts';
import { parseSnpReport, REPORT_BYTES, type SnpReport } from '../../../attestation/evidence/snp/parse.ts';
import { parseTdxQuote } from '../../../attestation/evidence/tdx/parse.ts';
import { parseCertificate } from '../../../attestation/x509/certificate.ts';
import { snpCertificates } from '../certificateTable.ts';
import { CollectError } from '../errors.ts';
import { readEvidence } from '../reading.ts';
import type { ReportBlobs } from './report.ts';

/** Some kernels hand out their whole buffer. */
const MAX_SNP_BUFFER_BYTES = 4096;

/** Evidence of an SNP guest, if the report is over these 64 bytes and of this VMPL. */
export function toSnpEvidence(blobs: ReportBlobs, reportData: Uint8Array, vmpl: number): SnpEvidence {
  const bytes = cutSnpReport(blobs.report);
  const report = readEvidence('the SNP report', () => parseSnpReport(bytes));
  checkReportData(report.reportData, reportData);
  if (report.vmpl !== vmpl) {
    throw new CollectError('EVIDENCE_MISMATCH', `the SNP report is of VMPL ${report.vmpl}, not of ${vmpl}`);
  }
  return { platform: 'snp', report: bytes, certificates: chainOf(report, blobs.certificateTable) };
}

/**
 * Evidence of an SVSM over its services: the report data are SHA-512 of our 64 bytes and the manifest («Secure VM
 * Service Module for SEV-SNP Guests», 58019, attestation protocol).
 */
export function toServiceEvidence(blobs: ReportBlobs, nonce: Uint8Array): SnpEvidence {
  return toSnpEvidence(blobs, nodeCrypto.hash('sha512', concat(nonce, blobs.manifest)), 0);
}

/** Evidence of a TD, if the quote is over these 64 bytes. */
export function toTdxEvidence(blobs: ReportBlobs, reportData: Uint8Array): TdxEvidence {
  const { quote, report } = readEvidence('the TDX quote', () => parseTdxQuote(blobs.report));
  checkReportData(report.reportData, reportData);
  // What follows the declared length of the signature is the rest of a buffer, and signed by nobody.
  const rest = new ByteReader(blobs.report.subarray(quote.signedBytes.length), 'TDX quote');
  const length = quote.signedBytes.length + 4 + rest.u32le();
  return { platform: 'tdx', report: blobs.report.slice(0, length) };
}

/** Reports of versions 2 to 5 have the same size; others the parser refuses. */
function cutSnpReport(blob: Uint8Array): Uint8Array {
  if (blob.length > MAX_SNP_BUFFER_BYTES || !isZero(blob.subarray(REPORT_BYTES))) {
    throw new CollectError(
      'EVIDENCE_MALFORMED',
      `${blob.length} bytes came where an SNP report was expected`,
    );
  }
  return blob.slice(0, REPORT_BYTES);
}

/**
 * The chain that the host sent along, leaf first. Hosts go on handing out the VCEK of firmware that they have updated
 * since: a leaf that does not endorse the report is left out with all that is above it, and so is an incomplete rest,
 * for whoever gathers collateral completes a chain from its leaf, or from nothing.
 */
function chainOf(report: SnpReport, table: Uint8Array): readonly Uint8Array[] {
  const { signingKey } = report.keyInfo;
  if (signingKey === 'none') return [];
  const certificates = snpCertificates(table, signingKey);
  const [leaf] = certificates;
  if (!leaf || !endorses(leaf, report)) return [];
  return certificates.length === 3 && certificates.every(isCertificate) ? certificates : [leaf];
}

function endorses(der: Uint8Array, report: SnpReport): boolean {
  return unlessRefused(() => {
    const { kind, tcb, hwid } = readVekCertificate(parseCertificate(der));
    const isOfChip = !hwid || equalBytes(hwid, report.chipId.subarray(0, hwid.length));
    return kind === report.keyInfo.signingKey && equalBytes(tcb, report.reportedTcb) && isOfChip;
  });
}

function isCertificate(der: Uint8Array): boolean {
  return unlessRefused(() => parseCertificate(der).der.length > 0);
}

function checkReportData(found: Uint8Array, wanted: Uint8Array): void {
  if (equalBytes(found, wanted)) return;
  throw new CollectError('EVIDENCE_MISMATCH', 'the report is over other report data than was asked for');
}

function unlessRefused(judge: () => boolean): boolean {
  try {
    return judge();
  } catch (error) {
    if (error instanceof Refusal) return false;
    throw error;
  }
}
