import * as z from 'zod';
import { equalBytes, fromBase64Url, toBase64Url, toHex } from '../../../attestation/bytes/bytes.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { parseTdxQuote } from '../../../attestation/evidence/tdx/parse.ts';
import { parseJson } from '../../../attestation/json/strict.ts';
import { CollectError } from '../errors.ts';
import { readEvidence } from '../reading.ts';
import { askMetadata, unreachable, type MetadataOptions } from './metadata.ts';

export const TD_QUOTE_PATH = '/acc/tdquote';
/** A quote with its PCK chain has about 5 KB, base64url a third more. */
const MAX_ANSWER_BYTES = 64 * 1024;

const answerSchema = z.object({ quote: z.string().min(1) });

/**
 * The TD quote that the host makes of a TDREPORT. Its report data must be those of the TDREPORT, 64 bytes: a host that
 * answers with the quote of another machine, or of an earlier one, is not believed.
 */
export async function fetchTdQuote(
  metadata: MetadataOptions,
  tdReport: Uint8Array,
  reportData: Uint8Array,
): Promise<Uint8Array> {
  const body = JSON.stringify({ report: toBase64Url(tdReport) });
  const answer = await askMetadata(metadata, { path: TD_QUOTE_PATH, body, maximum: MAX_ANSWER_BYTES });
  const quote = readQuote(answer);
  const { report } = readEvidence('the TD quote', () => parseTdxQuote(quote));
  if (equalBytes(report.reportData, reportData)) return quote;
  throw new CollectError(
    'EVIDENCE_MISMATCH',
    `the TD quote is over ${toHex(report.reportData)}, the TDREPORT over ${toHex(reportData)}`,
  );
}

function readQuote(answer: Uint8Array): Uint8Array {
  try {
    const parsed = answerSchema.safeParse(parseJson(answer, 'the answer'));
    if (parsed.success) return fromBase64Url(parsed.data.quote);
    throw new Refusal('MALFORMED', 'the answer has no member «quote» that is text');
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    throw unreachable(TD_QUOTE_PATH, `sent no quote: ${error.message}`, error);
  }
}
