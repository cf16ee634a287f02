import type * as z from 'zod';
import { equalBytes, utf8 } from '../../../attestation/bytes/bytes.ts';
import { canonicalJson } from '../../../attestation/json/canonical.ts';
import { JsonError, parseStrictJson } from '../../../attestation/json/strict.ts';
import { ImageError } from '../errors.ts';

/** Problems that an error names. */
const MAX_NAMED = 3;

/**
 * A closed JSON document in canonical form (RFC 8785): every other form of it has another digest, and is refused. Whose
 * word it is, a signature says.
 */
export function readDocument<Shape extends z.ZodType>(
  shape: Shape,
  file: Uint8Array,
  limit: number,
  what: string,
): z.output<Shape> {
  if (file.length > limit) throw invalid(`${what} is larger than ${limit} bytes`);
  const value = parse(file, what);
  const result = shape.safeParse(value);
  if (!result.success) {
    const problems = result.error.issues.map(({ path, message }) => `${path.join('.') || 'it'}: ${message}`);
    const more = problems.length > MAX_NAMED ? `; and ${problems.length - MAX_NAMED} more` : '';
    throw invalid(`${what} is not of its form: ${problems.slice(0, MAX_NAMED).join('; ')}${more}`);
  }
  if (!equalBytes(canonical(value, what), file)) throw invalid(`${what} is not in canonical form`);
  return result.data;
}

function parse(file: Uint8Array, what: string): unknown {
  try {
    return parseStrictJson(file);
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw invalid(`${what} ${error.message}`);
  }
}

function canonical(value: unknown, what: string): Uint8Array {
  try {
    return utf8(canonicalJson(value));
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    throw invalid(`${what} ${error.message}`);
  }
}

function invalid(message: string): ImageError {
  return new ImageError('IMAGE_MANIFEST_INVALID', message);
}
