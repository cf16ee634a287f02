import { fromHex } from '../../../attestation/bytes/bytes.ts';
import type { Check } from '../../../attestation/checks.ts';
import { checkReportData } from '../../../attestation/evidence/platforms/judgement.ts';
import { checkExtraData } from '../../../attestation/evidence/tpm/appraise.ts';
import type { VerifiedTpmQuote } from '../../../attestation/evidence/tpm/verify.ts';
import type { CaseFiles } from '../files.ts';

/** The nonce that the asker of a case chose; undefined where the case states none. */
export function expectedNonce({ facts }: CaseFiles): Uint8Array | undefined {
  const stated = facts['expectedNonceHex'] ?? facts['nonceHex'];
  return typeof stated === 'string' ? fromHex(stated) : undefined;
}

/** Whether a quote was made for the nonce of the case; no check without one. */
export function checkNonce(quote: VerifiedTpmQuote, files: CaseFiles): readonly Check[] {
  const nonce = expectedNonce(files);
  return nonce ? [checkExtraData(quote, nonce, { id: 'cpu.vtpm-quote', code: 'NONCE_MISMATCH' })] : [];
}

/** Whether a report carries the report data that the case expects; no check where it states none. */
export function checkStatedReportData(
  report: { readonly reportData: Uint8Array } | undefined,
  files: CaseFiles,
): readonly Check[] {
  const stated = files.facts['expectedReportDataHex'];
  const expected = typeof stated === 'string' ? fromHex(stated) : files.find('report_data.bin');
  return expected ? [checkReportData(report?.reportData, expected, 'cpu')] : [];
}
