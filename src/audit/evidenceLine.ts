import { equalBytes, toHex } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { Refusal } from '../../attestation/errors.ts';
import { documentDigest, parseDocument, type EvidenceDocument } from '../../attestation/evidence/document.ts';
import { keysetDigest, parseKeyset, type Keyset } from '../../attestation/keyset.ts';
import type { FindingList } from './findings.ts';
import type { ListedInstance } from './instanceFiles.ts';

/** One evidence document of the line, without its reports. Digests in hex. */
export interface DocumentMark {
  readonly seq: number;
  readonly digest: string;
  readonly keyset: string;
  readonly final: boolean;
  readonly logSize: number;
  readonly logRoot: string;
}

/** The line of evidence documents of one instance, as parsed: nothing of it is appraised yet. */
export interface EvidenceLine {
  /** By seq, ascending. */
  readonly marks: readonly DocumentMark[];
  /** Encoded keysets by digest. */
  readonly keysets: ReadonlyMap<string, Uint8Array>;
  /** Keyset of the first document: instance, log key and origin are the same in all that follow. */
  readonly first: Keyset | undefined;
}

/** Entries `from` to `to` - 1. */
export interface JudgedEntries {
  readonly from: number;
  readonly to: number;
}

/**
 * What an export of a time range is about: other entries lie in its bundles, too, whose documents are left out.
 * Undefined where everything is there.
 */
export function judgedEntries(
  span: readonly [first: number, last: number] | undefined,
): JudgedEntries | undefined {
  return span && { from: span[0], to: span[1] + 1 };
}

/** Reads the documents in order; one that cannot be parsed or is of another line is found and left out. */
export async function readLine(
  listed: ListedInstance,
  span: readonly [first: number, last: number] | undefined,
  findings: FindingList,
): Promise<EvidenceLine> {
  const marks: DocumentMark[] = [];
  const keysets = new Map<string, Uint8Array>();
  let first: Keyset | undefined;
  let expected = 0;
  for (const seq of listed.documents) {
    // Before the span only document 0 is needed, for the records of the log's beginning.
    const isJump = seq !== expected && !(span && expected === 1 && seq <= span[0]);
    if (isJump) {
      const detail = `documents ${expected} to ${seq - 1} are missing`;
      findings.add({ check: 'evidence.line', code: 'EVIDENCE_GAP', severity: 'fail', seq: expected, detail });
    }
    expected = seq + 1;
    try {
      const document = await readDocument(listed, seq);
      checkPlace(document, seq, listed, first);
      const mark = markOf(document, keysets);
      checkAfter(marks.at(-1), mark, document);
      checkGeneration(marks.at(-1), mark, document, keysets);
      marks.push(mark);
      first ??= document.keyset;
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      const code = error.code === 'CHECKPOINT_MISMATCH' ? 'EVIDENCE_FORKED' : error.code;
      findings.add({ check: 'evidence.line', code, severity: 'fail', seq, detail: error.message });
    }
  }
  if (listed.documents.length === 0) {
    const detail = 'there is no evidence document: nothing vouches for any key';
    findings.add({ check: 'evidence.line', code: 'EVIDENCE_GAP', severity: 'fail', detail });
  }
  if (span && expected <= span[1]) {
    const detail = `the span ends at document ${span[1]}, the last one here is ${expected - 1}`;
    findings.add({ check: 'evidence.line', code: 'EVIDENCE_GAP', severity: 'fail', seq: expected, detail });
  }
  return { marks, keysets, first };
}

/** The next document has the keys of the one before, or of the generation right after (DESIGN section 3). */
function checkGeneration(
  before: DocumentMark | undefined,
  { keyset: digest, seq }: DocumentMark,
  { keyset }: EvidenceDocument,
  keysets: ReadonlyMap<string, Uint8Array>,
): void {
  if (!before || digest === before.keyset) return;
  const encoded = keysets.get(before.keyset);
  const former = encoded && parseKeyset(encoded).generation;
  const rises = former !== undefined && keyset.generation > former;
  // Where documents are left out, generations may be, too.
  const isNext = seq === before.seq + 1;
  const follows = keyset.previous !== undefined && toHex(keyset.previous) === before.keyset;
  if (rises && (!isNext || (follows && keyset.generation === former + 1))) return;
  throw new Refusal('KEYSET_MISMATCH', 'its keys do not follow those of the document before');
}

async function readDocument({ files }: ListedInstance, seq: number): Promise<EvidenceDocument> {
  const encoded = await files.read(`evidence/${seq}.cbor`);
  if (!encoded) throw new Refusal('EVIDENCE_INCOMPLETE', `document ${seq} is missing`);
  return parseDocument(encoded);
}

function checkPlace(
  { keyset, statement }: EvidenceDocument,
  seq: number,
  { files }: ListedInstance,
  first: Keyset | undefined,
): void {
  if (statement.seq !== seq)
    throw new Refusal('EVIDENCE_MISMATCH', `it is document ${statement.seq} of its line`);
  if (toHex(keyset.instance) !== files.instance || keyset.origin !== files.origin) {
    throw new Refusal('KEYSET_MISMATCH', `it is of the log ${keyset.origin}`);
  }
  if (first && !equalBytes(first.log.x, keyset.log.x)) {
    throw new Refusal('KEYSET_MISMATCH', 'it vouches for another log key than the first document');
  }
}

function markOf(document: EvidenceDocument, keysets: Map<string, Uint8Array>): DocumentMark {
  const { encoded, encodedKeyset, statement } = document;
  const keyset = toHex(keysetDigest(encodedKeyset, nodeCrypto));
  if (keyset !== toHex(statement.keysetDigest)) {
    throw new Refusal('KEYSET_MISMATCH', 'the statement vouches for another keyset than the document holds');
  }
  keysets.set(keyset, encodedKeyset);
  return {
    seq: statement.seq,
    digest: toHex(documentDigest(encoded, nodeCrypto)),
    keyset,
    final: statement.final,
    logSize: statement.logSize,
    logRoot: toHex(statement.logRoot),
  };
}

/** The line never goes back: each document names the one before, covers at least as much, and none follows a final one. */
function checkAfter(
  before: DocumentMark | undefined,
  mark: DocumentMark,
  { statement }: EvidenceDocument,
): void {
  if (!before) return;
  if (before.final)
    throw new Refusal('CHECKPOINT_MISMATCH', 'it follows a document that says that the instance ended');
  if (mark.logSize < before.logSize) {
    throw new Refusal(
      'CHECKPOINT_MISMATCH',
      `it covers ${mark.logSize} entries, the one before ${before.logSize}`,
    );
  }
  const isNext = mark.seq === before.seq + 1;
  if (isNext && (!statement.previous || toHex(statement.previous) !== before.digest)) {
    throw new Refusal('CHECKPOINT_MISMATCH', 'it names another document as the one before it');
  }
}
