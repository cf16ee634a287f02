import { equalBytes } from '../../attestation/bytes/bytes.ts';
import { FRESH_MS } from './cachedSource.ts';
import type { CollateralError } from './errors.ts';
import type { Outcome } from './gather.ts';
import type { CollateralNeed } from './need.ts';
import type { Obtained } from './source.ts';

/** A statement is asked for again when so much of its life is over. */
const REFRESH_AT = 0.6;
/** Nothing that is good is asked for more often. */
const MIN_REFRESH_MS = 600_000;
const FIRST_RETRY_MS = 30_000;
const MAX_RETRY_MS = 3_600_000;
/** A service may ask for this much patience, and no more. */
const MAX_PATIENCE_MS = 6 * 3_600_000;

/** Why a statement cannot be renewed. */
export interface Failing {
  readonly error: CollateralError;
  /** When it began, milliseconds since 1970. */
  readonly since: number;
  readonly attempts: number;
}

/** One statement that the evidence wants, and what is known of it. */
export interface Kept {
  readonly need: CollateralNeed;
  /** The newest that there is; undefined while there is none. */
  readonly obtained: Obtained | undefined;
  readonly failing: Failing | undefined;
  /** When it is asked for again, milliseconds since 1970. */
  readonly dueAt: number;
}

/** What is kept after an answer. `random` is in [0, 1): many machines must not ask at one moment. */
export function afterOutcome(
  before: Kept | undefined,
  outcome: Outcome,
  now: number,
  random: () => number,
): Kept {
  const { need } = outcome;
  const obtained = 'obtained' in outcome ? better(before?.obtained, outcome.obtained) : before?.obtained;
  const error = 'obtained' in outcome ? outcome.obtained.remarks[0] : outcome.error;
  if (!error) {
    return { need, obtained, failing: undefined, dueAt: obtained ? refreshTime(obtained, random) : now };
  }
  const attempts = (before?.failing?.attempts ?? 0) + 1;
  const failing = { error, since: before?.failing?.since ?? now, attempts };
  return { need, obtained, failing, dueAt: now + retryDelay(failing, random) };
}

/** A clock that went back says nothing of how old a statement is, nor of how long a vendor is left alone. */
export function isDue({ dueAt, obtained, failing }: Kept, now: number): boolean {
  if (now >= dueAt) return true;
  return failing ? dueAt - now > MAX_PATIENCE_MS : now < (obtained?.fetchedAt ?? now);
}

export function endOf(obtained: Obtained | undefined): number | undefined {
  return obtained?.item.validity?.until;
}

export function sameStatement(a: Obtained | undefined, b: Obtained | undefined): boolean {
  if (!a || !b) return a === b;
  const [one, other] = [a.item, b.item];
  return (
    equalBytes(one.body, other.body) &&
    one.chain.length === other.chain.length &&
    one.chain.every((certificate, i) => equalBytes(certificate, other.chain[i] ?? new Uint8Array(0)))
  );
}

/** A mirror that sends something that ended before what is known does not take that away. */
function better(known: Obtained | undefined, found: Obtained): Obtained {
  if (!known || found.remarks.length === 0) return found;
  const [before, now] = [endOf(known) ?? Number.POSITIVE_INFINITY, endOf(found) ?? Number.POSITIVE_INFINITY];
  return before > now || (before === now && known.fetchedAt > found.fetchedAt) ? known : found;
}

function refreshTime({ item, fetchedAt }: Obtained, random: () => number): number {
  const life = (item.validity?.until ?? Number.POSITIVE_INFINITY) - fetchedAt;
  const wait = Math.min(FRESH_MS[item.need.kind], life * REFRESH_AT);
  return fetchedAt + Math.max(MIN_REFRESH_MS, wait * (0.9 + 0.1 * random()));
}

/** Doubles from half a minute to an hour; as long as the service asks for, where that is longer. */
function retryDelay({ error, attempts }: Failing, random: () => number): number {
  const doubled = Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.min(attempts - 1, 10));
  const asked = Math.min(MAX_PATIENCE_MS, error.retryAfterMs ?? 0);
  return Math.max(asked, doubled * (0.75 + 0.25 * random()));
}
