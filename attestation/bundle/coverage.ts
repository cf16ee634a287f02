import { equalBytes } from '../bytes/bytes.ts';
import { fail, skip, type Check, type CheckId } from '../checks.ts';
import { sha256With, type CryptoProvider } from '../crypto/provider.ts';
import { Refusal } from '../errors.ts';
import type { AppraisalContext } from '../evidence/context.ts';
import type { DocumentAppraisal } from '../evidence/appraise.ts';
import { documentDigest, type EvidenceDocument } from '../evidence/document.ts';
import { verifyCheckpoint } from '../log/checkpoint.ts';
import { leafHash, verifyConsistency, verifyInclusion } from '../log/merkle.ts';
import { entryBytes, type ParsedReceipt } from '../receipt/receipt.ts';
import { atCheck, notReached, runSteps } from '../verdict/steps.ts';
import type { Covering } from './bundle.ts';

const STEPS: readonly CheckId[] = [
  'log.covering',
  'log.cited',
  'log.checkpoint',
  'log.inclusion',
  'log.consistency',
  'log.covered',
];

/** Whether a later hardware report covers the receipt (DESIGN section 6). */
export async function appraiseCoverage(
  receipt: ParsedReceipt | undefined,
  cited: DocumentAppraisal,
  covering: { readonly parts: Covering; readonly appraisal: DocumentAppraisal } | undefined,
  context: AppraisalContext,
): Promise<readonly Check[]> {
  if (!receipt || !cited.document) return STEPS.map((id) => notReached(id, 'log', 'no verified receipt'));
  if (!covering) return uncovered(receipt, cited.document, context);
  const { appraisal, parts } = covering;
  const { checks } = await runSteps(STEPS, 'log', async () => {
    const later = checkSameInstance(cited, appraisal);
    checkKeys(cited.document, later);
    checkPrevious(cited.document, later, context.crypto);
    await checkTree(receipt, cited.document, later, parts, context.crypto);
  });
  return checks;
}

/** An uncovered receipt is signed, no more. That it was issued after its evidence is still checked. */
function uncovered(
  { claims }: ParsedReceipt,
  cited: EvidenceDocument,
  { policy }: AppraisalContext,
): readonly Check[] {
  const { logSize } = cited.statement;
  if (claims.index < logSize) {
    const reason = `index ${claims.index} is below the ${logSize} entries of the cited evidence`;
    return [fail('log.cited', 'log', 'INDEX_OUT_OF_RANGE', reason)];
  }
  if (cited.statement.final) {
    return [
      fail('log.cited', 'log', 'INDEX_OUT_OF_RANGE', 'the cited evidence is final: nothing may follow'),
    ];
  }
  const reason = 'no later hardware report covers this receipt: it is signed, no more';
  return policy.coverage === 'required'
    ? [fail('log.covered', 'log', 'RECEIPT_UNCOVERED', reason)]
    : [skip('log.covered', 'log', 'RECEIPT_UNCOVERED', reason)];
}

/** The later document must be of the same instance, log, chip and devices, and later in its line. */
function checkSameInstance(cited: DocumentAppraisal, covering: DocumentAppraisal): EvidenceDocument {
  const [earlier, later] = [cited.document, covering.document];
  const refuse = (detail: string) => new Refusal('CHECKPOINT_MISMATCH', detail, 'log.covering');
  if (!earlier || !later) throw refuse('a document was refused');
  const sameLog =
    equalBytes(earlier.keyset.instance, later.keyset.instance) &&
    earlier.keyset.origin === later.keyset.origin &&
    equalBytes(earlier.keyset.log.x, later.keyset.log.x);
  if (!sameLog) throw refuse('the later evidence is of another instance or log');
  if (later.statement.seq <= earlier.statement.seq) throw refuse('the later evidence is not later');
  const [before, after] = [cited.machine, covering.machine];
  if (!before || !after || !equalBytes(before, after)) throw refuse('the CPU is another chip');
  const sameDevices =
    cited.devices.length === covering.devices.length &&
    cited.devices.every(({ serial }, i) =>
      equalBytes(serial, covering.devices[i]?.serial ?? new Uint8Array(0)),
    );
  if (!sameDevices) throw refuse('the set of devices changed');
  return later;
}

