import { toHex } from '../../attestation/bytes/bytes.ts';
import { ByteReader } from '../../attestation/bytes/reader.ts';
import {
  CERTIFICATION_DATA,
  readChain,
  type CertificationData,
} from '../../attestation/evidence/dcap/certificationData.ts';
import { ENCLAVE_FLAGS, hasFlag, type EnclaveReport } from '../../attestation/evidence/dcap/enclaveReport.ts';
import type { Quote } from '../../attestation/evidence/dcap/quote.ts';
import { parseSgxQuote } from '../../attestation/evidence/sgx/parse.ts';
import { parseTdxQuote } from '../../attestation/evidence/tdx/parse.ts';
import { certificateSection } from './inspectCertificate.ts';
import { bitsText, hexNumber, readable, type Section } from './inspectSection.ts';
import { tdReportRows, XFEATURES } from './inspectTdReport.ts';
import type { Row } from './receiptText.ts';

/** Bits of ATTRIBUTES.FLAGS by number. */
const FLAG_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(ENCLAVE_FLAGS).map(([name, bit]) => [Number(bit), name]),
);

const CERTIFICATION_NAMES: ReadonlyMap<number, string> = new Map([
  [CERTIFICATION_DATA.ppid, 'PPID in the clear'],
  [CERTIFICATION_DATA.ppidRsa2048, 'PPID encrypted to an RSA-2048 key'],
  [CERTIFICATION_DATA.ppidRsa3072, 'PPID encrypted to an RSA-3072 key'],
  [CERTIFICATION_DATA.pckLeaf, 'PCK certificate'],
  [CERTIFICATION_DATA.pckChain, 'PCK certificate chain'],
  [CERTIFICATION_DATA.qeReport, 'report of the quoting enclave'],
  [CERTIFICATION_DATA.platformManifest, 'platform manifest'],
]);
/** CPUSVN, PCESVN and PCE id, behind the PPID in types 1 to 3. */
const PLATFORM_TAIL_BYTES = 16 + 2 + 2;
/** PPID in the clear or as RSA ciphertext. */
const PPID_BYTES: ReadonlyMap<number, number> = new Map([
  [CERTIFICATION_DATA.ppid, 16],
  [CERTIFICATION_DATA.ppidRsa2048, 256],
  [CERTIFICATION_DATA.ppidRsa3072, 384],
]);

export function tdxQuoteSections(bytes: Uint8Array, prefix = ''): readonly Section[] {
  const { quote, report } = parseTdxQuote(bytes);
  return [
    { title: `${prefix}quote`, rows: quoteRows(quote, bytes) },
    { title: `${prefix}TD report`, rows: tdReportRows(report) },
    ...signerSections(quote, prefix),
  ];
}

export function sgxQuoteSections(bytes: Uint8Array, prefix = ''): readonly Section[] {
  const { quote, report } = parseSgxQuote(bytes);
  return [
    { title: `${prefix}quote`, rows: quoteRows(quote, bytes) },
    { title: `${prefix}enclave report`, rows: enclaveRows(report) },
    ...signerSections(quote, prefix),
  ];
}

const BODY_NAMES: Readonly<Record<Quote['bodyKind'], string>> = {
  sgx: 'SGX enclave report (384 bytes)',
  td10: 'TD report 1.0 (584 bytes)',
  td15: 'TD report 1.5 (648 bytes)',
};

function quoteRows(quote: Quote, bytes: Uint8Array): readonly Row[] {
  const reader = new ByteReader(bytes, 'quote');
  const header = reader.take(48);
  reader.take(quote.signedBytes.length - header.length);
  const signatureBytes = reader.u32le();
  reader.take(signatureBytes);
  return [
    ['version', String(quote.version)],
    ['TEE', quote.tee === 'sgx' ? '0x0 (SGX)' : '0x81 (TDX)'],
    ['body', BODY_NAMES[quote.bodyKind]],
    ['key type', '2 (ECDSA P-256)'],
    ...svnRows(header, quote.version),
    ['QE vendor', `${toHex(header.subarray(12, 28))} (Intel)`],
    ['user data', toHex(quote.userData)],
    ['attestation key', toHex(quote.signature.attestationKey)],
    ['quote bytes', `${reader.offset} (signed ${quote.signedBytes.length}, signature ${signatureBytes})`],
    ['bytes after it', `${reader.remaining}${reader.remaining > 0 ? ' (nothing signs them)' : ''}`],
  ];
}

/** Later versions reserve the two fields. */
function svnRows(header: Uint8Array, version: number): readonly Row[] {
  if (version !== 3) return [];
  const reader = new ByteReader(header.subarray(8), 'quote header');
  return [
    ['QE SVN', String(reader.u16le())],
    ['PCE SVN', String(reader.u16le())],
  ];
}

/** Who vouches for the attestation key. */
function signerSections({ signature }: Quote, prefix: string): readonly Section[] {
  const { qeReport, qeAuthData, certification } = signature;
  const enclave: Section = {
    title: `${prefix}quoting enclave`,
    rows: [...enclaveRows(qeReport), ['authentication data', toHex(qeAuthData) || 'none']],
  };
  return [enclave, ...certificationSections(certification, prefix)];
}

function certificationSections(certification: CertificationData, prefix: string): readonly Section[] {
  const { type, data } = certification;
  const name = CERTIFICATION_NAMES.get(type) ?? 'unknown';
  const head: Section = {
    title: `${prefix}certification data`,
    rows: [['type', `${type} (${name})`], ['bytes', String(data.length)], ...platformRows(certification)],
  };
  const chain = readable(`${prefix}PCK certificates`, () =>
    (readChain(certification) ?? []).map((certificate, i) =>
      certificateSection(certificate, `${prefix}PCK certificate ${i + 1}`),
    ),
  );
  return [head, ...chain];
}

/** Types 1 to 3 name the platform by numbers, with nobody's signature. Other types have none of these rows. */
function platformRows({ type, data }: CertificationData): readonly Row[] {
  const size = PPID_BYTES.get(type);
  if (size === undefined) return [];
  if (data.length !== size + PLATFORM_TAIL_BYTES) return [['content', toHex(data)]];
  const reader = new ByteReader(data, 'certification data');
  return [
    ['PPID', toHex(reader.take(size))],
    ['CPUSVN', toHex(reader.take(16))],
    ['PCE SVN', String(reader.u16le())],
    ['PCE id', toHex(reader.take(2))],
  ];
}

function enclaveRows(report: EnclaveReport): readonly Row[] {
  return [
    ['CPUSVN', toHex(report.cpuSvn)],
    ['MISCSELECT', hexNumber(report.miscSelect)],
    ['CET attributes', hexNumber(report.cetAttributes)],
    ['ATTRIBUTES', bitsText(report.flags, FLAG_NAMES)],
    ['DEBUG (bit 1)', hasFlag(report, 'DEBUG') ? 'ON: the host may read and write its memory' : 'off'],
    ['XFRM', bitsText(report.xfrm, XFEATURES)],
    ['MRENCLAVE', toHex(report.mrEnclave)],
    ['MRSIGNER', toHex(report.mrSigner)],
    ['ISV product id', String(report.isvProdId)],
    ['ISV SVN', String(report.isvSvn)],
    ['CONFIGSVN', String(report.configSvn)],
    ['CONFIGID', toHex(report.configId)],
    ['ISVEXTPRODID', toHex(report.isvExtProdId)],
    ['ISVFAMILYID', toHex(report.isvFamilyId)],
    ['REPORTDATA', toHex(report.reportData)],
  ];
}
