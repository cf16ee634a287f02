import { formatFileLine, readFileList } from '../../attestation/archive/fileList.ts';
import { encodeRenewal, parseRenewal } from '../../attestation/archive/renewal.ts';
import { encodeStatement, parseStatement } from '../../attestation/binding.ts';
import { encodeBundle, parseBundle } from '../../attestation/bundle/bundle.ts';
import { encodeCollateral, parseCollateral } from '../../attestation/bundle/collateral.ts';
import { concat, fromHex, fromUtf8, toHex, utf8 } from '../../attestation/bytes/bytes.ts';
import { decodeDc, encodeDc } from '../../attestation/cbor/deterministic.ts';
import { encodeSign1 } from '../../attestation/cose/sign1.ts';
import { encodeDocument, parseDocument } from '../../attestation/evidence/document.ts';
import { encodeKeyset, parseKeyset } from '../../attestation/keyset.ts';
import { encodeAnchor, parseAnchor } from '../../attestation/log/anchor.ts';
import { encodeCheckpoint, parseCheckpoint } from '../../attestation/log/checkpoint.ts';
import { parseInclusionReceipt } from '../../attestation/log/coseReceipt.ts';
import { encodeInclusionReceipt } from '../../attestation/log/logReceipt.ts';
import { formatNote, parseNote } from '../../attestation/log/note.ts';
import {
  bundleEnds,
  encodeBundle as encodeEntries,
  parseBundle as parseEntries,
} from '../../attestation/log/tiles.ts';
import {
  encodeOperatorClaims,
  encodeOperatorHeader,
  parseOperatorStatement,
} from '../../attestation/operator/statement.ts';
import { parsePolicy } from '../../attestation/policy/policy.ts';
import { encodeClaims } from '../../attestation/receipt/claims.ts';
import { encodeDisclosure, parseDisclosure } from '../../attestation/receipt/disclosure.ts';
import { encodeEntryHeader, parseReceipt } from '../../attestation/receipt/receipt.ts';
import { encodeRecord, parseRecord } from '../../attestation/receipt/record.ts';
import { parseTimestamp } from '../../attestation/time/timestamp.ts';
import { parseTimestampResponse } from '../../attestation/time/timestampExchange.ts';
import { encodeContent, parseContent } from '../../src/archive/contentRecord.ts';
import { ArchiveKey } from '../../src/archive/envelope.ts';
import { parseRevocations } from '../../src/audit/revocations.ts';
import { encodeManifest, parseManifest } from '../../src/export/manifest.ts';

/** Content that the archive encrypted, with the archive's key and what it must open to; all hex. */
export type GoldenEnvelope = Readonly<Record<'key' | 'receipt' | 'sealed' | 'wrapped' | 'content', string>>;

type Reencode = (bytes: Uint8Array) => Uint8Array;

/** Reads a file of each durable format with the code of today and writes it again. */
const FORMATS = {
  bundle: (bytes) => encodeBundle(parseBundle(bytes)),
  disclosure: (bytes) => encodeDisclosure(parseDisclosure(bytes)),
  receipt: (bytes) => {
    const { header, claims, sign1 } = parseReceipt(bytes);
    return encodeSign1(encodeEntryHeader(header), encodeClaims(claims), sign1.signature);
  },
  record: (bytes) => {
    const { header, record, sign1 } = parseRecord(bytes);
    return encodeSign1(encodeEntryHeader(header), encodeRecord(record), sign1.signature);
  },
  evidence: (bytes) => encodeDocument(parseDocument(bytes)),
  keyset: (bytes) => encodeKeyset(parseKeyset(bytes)),
  statement: (bytes) => encodeStatement(parseStatement(bytes)),
  collateral: (bytes) => encodeDc(encodeCollateral(parseCollateral(decodeDc(bytes)))),
  operator: (bytes) => {
    const statement = parseOperatorStatement(bytes);
    const { alg, certificates, sign1 } = statement;
    const header = encodeOperatorHeader(statement, alg, certificates);
    return encodeSign1(header, encodeOperatorClaims(statement), sign1.signature);
  },
  checkpoint: (bytes) => {
    const { text, signatures } = parseNote(bytes);
    return formatNote(encodeCheckpoint(parseCheckpoint(text)), signatures);
  },
  anchor: (bytes) => encodeAnchor(parseAnchor(bytes)),
  'log-receipt': (bytes) => {
    const { protectedBytes, proof, signature } = parseInclusionReceipt(bytes);
    return encodeInclusionReceipt(protectedBytes, proof, signature);
  },
  entries: (bytes) => encodeEntries(parseEntries(bytes, bundleEnds(bytes).length)),
  policy: (bytes) => asJson(parsePolicy(JSON.parse(fromUtf8(bytes)))),
  renewal: (bytes) => encodeRenewal(parseRenewal(bytes)),
  list: (bytes) => concat(...[...readFileList(bytes, 'sha512')].map((entry) => utf8(formatFileLine(entry)))),
  timestamp: (bytes) => {
    parseTimestamp(parseTimestampResponse(bytes));
    return bytes;
  },
  manifest: (bytes) => encodeManifest(parseManifest(bytes)),
  revocations: (bytes) => asJson(parseRevocations(bytes)),
  content: (bytes) => encodeContent(parseContent(bytes)),
  envelope: (bytes) => {
    const sealed = JSON.parse(fromUtf8(bytes)) as GoldenEnvelope;
    const envelope = { sealed: fromHex(sealed.sealed), wrapped: fromHex(sealed.wrapped) };
    const content = ArchiveKey.parse(sealed.key).open(fromHex(sealed.receipt), envelope);
    return asJson({ ...sealed, content: toHex(content) });
  },
} as const satisfies Readonly<Record<string, Reencode>>;

export type GoldenFormat = keyof typeof FORMATS;
export const GOLDEN_FORMATS = Object.keys(FORMATS) as readonly GoldenFormat[];

/** Files that are no format of ours: what the cases need, and a tar of files that have formats. */
const OTHERS: readonly string[] = ['cases.json', 'anchors.json', 'export.tar'];

export function asJson(value: unknown): Uint8Array {
  return utf8(`${JSON.stringify(value, undefined, 2)}\n`);
}

/** Format of a file by its name, `<format>[.<variant>].<ending>`; undefined for what is no format of ours. */
export function formatOf(name: string): GoldenFormat | undefined {
  const [first = ''] = name.split('.');
  if (Object.hasOwn(FORMATS, first)) return first as GoldenFormat;
  if (OTHERS.includes(name)) return undefined;
  throw new Error(`${name} is of no known format`);
}

export function reencode(format: GoldenFormat, bytes: Uint8Array): Uint8Array {
  return FORMATS[format](bytes);
}
