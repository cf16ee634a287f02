import { OPERATOR_STATEMENT_TYPE } from '../../attestation/operator/statement.ts';
import { RECORD_TYPE } from '../../attestation/receipt/receipt.ts';
import { REPORT_BYTES } from '../../attestation/evidence/snp/parse.ts';
import { looksLikeCollateralFile } from '../collateral/file.ts';
import { isTimestampShape } from './materialDer.ts';

/** Kinds of files that the commands know, by their first look; none is trusted or even parsed yet. */
export type MaterialKind =
  | 'attestation'
  | 'policy'
  | 'bundle'
  | 'document'
  | 'receipt'
  | 'record'
  | 'checkpoint'
  | 'snp-report'
  | 'device-report'
  | 'collateral'
  | 'timestamp'
  | 'anchor'
  | 'disclosure'
  | 'operator-statement'
  | 'unknown';

export const KIND_NAMES: Readonly<Record<MaterialKind, string>> = {
  attestation: 'attestation answer',
  policy: 'policy',
  bundle: 'bundle',
  document: 'evidence document',
  receipt: 'receipt',
  record: 'log record',
  checkpoint: 'checkpoint',
  'snp-report': 'AMD SEV-SNP report',
  'device-report': 'NVIDIA device report',
  collateral: 'collateral file',
  timestamp: 'RFC 3161 timestamp',
  anchor: 'anchor of a log',
  disclosure: 'disclosure of a receipt',
  'operator-statement': 'statement of an operator',
  unknown: 'unknown file',
};

const DOCUMENT_LABEL = 'tag:vouchsafe,2026:evidence/1';
const BUNDLE_LABEL = 'vouchsafe/bundle/1';
/** The member `format` of a disclosure, encoded. */
const DISCLOSURE_FORMAT = '\u0066format\u0076vouchsafe/disclosure/1';
const ANCHOR_LABEL = 'vouchsafe/anchor/';

/** SPDM 1.1 GET_MEASUREMENTS with a signature wanted of all blocks: how every device report starts. */
const SPDM_REQUEST = [0x11, 0xe0, 0x01, 0xff];

const COSE_SIGN1_TAG = 0xd2;
const isCborMap = ([first = 0]: Uint8Array): boolean => first >= 0xa0 && first <= 0xbf;
const isJsonObject = (bytes: Buffer): boolean => /^\s*\{/.test(bytes.toString('latin1', 0, 64));

/** In the order in which they are tried. A damaged bundle still looks like one: it is refused, not just unreadable. */
const LOOKS: readonly (readonly [MaterialKind, (bytes: Buffer) => boolean])[] = [
  ['timestamp', isTimestampShape],
  // An array of three that begins with a text: the label.
  ['anchor', (bytes) => bytes[0] === 0x83 && bytes.subarray(2).indexOf(ANCHOR_LABEL) === 0],
  ['snp-report', (bytes) => bytes.length === REPORT_BYTES && bytes.readUInt32LE(0) < 0x100],
  ['device-report', (bytes) => SPDM_REQUEST.every((byte, i) => bytes[i] === byte)],
  ['operator-statement', (bytes) => bytes[0] === COSE_SIGN1_TAG && bytes.includes(OPERATOR_STATEMENT_TYPE)],
  ['record', (bytes) => bytes[0] === COSE_SIGN1_TAG && bytes.includes(RECORD_TYPE)],
  ['receipt', (bytes) => bytes[0] === COSE_SIGN1_TAG],
  ['collateral', looksLikeCollateralFile],
  // It holds a bundle, so that it comes before one.
  ['disclosure', (bytes) => isCborMap(bytes) && bytes.includes(DISCLOSURE_FORMAT)],
  [
    'document',
    (bytes) => isCborMap(bytes) && bytes.includes(DOCUMENT_LABEL) && !bytes.includes(BUNDLE_LABEL),
  ],
  ['bundle', isCborMap],
  ['policy', (bytes) => isJsonObject(bytes) && bytes.includes('"vouchsafe/policy/')],
  ['attestation', isJsonObject],
  ['checkpoint', (bytes) => bytes.includes('\n\n\u2014 ')],
];

/** What a file looks like. */
export function kindOf(bytes: Uint8Array): MaterialKind {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  return LOOKS.find(([, looksSo]) => looksSo(buffer))?.[0] ?? 'unknown';
}
