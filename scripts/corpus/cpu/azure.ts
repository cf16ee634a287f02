import { concat } from '../../../attestation/bytes/bytes.ts';
import type { Check } from '../../../attestation/checks.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { appraiseRuntimeClaims } from '../../../attestation/evidence/azure/appraise.ts';
import { parseHclReport } from '../../../attestation/evidence/azure/parse.ts';
import type { AppraisalContext } from '../../../attestation/evidence/context.ts';
import type { EncodedTpmQuote } from '../../../attestation/evidence/evidence.ts';
import {
  verifyAzureSnp,
  verifyAzureTdx,
  type AzureSteps,
} from '../../../attestation/evidence/platforms/azure.ts';
import { appraiseTpm } from '../../../attestation/evidence/tpm/appraise.ts';
import type { AzureSnpPolicy, AzureTdxPolicy } from '../../../attestation/policy/cpu.ts';
import { atCheck } from '../../../attestation/verdict/steps.ts';
import type { CaseFiles } from '../files.ts';
import { outcomeOf, type Outcome } from '../outcome.ts';
import { checkNonce } from './expected.ts';
import { pcrBanks } from './pcrs.ts';
import { CORPUS_AZURE_SNP, CORPUS_AZURE_TDX } from './policy.ts';
import { vekChain } from './snp.ts';

/** An HCL report with the CPU evidence below it and the virtual TPM's quote above it. */
export async function judgeAzureCase(files: CaseFiles, context: AppraisalContext): Promise<Outcome> {
  const report = files.need('hcl_report.bin');
  const { platform } = await atCheck('cpu.format', () => parseHclReport(report));
  const tpm = encodedQuote(files);
  if (platform === 'snp') {
    const evidence = { platform: 'azure-snp', report, certificates: vekChain(files), tpm } as const;
    const steps = await verifyAzureSnp(evidence, CORPUS_AZURE_SNP, 'cpu', context);
    return outcomeOf(checksOf(steps, CORPUS_AZURE_SNP, files));
  }
  const quote = files.need('td_quote.bin');
  const evidence = { platform: 'azure-tdx', report, quote, tpm } as const;
  const steps = await verifyAzureTdx(evidence, CORPUS_AZURE_TDX, 'cpu', context);
  return outcomeOf(checksOf(steps, CORPUS_AZURE_TDX, files));
}

/** What binds the evidence is the nonce of the case, in place of a statement of ours. */
function checksOf(
  { hardware, paravisor, vtpm }: AzureSteps,
  policy: AzureSnpPolicy | AzureTdxPolicy,
  files: CaseFiles,
): readonly Check[] {
  const { verified } = vtpm;
  return [
    ...hardware.checks,
    ...paravisor.checks,
    ...(paravisor.value ? appraiseRuntimeClaims(paravisor.value, policy.claims) : []),
    ...vtpm.checks,
    ...(verified ? checkNonce(verified.quote, files) : []),
    ...(verified ? appraiseTpm(verified.quote, verified.ak, policy.tpm) : []),
  ];
}

/** RSASSA with SHA-256: the corpus cut the header of TPMT_SIGNATURE away. */
const RSASSA_SHA256 = Uint8Array.of(0x00, 0x14, 0x00, 0x0b);

function encodedQuote(files: CaseFiles): EncodedTpmQuote {
  const signature = files.need('tpm_quote.sig');
  const size = Uint8Array.of(signature.length >> 8, signature.length & 0xff);
  const [pcrs] = files.find('pcrs.json') ? pcrBanks(files, 'tpm_quote') : [NO_PCRS];
  if (!pcrs) throw new Refusal('EVIDENCE_INCOMPLETE', 'the case has no PCR values');
  return {
    message: files.need('tpm_quote.msg'),
    signature: concat(RSASSA_SHA256, size, signature),
    pcrs,
    certificates: [
      ...files.certificates('ak_cert.pem', 'ak_cert_padded.pem'),
      ...files.certificates('ak_intermediates.pem'),
    ],
  };
}

const NO_PCRS = { hash: 'sha256', values: new Map<number, Uint8Array>() } as const;
