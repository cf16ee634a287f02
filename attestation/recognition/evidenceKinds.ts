import { eventTypeName } from '../evidence/bootlog/eventTypes.ts';
import { REPORT_BYTES } from '../evidence/snp/parse.ts';
import { equalBytes, fromHex } from '../bytes/bytes.ts';
import { includesBytes, latin1, u16beAt, u32beAt, u32leAt } from '../bytes/search.ts';
import { derShape, isOcspShape } from './derShape.ts';
import { isDeviceReportWithChain } from './reportWithChain.ts';

/** Kinds of files of vendors and of firmware, by their first look. They are shown; none is trusted or parsed yet. */
export type EvidenceKind =
  | 'snp-report'
  | 'snp-extended-report'
  | 'snp-report-response'
  | 'thim-certificates'
  | 'tdx-quote'
  | 'sgx-quote'
  | 'nitro-document'
  | 'tpm-quote'
  | 'tpm-public'
  | 'tpm-signature'
  | 'hcl-report'
  | 'boot-log'
  | 'ccel-table'
  | 'certificates'
  | 'crl'
  | 'public-key'
  | 'tcb-info'
  | 'qe-identity'
  | 'device-report-chain'
  | 'device-evidence'
  | 'nras-request'
  | 'nras-answer'
  | 'jwt'
  | 'jwks'
  | 'rim'
  | 'ocsp-response';

export const EVIDENCE_NAMES: Readonly<Record<EvidenceKind, string>> = {
  'snp-report': 'AMD SEV-SNP report',
  'snp-extended-report': 'AMD SEV-SNP extended report',
  'snp-report-response': 'AMD SEV-SNP MSG_REPORT_RSP',
  'thim-certificates': 'certificates of an Azure host (THIM)',
  'tdx-quote': 'Intel TDX quote',
  'sgx-quote': 'Intel SGX quote',
  'nitro-document': 'AWS Nitro attestation document',
  'tpm-quote': 'TPM 2.0 quote (TPMS_ATTEST)',
  'tpm-public': 'TPM 2.0 public area (TPMT_PUBLIC)',
  'tpm-signature': 'TPM 2.0 signature (TPMT_SIGNATURE)',
  'hcl-report': 'Azure HCL report',
  'boot-log': 'log of measured boot',
  'ccel-table': 'ACPI table of a CCEL',
  certificates: 'X.509 certificates',
  crl: 'X.509 certificate revocation list',
  'public-key': 'public key (SubjectPublicKeyInfo)',
  'tcb-info': 'Intel TCB info',
  'qe-identity': 'Intel enclave identity',
  'device-report-chain': 'NVIDIA device report with its certificates',
  'device-evidence': 'NVIDIA device evidence',
  'nras-request': 'request to NVIDIA’s attestation service',
  'nras-answer': 'answer of NVIDIA’s attestation service',
  jwt: 'JSON web token',
  jwks: 'JSON web key set',
  rim: 'NVIDIA reference integrity manifest (RIM)',
  'ocsp-response': 'OCSP response',
};

/** Offset of the signature algorithm in an SNP report, which is 1, and of the guest policy, whose bit 17 is one. */
const SNP = { policy: 0x08, vmpl: 0x30, algorithm: 0x34, keyInfo: 0x48 } as const;
const NEWEST_LIKELY_SNP_VERSION = 16;
const RESPONSE_HEADER_BYTES = 32;
const INTEL_QE_VENDOR = fromHex('939a7233f79c4ca9940a0db3957f0607');
/** `module_id` as a CBOR text string. */
const MODULE_ID = '\u0069module_id';
const SPEC_ID = 'Spec ID Event';
const LAST_PCR = 23;
const TPM_SIGNATURES = [0x0014, 0x0016, 0x0018];
const TPM_HASHES = [0x0004, 0x000b, 0x000c, 0x000d];
const TPM_KEYS = [0x0001, 0x0023];
/** TPMA_OBJECT bits that are reserved. */
const TPM_RESERVED_ATTRIBUTES = 0xfff0f009;
const LARGEST_TPM_PUBLIC = 2048;
const LARGEST_JWT = 1024 * 1024;

