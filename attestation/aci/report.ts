import * as z from 'zod';
import { equalBytes, fromBase64, fromHex, toHex } from '../bytes/bytes.ts';
import type { CryptoProvider } from '../crypto/provider.ts';
import { Refusal } from '../errors.ts';
import type { SnpEvidence, TdxEvidence } from '../evidence/evidence.ts';
import { parseJson } from '../json/strict.ts';
import {
  ACI_VERSION,
  aciKeysetDigest,
  aciKeysetSchema,
  type AciKeyset,
  parseAciKeyset,
  readAci,
} from './keyset.ts';
import { aciReportData, aciStatement } from './statement.ts';

/** A quote is about 8 kB in hex; a boot log that another service adds may be large. */
const MAX_BYTES = 4 * 1024 * 1024;
const MAX_CERTIFICATES = 8;
const text = z.string().max(1024);
const nullableText = text.nullable();
const hex = z.string().regex(/^(?:[0-9a-f]{2})+$/);
const base64 = z.base64().max(1024 * 1024);

/** How evidence stands in a report (section 4.2 leaves it to the policy): TDX as dstack has it, SNP as we do. */
const tdxSchema = z.looseObject({ quote: hex, quote_report_data: hex.optional() });
const snpSchema = z.looseObject({
  report_b64: base64,
  certificates_b64: z.array(base64).max(MAX_CERTIFICATES),
});

const reportSchema = z.strictObject({
  api_version: z.literal(ACI_VERSION),
  workload_keyset_digest: text,
  attestation: z.looseObject({
    tee_type: text,
    workload_keyset: aciKeysetSchema,
    report_data: z.string().regex(/^[0-9a-f]{64}$/),
    source_provenance: z
      .strictObject({
        repo_url: nullableText,
        repo_commit: nullableText,
        image_digest: nullableText,
        image_provenance: z.unknown(),
      })
      .optional(),
    evidence: z.looseObject({}),
  }),
  service_capabilities: z.looseObject({ supported_e2ee_versions: z.array(text).max(16), serving: text }),
});

export type AciReport = z.infer<typeof reportSchema>;

/** What a report comes to: only for a quote that verifies, with exactly this report data, is the keyset the workload's. */
export interface AciBound {
  readonly keyset: AciKeyset;
  readonly cpu: SnpEvidence | TdxEvidence;
  /** 64 bytes that the quote must carry. */
  readonly reportData: Uint8Array;
}

export function parseAciReport(bytes: Uint8Array): AciReport {
  if (bytes.length > MAX_BYTES)
    throw new Refusal('MALFORMED', `ACI report is larger than ${MAX_BYTES} bytes`);
  return readAci(reportSchema, parseJson(bytes, 'ACI report'), 'ACI report');
}

/**
 * Recomputes what a report binds (section 9.1, 2 and 3): keyset, digest, statement for the caller's own nonce, report
 * data, and the end of the keyset at `now` (milliseconds since 1970). The quote is still to be judged: `appraiseCpu`
 * does it for `reportData`. Refuses with `KEYSET_MISMATCH`, `NONCE_MISMATCH`, `KEYSET_EXPIRED`,
 * `PLATFORM_NOT_ALLOWED` or `MALFORMED`.
 */
export function bindAciReport(
  { workload_keyset_digest, attestation }: AciReport,
  nonce: string | null,
  now: number,
  crypto: CryptoProvider,
): AciBound {
  const keyset = parseAciKeyset(attestation.workload_keyset);
  const digest = aciKeysetDigest(keyset, crypto);
  if (digest !== workload_keyset_digest) {
    throw new Refusal(
      'KEYSET_MISMATCH',
      `the report names ${workload_keyset_digest}, its keyset has ${digest}`,
    );
  }
  const reportData = aciReportData(aciStatement(digest, nonce), crypto);
  if (!equalBytes(reportData.subarray(0, 32), fromHex(attestation.report_data))) {
    const wanted = toHex(reportData.subarray(0, 32));
    throw new Refusal(
      'NONCE_MISMATCH',
      `report data is ${attestation.report_data}, keyset and nonce give ${wanted}`,
    );
  }
  if (now >= keyset.not_after * 1000) throw new Refusal('KEYSET_EXPIRED', 'the keyset is at its end');
  return { keyset, cpu: evidenceOf(attestation), reportData };
}

function evidenceOf({ tee_type, evidence }: AciReport['attestation']): AciBound['cpu'] {
  switch (tee_type) {
    case 'tdx':
      return { platform: 'tdx', report: fromHex(readAci(tdxSchema, evidence, 'ACI evidence').quote) };
    case 'sev_snp': {
      const { report_b64, certificates_b64 } = readAci(snpSchema, evidence, 'ACI evidence');
      return {
        platform: 'snp',
        report: fromBase64(report_b64),
        certificates: certificates_b64.map(fromBase64),
      };
    }
    default:
      throw new Refusal('PLATFORM_NOT_ALLOWED', `tee_type ${tee_type} is neither tdx nor sev_snp`);
  }
}
