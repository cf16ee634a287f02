import type { CryptoProvider } from '../../attestation/crypto/provider.ts';
import { Refusal } from '../../attestation/errors.ts';
import { NOT_JUDGED } from '../../attestation/verdict/verdict.ts';
import type { CorpusCase, Expectation } from './case.ts';
import { judgeNitroCase } from './cpu/aws.ts';
import { judgeAzureCase } from './cpu/azure.ts';
import { contextOf } from './cpu/context.ts';
import { judgeLog, judgeQuote } from './cpu/intel.ts';
import { judgeAmdCrl, judgeSnpReport, judgeVek } from './cpu/snp.ts';
import { judgeTpmCase, judgeTpmCertificates } from './cpu/tpm.ts';
import type { AppraisalContext } from '../../attestation/evidence/context.ts';
import { CaseFiles } from './files.ts';
import { outcomeOr, type Outcome } from './outcome.ts';
import { REASONS } from './reasons.ts';

/** A case at one of its instants: what it expects, what we say, and whether the two agree. */
export interface Judgement {
  readonly id: string;
  readonly expectation: Expectation;
  readonly outcome: Outcome;
  readonly agrees: boolean;
}

/** Judges a case at each of its instants. Pure: the same function runs in a page. */
export async function judgeCase(
  corpusCase: CorpusCase,
  crypto: CryptoProvider,
): Promise<readonly Judgement[]> {
  const judged: Judgement[] = [];
  for (const expectation of corpusCase.expectations) {
    const outcome = await outcomeOr(() => judgeAt(corpusCase, expectation.at, crypto));
    const agrees = agree(expectation, outcome);
    judged.push({ id: corpusCase.id, expectation, outcome, agrees });
  }
  return judged;
}

/**
 * An acceptance has no failure. A refusal has one, and each that decides is for a reason that the case states: what
 * is merely missing decides nothing beside a failure that speaks against the evidence (DESIGN section 7).
 */
function agree({ verdict, reasons }: Expectation, { codes }: Outcome): boolean {
  if (verdict === 'accept') return codes.length === 0;
  const against = codes.filter((code) => !NOT_JUDGED.includes(code));
  const deciding = against.length > 0 ? against : codes;
  const stated = reasons.map((reason) => REASONS[reason]);
  return deciding.length > 0 && deciding.every((code) => stated.includes(code));
}

type Judge = (files: CaseFiles, context: AppraisalContext) => Promise<Outcome>;

const JUDGES: ReadonlyMap<string, Judge> = new Map([
  ['snp-attestation-report', judgeSnpReport],
  ['snp-msg-report-rsp', judgeSnpReport],
  ['x509-vcek', judgeVek],
  ['x509-crl', judgeAmdCrl],
  ['dcap-quote', judgeQuote],
  ['dcap-quote-sgx', judgeQuote],
  ['dcap-quote-td10', judgeQuote],
  ['dcap-quote-td15', judgeQuote],
  ['cose-sign1-nitro', judgeNitroCase],
  ['cose-sign1-nitrotpm', judgeNitroCase],
  ['tpm2-quote', judgeTpmCase],
  ['tpm2-attestation', judgeTpmCase],
  ['x509-ek-ak', judgeTpmCertificates],
  ['ccel', judgeLog],
  ['tcg2-event-log', judgeLog],
]);

async function judgeAt(
  corpusCase: CorpusCase,
  at: number | undefined,
  crypto: CryptoProvider,
): Promise<Outcome> {
  const files = new CaseFiles(corpusCase);
  const context = contextOf(files, at, crypto);
  // An Azure VM is told by its HCL report, whatever the format of the evidence inside is called.
  if (files.find('hcl_report.bin')) return judgeAzureCase(files, context);
  const judge = JUDGES.get(corpusCase.format);
  if (!judge) throw new Refusal('UNSUPPORTED', `format ${corpusCase.format} is not known`);
  return judge(files, context);
}
