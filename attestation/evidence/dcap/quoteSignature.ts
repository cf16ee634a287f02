import { ByteReader } from '../../bytes/reader.ts';
import { Refusal } from '../../errors.ts';
import { CERTIFICATION_DATA, readCertificationData, type CertificationData } from './certificationData.ts';
import { ENCLAVE_REPORT_BYTES, parseEnclaveReport, type EnclaveReport } from './enclaveReport.ts';

const SIGNATURE_BYTES = 64;
const KEY_BYTES = 64;

/** ECDSA signature data of a quote: the quote's signature and, in two steps, who vouches for its key. */
export interface QuoteSignature {
  /** Over header and body, `r || s`, big endian, by the attestation key. */
  readonly signature: Uint8Array;
  /** P-256 point `x || y`, big endian. */
  readonly attestationKey: Uint8Array;
  readonly qeReport: EnclaveReport;
  /** Over the report of the quoting enclave, by the PCK. */
  readonly qeReportSignature: Uint8Array;
  readonly qeAuthData: Uint8Array;
  readonly certification: CertificationData;
}

/**
 * Parses signature data with nothing after it. Versions 4 and 5 wrap everything from the report of the quoting
 * enclave on in certification data of type 6; version 3 does not. Nesting ends there.
 */
export function parseQuoteSignature(data: Uint8Array, version: number): QuoteSignature {
  const reader = new ByteReader(data, 'quote signature data');
  const signature = reader.take(SIGNATURE_BYTES);
  const attestationKey = reader.take(KEY_BYTES);
  if (version === 3) return { signature, attestationKey, ...readQe(reader) };
  const outer = readCertificationData(reader);
  reader.end();
  if (outer.type !== CERTIFICATION_DATA.qeReport) {
    throw new Refusal('UNSUPPORTED', `the quote has certification data of type ${outer.type}, not 6`);
  }
  return { signature, attestationKey, ...readQe(new ByteReader(outer.data, 'QE report certification data')) };
}

/** Report (384), signature (64), authentication data (u16 length), certification data. */
function readQe(reader: ByteReader): Omit<QuoteSignature, 'signature' | 'attestationKey'> {
  const qeReport = parseEnclaveReport(reader.take(ENCLAVE_REPORT_BYTES));
  const qeReportSignature = reader.take(SIGNATURE_BYTES);
  const qeAuthData = reader.take(reader.u16le());
  const certification = readCertificationData(reader);
  reader.end();
  if (certification.type === CERTIFICATION_DATA.qeReport) {
    throw new Refusal('MALFORMED', 'certification data of type 6 stands where a PCK is to be named');
  }
  return { qeReport, qeReportSignature, qeAuthData, certification };
}
