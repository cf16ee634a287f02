import { parseCertificate } from '../../../attestation/x509/certificate.ts';
import type { AppraisalContext } from '../../../attestation/evidence/context.ts';
import { appraiseSnpAs, verifySnpSteps } from '../../../attestation/evidence/platforms/snp.ts';
import { readVekCertificate } from '../../../attestation/evidence/snp/certificate.ts';
import { verifySnpChain } from '../../../attestation/evidence/snp/chain.ts';
import { checkRevocation } from '../../../attestation/evidence/snp/crl.ts';
import { unwrapExtendedReport, unwrapReportResponse } from '../../../attestation/evidence/snp/unwrap.ts';
import { Refusal } from '../../../attestation/errors.ts';
import type { CaseFiles } from '../files.ts';
import { ACCEPTED, outcomeOf, type Outcome } from '../outcome.ts';
import { checkStatedReportData } from './expected.ts';
import { CORPUS_SNP } from './policy.ts';

/** An SNP report in any wrapping. */
export async function judgeSnpReport(files: CaseFiles, context: AppraisalContext): Promise<Outcome> {
  const { value, checks } = await verifySnpSteps(snpEvidence(files), CORPUS_SNP, 'cpu', context);
  const bound = checkStatedReportData(value?.report, files);
  return outcomeOf([...checks, ...bound, ...appraiseSnpAs('cpu', value, CORPUS_SNP)]);
}

function snpEvidence(files: CaseFiles) {
  const extended = files.find('extended_report.bin');
  if (extended) return unwrapExtendedReport(extended);
  const response = files.find('msg_report_rsp.bin');
  const report = response ? unwrapReportResponse(response) : files.need('report.bin');
  return { report, certificates: vekChain(files) };
}

/** VEK, ASK or ASVK, ARK; fewer where the case lacks one. */
export function vekChain(files: CaseFiles): readonly Uint8Array[] {
  return [
    ...files.certificates('vcek.der', 'vcek.pem', 'vlek.der', 'vlek.pem'),
    ...files.certificates('ask_ark.pem'),
  ];
}

/** A VEK certificate and its chain, without a report. */
export async function judgeVek(
  files: CaseFiles,
  { collateral, ...context }: AppraisalContext,
): Promise<Outcome> {
  const options = { ...context, crls: collateral.crls, revocation: 'when-present' } as const;
  readVekCertificate((await verifySnpChain(vekChain(files), options)).vek);
  return ACCEPTED;
}

/** A revocation list and the authorities that it could revoke. */
export async function judgeAmdCrl(files: CaseFiles, context: AppraisalContext): Promise<Outcome> {
  const [ask, ark] = vekChain(files).map(parseCertificate);
  if (!ask || !ark) throw new Refusal('CERT_MISSING', 'ASK and ARK are needed');
  const { crls } = context.collateral;
  await checkRevocation([ask, ark], ark, { ...context, crls, revocation: 'required' });
  return ACCEPTED;
}
