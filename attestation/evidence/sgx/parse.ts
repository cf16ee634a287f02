import { Refusal } from '../../errors.ts';
import { parseEnclaveReport, type EnclaveReport } from '../dcap/enclaveReport.ts';
import { parseQuote, type Quote } from '../dcap/quote.ts';

/** Parses a quote of an SGX enclave with its body of 384 bytes. */
export function parseSgxQuote(bytes: Uint8Array): { readonly quote: Quote; readonly report: EnclaveReport } {
  const quote = parseQuote(bytes);
  if (quote.bodyKind !== 'sgx') throw new Refusal('MALFORMED', 'the quote is of a TD, not of an SGX enclave');
  return { quote, report: parseEnclaveReport(quote.body) };
}