type Look = (bytes: Uint8Array) => boolean;

/**
 * In the order in which they are tried: signs that no other format can have by chance come first. A cut or damaged
 * file looks like what it was.
 */
const LOOKS: readonly (readonly [EvidenceKind, Look])[] = [
  ['hcl-report', (bytes) => startsWith(bytes, 'HCLA')],
  ['ccel-table', (bytes) => startsWith(bytes, 'CCEL')],
  ['tdx-quote', (bytes) => isQuote(bytes) && u32leAt(bytes, 4) !== 0],
  ['sgx-quote', isQuote],
  ['nitro-document', isNitro],
  ['tpm-quote', isTpmQuote],
  ['snp-report-response', isReportResponse],
  ['snp-extended-report', (bytes) => isSnpReport(bytes) && bytes.length > REPORT_BYTES],
  ['snp-report', isSnpReport],
  ['boot-log', isTcgLog],
  ['device-report-chain', isDeviceReportWithChain],
  ['certificates', (bytes) => isPem(bytes, 'CERTIFICATE')],
  ['crl', (bytes) => isPem(bytes, 'X509 CRL')],
  ['public-key', (bytes) => isPem(bytes, 'PUBLIC KEY')],
  ['certificates', (bytes) => derShape(bytes) === 'certificate'],
  ['crl', (bytes) => derShape(bytes) === 'crl'],
  ['public-key', (bytes) => derShape(bytes) === 'public-key'],
  ['thim-certificates', (bytes) => isJson(bytes, '{') && includesBytes(bytes, '"vcekCert"')],
  ['tcb-info', (bytes) => isJson(bytes, '{') && includesBytes(bytes, '"tcbInfo"')],
  ['qe-identity', (bytes) => isJson(bytes, '{') && includesBytes(bytes, '"enclaveIdentity"')],
  ['boot-log', (bytes) => isJson(bytes, '[') && includesBytes(bytes, '"imr"')],
  ['nras-answer', (bytes) => isJson(bytes, '[') && includesBytes(bytes, '"JWT"')],
  ['jwks', (bytes) => isJson(bytes, '{') && includesBytes(bytes, '"keys"') && includesBytes(bytes, '"kty"')],
  ['device-evidence', (bytes) => isJson(bytes, '[') && includesBytes(bytes, '"evidence"')],
  ['device-evidence', (bytes) => isJson(bytes, '{') && includesBytes(bytes, '"evidences"')],
  ['nras-request', isNrasRequest],
  ['jwt', isJwt],
  ['rim', isManifest],
  ['ocsp-response', isOcspShape],
  ['tpm-public', isTpmPublic],
  ['tpm-signature', isTpmSignature],
  ['boot-log', isSha1Log],
];

/** What a file of a vendor looks like; undefined for any other file. */
export function evidenceKindOf(bytes: Uint8Array): EvidenceKind | undefined {
  return LOOKS.find(([, looksSo]) => looksSo(bytes))?.[0];
}

function startsWith(bytes: Uint8Array, text: string): boolean {
  return latin1(bytes, 0, text.length) === text;
}

/** The vendor of the quoting enclave is at 12 in every version. */
function isQuote(bytes: Uint8Array): boolean {
  return bytes.length >= 28 && equalBytes(bytes.subarray(12, 28), INTEL_QE_VENDOR);
}

/** A COSE_Sign1 whose only protected header is the algorithm, around a map with `module_id`. */
function isNitro(bytes: Uint8Array): boolean {
  const start = bytes[0] === 0xd2 ? 1 : 0;
  const isEnvelope = bytes[start] === 0x84 && (bytes[start + 1] ?? 0) >> 5 === 2 && bytes[start + 2] === 0xa1;
  return isEnvelope && includesBytes(bytes, MODULE_ID);
}

/** TPM_GENERATED_VALUE, or the size of a TPM2B before it. */
function isTpmQuote(bytes: Uint8Array): boolean {
  return [0, 2].some((offset) => startsWith(bytes.subarray(offset), '\u00ffTCG'));
}

