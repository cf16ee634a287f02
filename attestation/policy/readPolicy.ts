import type * as z from 'zod';
import { Refusal } from '../errors.ts';

/** Decoded JSON in the shape of a policy; refuses unknown, absent and ill-typed members as `POLICY_INVALID`. */
export function readPolicy<Shape extends z.ZodType>(shape: Shape, value: unknown): z.output<Shape> {
  const result = shape.safeParse(value);
  if (result.success) return result.data;
  const problems = result.error.issues.map(
    ({ path, message }) => `${path.join('.') || 'policy'}: ${message}`,
  );
  throw new Refusal('POLICY_INVALID', problems.join('; '));
}