/**
 * Both documents have one keyset, or the later one is of a later generation: the one right after names the keyset of the
 * cited document as its former, and no document begins more than one (DESIGN section 3).
 */
function checkKeys(earlier: EvidenceDocument | undefined, later: EvidenceDocument): void {
  if (!earlier || equalBytes(earlier.statement.keysetDigest, later.statement.keysetDigest)) return;
  const { generation, previous } = later.keyset;
  const rise = generation - earlier.keyset.generation;
  const documents = later.statement.seq - earlier.statement.seq;
  const isNext = rise === 1;
  const names = previous !== undefined && equalBytes(previous, earlier.statement.keysetDigest);
  if (rise >= 1 && rise <= documents && (!isNext || names)) return;
  const reason = 'the keys of the later evidence do not follow those of the cited one';
  throw new Refusal('KEYSET_MISMATCH', reason, 'log.covering');
}

/** The next document names the one before it: another one would be a second line of the same instance. */
function checkPrevious(
  earlier: EvidenceDocument | undefined,
  { statement }: EvidenceDocument,
  crypto: CryptoProvider,
): void {
  if (!earlier || !statement.previous || statement.seq !== earlier.statement.seq + 1) return;
  if (equalBytes(statement.previous, documentDigest(earlier.encoded, crypto))) return;
  const reason = 'the later evidence follows another document than the cited one';
  throw new Refusal('CHECKPOINT_MISMATCH', reason, 'log.covering');
}

async function checkTree(
  { sign1, claims }: ParsedReceipt,
  cited: EvidenceDocument | undefined,
  later: EvidenceDocument,
  { checkpoint, inclusion, consistency }: Covering,
  crypto: CryptoProvider,
): Promise<void> {
  if (!cited) throw new Refusal('EVIDENCE_INCOMPLETE', 'the cited document was refused', 'log.covering');
  const sha256 = sha256With(crypto);
  const [from, to] = [cited.statement, later.statement];
  if (claims.index < from.logSize) {
    const reason = `index ${claims.index} is below the ${from.logSize} entries of the cited evidence`;
    throw new Refusal('INDEX_OUT_OF_RANGE', reason, 'log.cited');
  }
  if (from.final || claims.index >= to.logSize) {
    const reason = `index ${claims.index} is not below the ${to.logSize} entries of the later evidence`;
    throw new Refusal('INDEX_OUT_OF_RANGE', reason, 'log.cited');
  }
  await atCheck('log.checkpoint', () => checkCheckpoint(checkpoint, later, crypto));
  const leaf = leafHash(sha256, entryBytes(sign1));
  const inclusionProof = { index: claims.index, size: to.logSize, path: inclusion };
  await atCheck('log.inclusion', () => {
    verifyInclusion(sha256, inclusionProof, leaf, to.logRoot);
  });
  const consistencyProof = { size1: from.logSize, size2: to.logSize, path: consistency };
  await atCheck('log.consistency', () => {
    verifyConsistency(sha256, consistencyProof, from.logRoot, to.logRoot);
  });
}

async function checkCheckpoint(
  note: Uint8Array,
  later: EvidenceDocument,
  crypto: CryptoProvider,
): Promise<void> {
  const { keyset, statement } = later;
  const checkpoint = await verifyCheckpoint(note, keyset.origin, keyset.log.x, crypto);
  if (checkpoint.size !== statement.logSize || !equalBytes(checkpoint.root, statement.logRoot)) {
    const reason = `the checkpoint of size ${checkpoint.size} is not the head of ${statement.logSize} that the evidence states`;
    throw new Refusal('CHECKPOINT_MISMATCH', reason);
  }
}
