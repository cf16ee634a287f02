import * as z from 'zod';
import { Refusal } from '../../errors.ts';
import { isoTime } from '../../x509/time.ts';

/** More than the longest list ever published several times over. */
const MAX_LEVELS = 256;
const MAX_ADVISORIES = 256;
const MAX_COUNTER = 2 ** 31 - 1;

/** When a statement holds and which state of Intel's knowledge it is of. */
export interface StatementHead {
  /** Milliseconds since 1970. */
  readonly issueDate: number;
  readonly nextUpdate: number;
  /** Rises with every TCB recovery; that of TCB info and of QE identities need not be equal. */
  readonly tcbEvaluationDataNumber: number;
}

/** What Intel says of one level: since when it is known, and what is wrong with it. */
export interface LevelVerdict<Status extends string> {
  readonly status: Status;
  /** Milliseconds since 1970. */
  readonly tcbDate: number;
  readonly advisoryIds: readonly string[];
}

/** `2025-06-19T10:16:03Z`, as milliseconds since 1970: no other form, no day that does not exist. */
const instant = z
  .string()
  .regex(/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$/)
  .refine(exists)
  .transform((text) => Date.parse(text));

function exists(text: string): boolean {
  const time = Date.parse(text);
  return !Number.isNaN(time) && new Date(time).toISOString() === text.replace('Z', '.000Z');
}

/** Bytes as hex of either case, given in lower case. */
export function hexBytes(length: number) {
  return z
    .string()
    .regex(new RegExp(`^[0-9a-fA-F]{${2 * length}}$`))
    .transform((text) => text.toLowerCase());
}

export function uintUpTo(most: number) {
  return z.int().min(0).max(most);
}

const counter = uintUpTo(MAX_COUNTER);

/** Members that every statement has. */
export const HEAD_MEMBERS = { issueDate: instant, nextUpdate: instant, tcbEvaluationDataNumber: counter };

/** One level of a list: its `tcb`, and the verdict on it. */
export function levelSchema<Tcb extends z.ZodType, const Statuses extends readonly [string, ...string[]]>(
  tcb: Tcb,
  statuses: Statuses,
) {
  return z.strictObject({
    tcb,
    tcbDate: instant,
    tcbStatus: z.enum(statuses),
    advisoryIDs: z
      .array(z.string().regex(/^[\x21-\x7e]{1,64}$/))
      .max(MAX_ADVISORIES)
      .optional(),
  });
}

export function levelsOf<Level extends z.ZodType>(level: Level) {
  return z.array(level).min(1).max(MAX_LEVELS);
}

export function verdictOf<Status extends string>(level: {
  readonly tcbDate: number;
  readonly tcbStatus: Status;
  readonly advisoryIDs?: readonly string[] | undefined;
}): LevelVerdict<Status> {
  return { status: level.tcbStatus, tcbDate: level.tcbDate, advisoryIds: level.advisoryIDs ?? [] };
}

/**
 * Reads a decoded statement. A member, status, id or version that is not known is `UNSUPPORTED`: Intel has added
 * members that change the judgement without a new version (`tdxModuleIdentities`), so none is passed over.
 */
export function readStatement<Schema extends z.ZodType>(
  schema: Schema,
  value: unknown,
  what: string,
): z.output<Schema> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const { code, path, message } = result.error.issues[0] ?? { code: 'custom', path: [], message: 'invalid' };
  const unknown = NOT_KNOWN.has(code) && valueAt(value, path) !== undefined;
  const where = path.length > 0 ? path.join('.') : 'the object';
  throw new Refusal(unknown ? 'UNSUPPORTED' : 'MALFORMED', `${what}: ${where}: ${message}`);
}

/** Findings that a later form of the statement would give too. */
const NOT_KNOWN: ReadonlySet<string> = new Set(['unrecognized_keys', 'invalid_value', 'invalid_union']);

function valueAt(value: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>(
    (inner, name) => (typeof inner === 'object' && inner !== null ? Reflect.get(inner, name) : undefined),
    value,
  );
}

/**
 * The statement in date with the highest evaluation number, the newest of several. Whoever supplies them can
 * withhold newer ones that are in date too: Intel gives each about thirty days.
 */
export function selectInDate<Statement extends StatementHead>(
  fitting: readonly Statement[],
  now: number,
  what: string,
): Statement {
  const inDate = fitting.filter(({ issueDate, nextUpdate }) => now >= issueDate && now <= nextUpdate);
  const [selected] = inDate.toSorted(byAge);
  if (selected) return selected;
  const past = fitting.filter(({ nextUpdate }) => now > nextUpdate).toSorted(byAge)[0];
  const nearest = past ?? fitting.toSorted((a, b) => a.issueDate - b.issueDate)[0];
  if (!nearest) throw new Refusal('COLLATERAL_MISSING', `no ${what} was supplied`);
  throw new Refusal(
    past ? 'COLLATERAL_EXPIRED' : 'COLLATERAL_NOT_YET_VALID',
    `${what} is in date from ${isoTime(nearest.issueDate)} to ${isoTime(nearest.nextUpdate)}, judged at ${isoTime(now)}`,
  );
}

function byAge(a: StatementHead, b: StatementHead): number {
  return b.tcbEvaluationDataNumber - a.tcbEvaluationDataNumber || b.issueDate - a.issueDate;
}
