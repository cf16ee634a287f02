import { atCheck } from '../../verdict/steps.ts';
import type { EnclaveReport } from '../dcap/enclaveReport.ts';
import { verifyQuote, type QuoteVerifyOptions, type VerifiedQuote } from '../dcap/verify.ts';
import { parseSgxQuote } from './parse.ts';

declare const verified: unique symbol;

/** An enclave's report that a genuine platform signed, up to the trust in `anchor`. Only `verifySgx` makes one. */
export interface VerifiedSgx extends VerifiedQuote {
  readonly [verified]: true;
  readonly report: EnclaveReport;
}

/**
 * Verifies a quote of an SGX enclave. Throws a `Refusal` that names the first check broken; `runQuoteSteps` gives all
 * of them. What the enclave may be trusted with is a policy's to say: see `appraiseSgx`.
 */
export async function verifySgx(bytes: Uint8Array, options: QuoteVerifyOptions): Promise<VerifiedSgx> {
  const { quote, report } = await atCheck('cpu.format', () => parseSgxQuote(bytes));
  return { ...(await verifyQuote(quote, options)), report } as VerifiedSgx;
}
