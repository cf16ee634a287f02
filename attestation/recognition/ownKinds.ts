import { OPERATOR_STATEMENT_TYPE } from '../operator/statement.ts';
import { RECORD_TYPE } from '../receipt/receipt.ts';
import { REPORT_BYTES } from '../evidence/snp/parse.ts';
import { looksLikeCollateralFile } from '../bundle/collateralFile.ts';
import { includesBytes, indexOfBytes, latin1, u32leAt } from '../bytes/search.ts';
import { isTimestampShape } from './derShape.ts';

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
const isJsonObject = (bytes: Uint8Array): boolean => /^\s*\{/.test(latin1(bytes, 0, 64));

/** In the order in which they are tried. A damaged bundle still looks like one: it is refused, not just unreadable. */
const LOOKS: readonly (readonly [MaterialKind, (bytes: Uint8Array) => boolean])[] = [
  ['timestamp', isTimestampShape],
  // An array of three that begins with a text: the label.
  ['anchor', (bytes) => bytes[0] === 0x83 && indexOfBytes(bytes.subarray(0, 64), ANCHOR_LABEL) === 2],
  ['snp-report', (bytes) => bytes.length === REPORT_BYTES && u32leAt(bytes, 0) < 0x100],
  ['device-report', (bytes) => SPDM_REQUEST.every((byte, i) => bytes[i] === byte)],
  [
    'operator-statement',
    (bytes) => bytes[0] === COSE_SIGN1_TAG && includesBytes(bytes, OPERATOR_STATEMENT_TYPE),
  ],
  ['record', (bytes) => bytes[0] === COSE_SIGN1_TAG && includesBytes(bytes, RECORD_TYPE)],
  ['receipt', (bytes) => bytes[0] === COSE_SIGN1_TAG],
  ['collateral', looksLikeCollateralFile],
  // It holds a bundle, so that it comes before one.
  ['disclosure', (bytes) => isCborMap(bytes) && includesBytes(bytes, DISCLOSURE_FORMAT)],
  [
    'document',
    (bytes) =>
      isCborMap(bytes) && includesBytes(bytes, DOCUMENT_LABEL) && !includesBytes(bytes, BUNDLE_LABEL),
  ],
  ['bundle', isCborMap],
  ['policy', (bytes) => isJsonObject(bytes) && includesBytes(bytes, '"vouchsafe/policy/')],
  ['attestation', isJsonObject],
  ['checkpoint', (bytes) => includesBytes(bytes, '\n\n\u2014 ')],
];

/** What a file looks like. */
export function kindOf(bytes: Uint8Array): MaterialKind {
  return LOOKS.find(([, looksSo]) => looksSo(bytes))?.[0] ?? 'unknown';
}
