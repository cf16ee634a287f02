import { equalBytes } from '../bytes/bytes.ts';
import { fail, pass, skip, type Check } from '../checks.ts';
import { sha256With, type CryptoProvider } from '../crypto/provider.ts';
import { Refusal } from '../errors.ts';
import type { AppraisalContext } from '../evidence/context.ts';
import { documentDigest, parseDocument, type EvidenceDocument } from '../evidence/document.ts';
import { verifyCheckpoint, type VerifiedCheckpoint } from '../log/checkpoint.ts';
import { leafHash, verifyConsistency, verifyInclusion } from '../log/merkle.ts';
import { verifyWitnesses, witnessesOf } from '../log/witnesses.ts';
import { parseRecord } from '../receipt/record.ts';
import { entryBytes, parseReceipt, type ParsedReceipt } from '../receipt/receipt.ts';
import { CLOCK_SKEW_MS, type AttestedTime } from '../time/clock.ts';
import { judgeToken, trustedAuthorities, trustedWitnesses } from '../time/trust.ts';
import { notReached } from '../verdict/steps.ts';
import { isoTime } from '../x509/time.ts';
import type { Bundle, Covering, Witnessed } from './bundle.ts';

/** What outsiders say of the log, judged before anything else: it gives the time at which the rest is judged. */
export interface OutsideView {
  /** `log.witnesses`, `log.timestamp` and `log.upper`. */
  readonly checks: readonly Check[];
  /** The receipt and its evidence existed then at the latest; undefined where nothing trusted says so. */
  readonly upper: AttestedTime | undefined;
  /** Entries of the tree that a quorum of witnesses saw; undefined without one. */
  readonly witnessedSize: number | undefined;
}

/** One kind of outsiders: its check, and the earliest time that it vouches for. */
interface Judged {
  readonly check: Check;
  readonly time: AttestedTime | undefined;
}

/**
 * Judges the checkpoint that outsiders confirmed. Who is trusted follows from policy and anchors; that it holds the
 * receipt, from hashes alone: no time is needed to judge the time.
 */
export async function appraiseWitnessed(
  bundle: Pick<Bundle, 'receipt' | 'covering' | 'witnessed'>,
  context: AppraisalContext,
): Promise<OutsideView> {
  const { covering, witnessed } = bundle;
  if (!covering || !witnessed) return withoutCheckpoint(context);
  const parsed = parseParts(bundle.receipt, covering);
  if (!parsed) return unreached('the receipt or its later evidence was refused');
  try {
    const checkpoint = await verifyWitnessed(parsed, covering, witnessed, context.crypto);
    return await judgeCheckpoint(checkpoint, witnessed, context);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    const check = fail('log.upper', 'log', error.code, error.message);
    return { ...unreached(error.code), checks: [...unreached(error.code).checks.slice(0, 2), check] };
  }
}

interface ParsedParts {
  readonly receipt: ParsedReceipt;
  readonly document: EvidenceDocument;
}

