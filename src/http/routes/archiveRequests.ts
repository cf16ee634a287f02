import { z } from 'zod';
import { OUTCOMES } from '../../../attestation/receipt/claims.ts';
import type { HoldScope } from '../../archive/effects.ts';
import { ArchiveError } from '../../archive/errors.ts';
import type { ReceiptQuery } from '../../archive/query.ts';
import { readBody, requireJson } from '../body.ts';
import type { Context } from '../endpoint.ts';
import { parseObject } from '../inference.ts';
import { refuseIssue } from '../tensorRequest.ts';

const MAX_BODY_BYTES = 0x1_0000;

const hex = (digits: number) => z.string().regex(new RegExp(`^[0-9a-f]{${digits}}$`));
/** The last second of ECMAScript's calendar. */
const LAST_SECOND = 8_640_000_000_000;

const seconds = z
  .union([z.int().min(0).max(LAST_SECOND), z.iso.datetime({ offset: true })])
  .transform(toSeconds);
const inQuery = z
  .union([z.iso.datetime({ offset: true }), z.string().regex(/^\d{1,15}$/)])
  .transform(toSeconds);

function toSeconds(value: number | string): number {
  if (typeof value === 'number') return value;
  return /^\d+$/.test(value) ? Number(value) : Math.floor(Date.parse(value) / 1000);
}

const tenant = z.string().regex(/^[A-Za-z0-9._-]{1,64}$/);
/** Without control characters and halves of characters, which not every database takes. */
const WRITABLE = /^[^\p{Cc}\p{Cs}]*$/u;
const text = z.string().min(1).max(512).regex(WRITABLE);
const rule = z.string().min(1).max(256).regex(WRITABLE);

const QUERY = z.strictObject({
  from: inQuery.optional(),
  to: inQuery.optional(),
  model: text.optional(),
  tenant: tenant.optional(),
  device: z
    .string()
    .regex(/^[0-9a-f]{2,64}$/)
    .optional(),
  tcb: text.optional(),
  chip: text.optional(),
  platform: text.optional(),
  policy: hex(64).optional(),
  outcome: z.enum(OUTCOMES).optional(),
  instance: hex(32).optional(),
  limit: z
    .string()
    .regex(/^\d{1,4}$/)
    .transform(Number)
    .optional(),
  cursor: text.optional(),
});

const SCOPE = {
  receipt: hex(32).optional(),
  tenant: tenant.optional(),
  from: seconds.optional(),
  to: seconds.optional(),
};
const SCOPED = z.strictObject({ ...SCOPE, rule });
const RULED = z.strictObject({ rule });
const CLAIM = z.strictObject({ k: z.string().regex(/^[A-Za-z0-9_-]{43}$/) });

/** The query of a list; each member at most once. */
export function parseQuery(query: unknown): ReceiptQuery {
  const parsed = QUERY.safeParse(query);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const where = issue?.path.join('.') ?? '';
  throw new ArchiveError(
    'QUERY_INVALID',
    where === '' ? 'the query has an unknown member' : `${where} is not valid`,
  );
}

/** The body as a value of JSON. */
export async function readJson({ request }: Context): Promise<unknown> {
  requireJson(request.headers['content-type']);
  return parseObject(await readBody(request, MAX_BODY_BYTES));
}

export interface Scoped {
  readonly rule: string;
  readonly scope: HoldScope;
}

/** What a hold or an erasure is about, and the rule that it is done under. */
export function scopedBody(value: unknown): Scoped {
  const { rule: named, ...scope } = parsed(SCOPED, value);
  return { rule: named, scope };
}

export function ruledBody(value: unknown): { readonly rule: string } {
  return parsed(RULED, value);
}

export function claimBody(value: unknown): { readonly k: Uint8Array } {
  return { k: Buffer.from(parsed(CLAIM, value).k, 'base64url') };
}

function parsed<T>(schema: z.ZodType<T>, value: unknown): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  throw refuseIssue(result.error.issues[0]);
}
