import type * as z from 'zod';
import { Refusal } from '../../errors.ts';

/** The value in the shape; refuses another as `MALFORMED`, naming the first place and no text of the value. */
export function readShape<T extends z.ZodType>(shape: T, value: unknown, what: string): z.infer<T> {
  const result = shape.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const path = issue?.path.map((part) => String(part).slice(0, 60)).join('/') ?? '';
  throw new Refusal('MALFORMED', `${what}: ${issue?.code ?? 'wrong'} at ${quoted(path)}`);
}

/** Text of others for a reason: bounded, in quotes, control characters escaped. */
export function quoted(text: string): string {
  return JSON.stringify(bounded(text));
}

/** The same for any JSON value, as JSON. */
export function shown(value: unknown): string {
  return value === undefined ? 'absent' : bounded(JSON.stringify(value));
}

function bounded(text: string): string {
  return text.length > 200 ? `${text.slice(0, 200)}…` : text;
}
