import { fail, pass, skip, type Check } from '../checks.ts';
import { Refusal } from '../errors.ts';
import type { AppraisalContext } from '../evidence/context.ts';
import type { EvidenceDocument } from '../evidence/document.ts';
import { parseNote } from '../log/note.ts';
import { verifyWitnesses } from '../log/witnesses.ts';
import { isoTime } from '../x509/time.ts';
import { CLOCK_SKEW_MS, type AttestedTime } from './clock.ts';
import { judgeToken, trustedAuthorities, trustedWitnesses } from './trust.ts';

export interface LowerTime {
  readonly check: Check;
  /** The document was made after it; undefined where nothing trusted says so. */
  readonly lower: AttestedTime | undefined;
}

const ID = 'document.lower';

/**
 * The time after which a document was made: that of the token or cosigned checkpoint whose digest the hardware signed
 * (DESIGN section 7). A token counts with the earliest time that it may mean. `context.now` is the time for which the
 * caller judges: evidence that was made after it contradicts it.
 */
export async function appraiseTimeAnchor(
  { timeAnchor }: EvidenceDocument,
  subject: string,
  context: AppraisalContext,
): Promise<LowerTime> {
  const none = (reason: string): LowerTime => ({
    check: skip(ID, subject, 'NOT_REQUIRED', reason),
    lower: undefined,
  });
  if (!timeAnchor)
    return none('the evidence has no time anchor: only the hardware and you know when it was made');
  try {
    const found = isToken(timeAnchor)
      ? await timeOfToken(timeAnchor, context)
      : await timeOfNote(timeAnchor, context);
    return typeof found === 'string' ? none(found) : judge(found, subject, context);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return { check: fail(ID, subject, error.code, error.message), lower: undefined };
  }
}

function judge(lower: AttestedTime, subject: string, { now }: AppraisalContext): LowerTime {
  const reason = `made after ${isoTime(lower.time)}, the time of ${lower.by}`;
  if (lower.time <= now + CLOCK_SKEW_MS) return { check: pass(ID, subject, reason), lower };
  const later = `${reason}, which is later than ${isoTime(now)}`;
  return { check: fail(ID, subject, 'TIME_CONTRADICTION', later), lower: undefined };
}

/** A token is a SEQUENCE of more than 127 bytes; no text of a note has a continuation byte of UTF-8 in second place. */
function isToken(bytes: Uint8Array): boolean {
  const [tag = 0, length = 0] = bytes;
  return tag === 0x30 && length > 0x80 && length <= 0x84;
}

/** The time, or why it does not count. */
async function timeOfToken(token: Uint8Array, context: AppraisalContext): Promise<AttestedTime | string> {
  if (trustedAuthorities(context).length === 0) return 'you trust no timestamp authority';
  // What the token is over does not matter here: its signature could not be foreseen.
  const judged = await judgeToken(token, 'any', context);
  if (judged.kind === 'ignored') return judged.reason;
  const { earliest, anchor } = judged.timestamp;
  return { time: earliest, by: `the timestamp authority ${anchor.name}` };
}

async function timeOfNote(bytes: Uint8Array, context: AppraisalContext): Promise<AttestedTime | string> {
  const rule = trustedWitnesses(context);
  if (!rule) return 'the policy trusts no witnesses';
  const { met, names } = await verifyWitnesses(parseNote(bytes), rule, context.crypto);
  if (!met) return 'no quorum of trusted witnesses has signed the time anchor';
  return { time: met.latest * 1000, by: `the witnesses ${names.join(', ')}` };
}
