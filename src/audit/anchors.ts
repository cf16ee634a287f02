import { equalBytes, toHex } from '../../attestation/bytes/bytes.ts';
import { Refusal } from '../../attestation/errors.ts';
import type { AppraisalContext } from '../../attestation/evidence/context.ts';
import type { Keyset } from '../../attestation/keyset.ts';
import { parseAnchor, type LogAnchor } from '../../attestation/log/anchor.ts';
import { verifyCheckpoint } from '../../attestation/log/checkpoint.ts';
import { parseNote } from '../../attestation/log/note.ts';
import { verifyWitnesses } from '../../attestation/log/witnesses.ts';
import { judgeToken, trustedAuthorities, trustedWitnesses } from '../../attestation/time/trust.ts';
import type { FindingList } from './findings.ts';
import type { ListedInstance } from './instanceFiles.ts';

/** A checkpoint that outsiders whom the policy trusts saw at a time. */
export interface AnchorTime {
  readonly size: number;
  /** Milliseconds since 1970: the log had this state then at the latest. */
  readonly time: number;
  readonly by: string;
  /** Whether the policy's quorum of witnesses signed it. */
  readonly witnessed: boolean;
}

/** Verifies the kept anchors against the tree that the entries gave; `rootAt` gives its root at a size. */
export async function judgeAnchors(
  listed: ListedInstance,
  keyset: Keyset,
  rootAt: (size: number) => string | undefined,
  context: AppraisalContext,
  findings: FindingList,
): Promise<readonly AnchorTime[]> {
  const times: AnchorTime[] = [];
  for (const size of listed.anchors) {
    try {
      const bytes = await listed.files.read(`anchors/${size}.cbor`);
      if (!bytes) throw new Refusal('MALFORMED', `anchors/${size}.cbor is missing`);
      const anchor = parseAnchor(bytes);
      await requireOwn(anchor, size, keyset, rootAt(size), context);
      const time = await timeOf(anchor, size, context);
      if (time) times.push(time);
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      const detail = `anchor of size ${size}: ${error.code}: ${error.message}`;
      // What stands beside a log can be damaged by whoever stores it: it proves nothing then, and convicts nobody.
      findings.add({
        check: 'time.anchors',
        code: 'ANCHOR_INVALID',
        severity: 'warning',
        index: size,
        detail,
      });
    }
  }
  return times;
}

async function requireOwn(
  { note }: LogAnchor,
  size: number,
  keyset: Keyset,
  root: string | undefined,
  { crypto }: AppraisalContext,
): Promise<void> {
  const checkpoint = await verifyCheckpoint(note, keyset.origin, keyset.log.x, crypto);
  if (checkpoint.size !== size) throw new Refusal('CHECKPOINT_MISMATCH', `it is of size ${checkpoint.size}`);
  if (root === undefined)
    throw new Refusal('CHECKPOINT_MISMATCH', 'the export does not give the tree of this size');
  if (!equalBytes(checkpoint.root, Buffer.from(root, 'hex'))) {
    throw new Refusal(
      'CHECKPOINT_MISMATCH',
      `its root is ${toHex(checkpoint.root)}, the entries give ${root}`,
    );
  }
}

/** The earliest of the trusted times; undefined where nobody whom the policy trusts signed. */
async function timeOf(
  { note, tokens }: LogAnchor,
  size: number,
  context: AppraisalContext,
): Promise<AnchorTime | undefined> {
  const parsed = parseNote(note);
  const found: { readonly time: number; readonly by: string }[] = [];
  if (trustedAuthorities(context).length > 0) {
    for (const token of tokens) {
      const judged = await judgeToken(token, parsed.signedBytes, context);
      if (judged.kind === 'ignored') continue;
      found.push({
        time: judged.timestamp.latest,
        by: `timestamp authority ${judged.timestamp.anchor.name}`,
      });
    }
  }
  const rule = trustedWitnesses(context);
  const seen = rule && (await verifyWitnesses(parsed, rule, context.crypto));
  if (seen?.met) found.push({ time: seen.met.earliest * 1000, by: `witnesses ${seen.names.join(', ')}` });
  const [first] = found.sort((a, b) => a.time - b.time);
  return first && { size, ...first, witnessed: seen?.met !== undefined };
}

/** The earliest time at which the log held the entry; undefined where no trusted outsider saw it after that. */
export function upperOf(times: readonly AnchorTime[], index: number): AnchorTime | undefined {
  let earliest: AnchorTime | undefined;
  for (const time of times) {
    if (time.size > index && (!earliest || time.time < earliest.time)) earliest = time;
  }
  return earliest;
}