/** Undefined where a part cannot be read, which its own checks say. */
function parseParts(receipt: Uint8Array, { document }: Covering): ParsedParts | undefined {
  try {
    return { receipt: parseReceipt(receipt), document: parseDocument(document) };
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}

/**
 * Verifies that the tree of the confirmed checkpoint holds the receipt: the later evidence covers it, the tree extends
 * that evidence and holds the `epoch` record that names it. What the checkpoint confirms is then older than it.
 */
export async function verifyWitnessed(
  { receipt, document }: ParsedParts,
  { inclusion }: Covering,
  { note, consistency, epoch }: Witnessed,
  crypto: CryptoProvider,
): Promise<VerifiedCheckpoint> {
  const sha256 = sha256With(crypto);
  const { keyset, statement } = document;
  const { index } = receipt.claims;
  const checkpoint = await verifyCheckpoint(note, keyset.origin, keyset.log.x, crypto);
  const leaf = leafHash(sha256, entryBytes(receipt.sign1));
  verifyInclusion(sha256, { index, size: statement.logSize, path: inclusion }, leaf, statement.logRoot);
  const grown = { size1: statement.logSize, size2: checkpoint.size, path: consistency };
  verifyConsistency(sha256, grown, statement.logRoot, checkpoint.root);
  const place = { index: epoch.index, size: checkpoint.size, path: epoch.path };
  verifyInclusion(sha256, place, leafHash(sha256, epoch.entry), checkpoint.root);
  const { record } = parseRecord(epoch.entry);
  const names =
    record.kind === 'epoch' &&
    record.seq === statement.seq &&
    equalBytes(record.evidenceDigest, documentDigest(document.encoded, crypto));
  if (!names) throw new Refusal('EPOCH_MISMATCH', 'the log entry is no epoch record of the later evidence');
  return checkpoint;
}

async function judgeCheckpoint(
  checkpoint: VerifiedCheckpoint,
  { tokens }: Witnessed,
  context: AppraisalContext,
): Promise<OutsideView> {
  const witnesses = await judgeWitnesses(checkpoint, context);
  const timestamps = await judgeTimestamps(tokens, checkpoint.note.signedBytes, context);
  const upper = earlier(timestamps.time, witnesses.time);
  return {
    checks: [witnesses.check, timestamps.check, upperCheck(upper)],
    upper,
    witnessedSize: witnesses.check.result === 'pass' ? checkpoint.size : undefined,
  };
}

function earlier(a: AttestedTime | undefined, b: AttestedTime | undefined): AttestedTime | undefined {
  if (!a || !b) return a ?? b;
  return a.time <= b.time ? a : b;
}

function upperCheck(upper: AttestedTime | undefined): Check {
  if (upper) return pass('log.upper', 'log', `at ${isoTime(upper.time)} at the latest, by ${upper.by}`);
  const reason =
    'nobody whom you trust says when this receipt existed: it is judged for the time that you gave';
  return skip('log.upper', 'log', 'NOT_REQUIRED', reason);
}

async function withoutCheckpoint(context: AppraisalContext): Promise<OutsideView> {
  const { check } = await judgeTimestamps([], new Uint8Array(), context);
  const { witnesses } = context.policy;
  const seen =
    witnesses === 'none'
      ? skip('log.witnesses', 'log', 'NOT_REQUIRED', 'the policy asks for witnesses: none')
      : fail(
          'log.witnesses',
          'log',
          'WITNESS_QUORUM_MISSING',
          'no checkpoint that witnesses saw was supplied',
        );
  return { checks: [seen, check, upperCheck(undefined)], upper: undefined, witnessedSize: undefined };
}

function unreached(because: string): OutsideView {
  const ids = ['log.witnesses', 'log.timestamp', 'log.upper'] as const;
  return {
    checks: ids.map((id) => notReached(id, 'log', because)),
    upper: undefined,
    witnessedSize: undefined,
  };
}

/** A quorum's time is the earliest by which the whole quorum had signed: fewer cannot backdate it. */
async function judgeWitnesses({ note }: VerifiedCheckpoint, context: AppraisalContext): Promise<Judged> {
  const id = 'log.witnesses';
  try {
    const rule = trustedWitnesses(context);
    if (!rule || context.policy.witnesses === 'none') {
      const reason = 'the policy asks for witnesses: none';
      return { check: skip(id, 'log', 'NOT_REQUIRED', reason), time: undefined };
    }
    const { met, count, names } = await verifyWitnesses(note, rule, context.crypto);
    const have = `${count} of ${witnessesOf(rule).length} trusted witnesses saw this log, ${context.policy.witnesses.quorum} are wanted`;
    const time = met && { time: met.earliest * 1000, by: `the witnesses ${names.join(', ')}` };
    if (!time) return { check: fail(id, 'log', 'WITNESS_QUORUM_MISSING', have), time };
    if (isAfter(time.time, context)) {
      const reason = `${have}, but not before ${isoTime(context.now)}`;
      return { check: fail(id, 'log', 'WITNESS_QUORUM_MISSING', reason), time: undefined };
    }
    return { check: pass(id, 'log', `${have}: ${names.join(', ')}`), time };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return { check: fail(id, 'log', error.code, error.message), time: undefined };
  }
}

/** What is said after the time for which the caller judges was not said yet. */
function isAfter(time: number, { now }: AppraisalContext): boolean {
  return time > now + CLOCK_SKEW_MS;
}

async function judgeTimestamps(
  tokens: readonly Uint8Array[],
  data: Uint8Array,
  context: AppraisalContext,
): Promise<Judged> {
  const id = 'log.timestamp';
  const { timestamps } = context.policy;
  const missing = (reason: string): Judged => ({
    check:
      timestamps !== 'none' && timestamps.required
        ? fail(id, 'log', 'TIMESTAMP_MISSING', reason)
        : skip(id, 'log', 'NOT_REQUIRED', reason),
    time: undefined,
  });
  if (timestamps === 'none') return missing('the policy trusts no timestamps');
  if (trustedAuthorities(context).length === 0) return missing('you trust no timestamp authority');
  try {
    const { times, ignored } = await readTokens(tokens, data, context);
    const [first] = times.toSorted((a, b) => a.time - b.time);
    if (!first) return missing(ignored.join('; ') || 'no timestamp was supplied');
    const reason = times.map(({ time, by }) => `${by}: ${isoTime(time)} at the latest`).join('; ');
    return { check: pass(id, 'log', reason), time: first };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return { check: fail(id, 'log', error.code, error.message), time: undefined };
  }
}

/** Each counts with the latest time that it may mean. */
async function readTokens(
  tokens: readonly Uint8Array[],
  data: Uint8Array,
  context: AppraisalContext,
): Promise<{ readonly times: readonly AttestedTime[]; readonly ignored: readonly string[] }> {
  const times: AttestedTime[] = [];
  const ignored: string[] = [];
  for (const token of tokens) {
    const judged = await judgeToken(token, data, context);
    if (judged.kind === 'ignored') ignored.push(judged.reason);
    else if (isAfter(judged.timestamp.latest, context)) {
      ignored.push(`a timestamp is of ${isoTime(judged.timestamp.latest)}, after ${isoTime(context.now)}`);
    } else {
      const { latest, anchor } = judged.timestamp;
      times.push({ time: latest, by: `the timestamp authority ${anchor.name}` });
    }
  }
  return { times, ignored };
}
