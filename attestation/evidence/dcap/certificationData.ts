import { fromUtf8 } from '../../bytes/bytes.ts';
import type { ByteReader } from '../../bytes/reader.ts';
import { Refusal } from '../../errors.ts';
import { parseCertificate, parsePemChain, type Certificate } from '../../x509/certificate.ts';
import { readElements, TAG } from '../../x509/der.ts';

/** QE certification data types (Intel DCAP quote libraries, table «QE Certification Data»). */
export const CERTIFICATION_DATA = {
  /** PPID in the clear, CPUSVN, PCESVN, PCE id. */
  ppid: 1,
  /** The same with the PPID encrypted to an RSA-2048 or an RSA-3072 key. */
  ppidRsa2048: 2,
  ppidRsa3072: 3,
  pckLeaf: 4,
  pckChain: 5,
  /** Report of the quoting enclave, its signature, authentication data and certification data of another type. */
  qeReport: 6,
  platformManifest: 7,
} as const;

const TYPES: readonly number[] = Object.values(CERTIFICATION_DATA);
const CHAIN_CERTIFICATES = 3;
const PEM_BLOCK = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]*-----END CERTIFICATE-----/g;

/** What tells whose key signed the quoting enclave's report. The host writes it: it is a claim until a chain verifies. */
export interface CertificationData {
  readonly type: number;
  readonly data: Uint8Array;
}

/** Type (u16), length (u32) and data. */
export function readCertificationData(reader: ByteReader): CertificationData {
  const type = reader.u16le();
  if (!TYPES.includes(type)) {
    throw new Refusal('UNSUPPORTED', `certification data type ${type} is not 1 to ${TYPES.length}`);
  }
  return { type, data: reader.take(reader.u32le()) };
}

/**
 * The certificates in certification data; undefined for the types that have none. Type 5 is PEM, on some hosts with a
 * NUL after it; Intel's sample quotes have concatenated DER instead.
 */
export function readChain({ type, data }: CertificationData): readonly Certificate[] | undefined {
  if (type !== CERTIFICATION_DATA.pckChain) return undefined;
  return data[0] === TAG.sequence ? readDerChain(data) : readPemChain(data);
}

function readDerChain(data: Uint8Array): readonly Certificate[] {
  const elements = readElements(data, 'PCK certificate chain');
  if (elements.length > CHAIN_CERTIFICATES) throw tooMany(elements.length);
  return elements.map(({ encoded }) => parseCertificate(encoded));
}

/** Text between and after the blocks is refused: nothing may ride along unread. */
function readPemChain(data: Uint8Array): readonly Certificate[] {
  let end = data.length;
  while (end > 0 && data[end - 1] === 0) end--;
  const text = fromUtf8(data.subarray(0, end));
  if (text.replaceAll(PEM_BLOCK, '').trim() !== '') {
    throw new Refusal('MALFORMED', 'the PCK certificate chain has other text than PEM certificates');
  }
  return parsePemChain(text, CHAIN_CERTIFICATES);
}

function tooMany(count: number): Refusal {
  return new Refusal(
    'MALFORMED',
    `${count} certificates in the PCK certificate chain, not ${CHAIN_CERTIFICATES}`,
  );
}
