import { atCheck } from '../../verdict/steps.ts';
import { verifyQuote, type QuoteVerifyOptions, type VerifiedQuote } from '../dcap/verify.ts';
import { parseTdxQuote, type TdReport } from './parse.ts';

declare const verified: unique symbol;

/** A TD's report that a genuine platform signed, up to the trust in `anchor`. Only `verifyTdx` makes one. */
export interface VerifiedTdx extends VerifiedQuote {
  readonly [verified]: true;
  readonly report: TdReport;
}

/**
 * Verifies a TDX quote. Throws a `Refusal` that names the first check broken; `runQuoteSteps` gives all of them. What
 * the TD may be trusted with is a policy's to say: see `appraiseTdx`.
 */
export async function verifyTdx(bytes: Uint8Array, options: QuoteVerifyOptions): Promise<VerifiedTdx> {
  const { quote, report } = await atCheck('cpu.format', () => parseTdxQuote(bytes));
  return { ...(await verifyQuote(quote, options)), report } as VerifiedTdx;
}