function isSnpReport(bytes: Uint8Array): boolean {
  if (bytes.length <= SNP.keyInfo + 4) return false;
  const version = u32leAt(bytes, 0);
  const policy = u32leAt(bytes, SNP.policy);
  const vmpl = u32leAt(bytes, SNP.vmpl);
  return (
    version >= 2 &&
    version <= NEWEST_LIKELY_SNP_VERSION &&
    ((policy >>> 17) & 1) === 1 &&
    u32leAt(bytes, SNP.policy + 4) === 0 &&
    (vmpl <= 3 || vmpl === 0xffffffff) &&
    u32leAt(bytes, SNP.algorithm) === 1
  );
}

/** Status and size before the report. */
function isReportResponse(bytes: Uint8Array): boolean {
  if (bytes.length < RESPONSE_HEADER_BYTES || u32leAt(bytes, 4) !== REPORT_BYTES) return false;
  return isSnpReport(bytes.subarray(RESPONSE_HEADER_BYTES));
}

/** The first event of a crypto-agile log; the data of a TCG_PCR_EVENT begins at 32. */
function isTcgLog(bytes: Uint8Array): boolean {
  return startsWith(bytes.subarray(32), SPEC_ID);
}

/** Text may stand before the first block; JSON that carries PEM is something else. */
function isPem(bytes: Uint8Array, label: string): boolean {
  const isOther = isJson(bytes, '{') || isJson(bytes, '[') || !isText(bytes);
  return !isOther && includesBytes(bytes, `-----BEGIN ${label}-----`);
}

function isJson(bytes: Uint8Array, bracket: '{' | '['): boolean {
  return latin1(bytes, 0, 64).trimStart().startsWith(bracket);
}

/** Version 1 asks about one device, the later ones about a list. */
function isNrasRequest(bytes: Uint8Array): boolean {
  const isOne = includesBytes(bytes, '"evidence"') && includesBytes(bytes, '"certificate"');
  return isJson(bytes, '{') && (isOne || includesBytes(bytes, '"evidence_list"'));
}

/** Compact form of a JWS whose header is a JSON object; cut off anywhere behind the header. */
function isJwt(bytes: Uint8Array): boolean {
  return bytes.length <= LARGEST_JWT && /^\s*eyJ[\w-]{10,}\.[\w.-]*\s*$/.test(latin1(bytes, 0, LARGEST_JWT));
}

/** XML whose root or document type is that of a SWID tag (ISO/IEC 19770-2). */
function isManifest(bytes: Uint8Array): boolean {
  return /^\s*<[^]*SoftwareIdentity/.test(latin1(bytes, 0, 4096));
}

/** No file of text begins with a byte that no text has. */
function isText(bytes: Uint8Array): boolean {
  return bytes
    .subarray(0, 64)
    .every((byte) => byte >= 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09);
}

/** Key type, name hash and attributes without reserved bits, bare or in a TPM2B that nothing follows. */
function isTpmPublic(bytes: Uint8Array): boolean {
  if (bytes.length < 10 || bytes.length > LARGEST_TPM_PUBLIC) return false;
  const start = TPM_KEYS.includes(u16beAt(bytes, 0)) || u16beAt(bytes, 0) < bytes.length - 2 ? 0 : 2;
  return (
    TPM_KEYS.includes(u16beAt(bytes, start)) &&
    TPM_HASHES.includes(u16beAt(bytes, start + 2)) &&
    (u32beAt(bytes, start + 4) & TPM_RESERVED_ATTRIBUTES) === 0
  );
}

function isTpmSignature(bytes: Uint8Array): boolean {
  return (
    bytes.length >= 6 &&
    bytes.length <= LARGEST_TPM_PUBLIC &&
    TPM_SIGNATURES.includes(u16beAt(bytes, 0)) &&
    TPM_HASHES.includes(u16beAt(bytes, 2))
  );
}

/** A first event of a known type, of a register that exists and with data that ends within the file. */
function isSha1Log(bytes: Uint8Array): boolean {
  if (bytes.length < 32) return false;
  const type = u32leAt(bytes, 4);
  return (
    u32leAt(bytes, 0) <= LAST_PCR &&
    type !== 0 &&
    eventTypeName(type).startsWith('EV_') &&
    u32leAt(bytes, 28) <= bytes.length - 32
  );
}
