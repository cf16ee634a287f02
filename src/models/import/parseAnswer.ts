import type { z } from 'zod';
import { JsonError, parseStrictJson } from '../../../attestation/json/strict.ts';
import { HostingError } from '../hostingErrors.ts';

/** A service's JSON answer that must have this form; what else it holds is ignored. */
export function parseAnswer<T>(bytes: Uint8Array, schema: z.ZodType<T>, host: string): T {
  let value: unknown;
  try {
    value = parseStrictJson(bytes);
  } catch (error) {
    if (error instanceof JsonError) throw malformed(host, error.message);
    throw error;
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw malformed(host, `has at ${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'the unexpected'}`);
}

function malformed(host: string, detail: string): HostingError {
  return new HostingError('SOURCE_MALFORMED', `the answer of ${host} ${detail}`);
}
