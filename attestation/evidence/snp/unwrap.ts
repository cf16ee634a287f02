import { equalBytes, fromUtf8, isZero, toHex } from '../../bytes/bytes.ts';
import { ByteReader } from '../../bytes/reader.ts';
import { Refusal } from '../../errors.ts';
import { parsePemChain } from '../../x509/certificate.ts';
import { TAG } from '../../x509/der.ts';
import type { SnpEvidence } from '../evidence.ts';
import { REPORT_BYTES } from './parse.ts';

/** Certificates of the GHCB table (GHCB specification, SNP Extended Guest Request), by GUID. */
const GUIDS: Readonly<Record<string, 'ark' | 'ask' | 'vcek' | 'vlek'>> = {
  c0b406a4a803495297433fb6014cd0ae: 'ark',
  '4ab7b379bbac4fe4a02f05aef327c782': 'ask',
  '63da758de6644564adc5f4b93be8accd': 'vcek',
  a8074bc2a25a483eaae639c045a0b8a1: 'vlek',
};
const MAX_ENTRIES = 16;
const PEM_START = new TextEncoder().encode('-----BEGIN');

/**
 * Report and certificates of an extended report: the report, then the host's certificate table, then padding. The
 * host writes the table: its certificates are judged like any others, and unknown entries are passed over.
 */
export function unwrapExtendedReport(bytes: Uint8Array): SnpEvidence {
  const report = new ByteReader(bytes, 'extended SNP report').take(REPORT_BYTES);
  const found = readCertificateTable(bytes.subarray(REPORT_BYTES));
  if (found.has('vcek') && found.has('vlek')) {
    throw new Refusal('MALFORMED', 'the certificate table has both a VCEK and a VLEK');
  }
  const certificates = [found.get('vcek') ?? found.get('vlek'), found.get('ask'), found.get('ark')];
  return { platform: 'snp', report, certificates: certificates.flatMap((der) => der ?? []) };
}

/** Certificates of a GHCB table in DER, by role. Entries are GUID, offset and length; an all-zero one ends them. */
export function readCertificateTable(table: Uint8Array): ReadonlyMap<string, Uint8Array> {
  const reader = new ByteReader(table, 'certificate table');
  const found = new Map<string, Uint8Array>();
  for (let i = 0; i < MAX_ENTRIES; i++) {
    const guid = reader.take(16);
    const offset = reader.u32le();
    const length = reader.u32le();
    if (isZero(guid) && offset === 0 && length === 0) return found;
    const entry = new ByteReader(table, 'certificate table');
    entry.take(offset);
    const role = GUIDS[toHex(guid)];
    const content = entry.take(length);
    if (!role) continue;
    if (found.has(role)) throw new Refusal('MALFORMED', `the certificate table has two entries for ${role}`);
    found.set(role, toDer(content));
  }
  throw new Refusal('MALFORMED', `the certificate table has more than ${MAX_ENTRIES} entries`);
}

/** Entries are DER; some hosts write PEM. */
function toDer(content: Uint8Array): Uint8Array {
  if (content[0] === TAG.sequence) return content;
  if (!equalBytes(content.subarray(0, PEM_START.length), PEM_START)) {
    throw new Refusal('MALFORMED', 'an entry of the certificate table is neither DER nor PEM');
  }
  const [certificate, ...rest] = parsePemChain(fromUtf8(content));
  if (!certificate || rest.length > 0) {
    throw new Refusal('MALFORMED', 'an entry of the certificate table has more than one certificate');
  }
  return certificate.der;
}

/**
 * The report of a MSG_REPORT_RSP payload: status, size and 24 reserved bytes before it (SNP firmware ABI), padding
 * after it.
 */
export function unwrapReportResponse(bytes: Uint8Array): Uint8Array {
  const reader = new ByteReader(bytes, 'MSG_REPORT_RSP');
  const status = reader.u32le();
  if (status !== 0) throw new Refusal('MALFORMED', `MSG_REPORT_RSP has status ${status}`);
  const size = reader.u32le();
  if (size !== REPORT_BYTES) {
    throw new Refusal('MALFORMED', `MSG_REPORT_RSP has a report of ${size} bytes, not ${REPORT_BYTES}`);
  }
  if (!isZero(reader.take(24))) throw new Refusal('MALFORMED', 'MSG_REPORT_RSP has non-zero reserved bytes');
  const report = reader.take(REPORT_BYTES);
  if (!isZero(reader.take(reader.remaining))) {
    throw new Refusal('MALFORMED', 'bytes follow the report in MSG_REPORT_RSP');
  }
  return report;
}
