import * as z from 'zod';

/** Exactly so many bytes in lower-case hex. */
export const hex = (bytes: number) =>
  z.string().regex(new RegExp(`^[0-9a-f]{${2 * bytes}}$`), `expected ${2 * bytes} lower-case hex digits`);

export const unique = <T extends z.ZodType>(item: T) =>
  z.array(item).refine((items) => new Set(items).size === items.length, 'expected distinct items');

/** «any» is written out: no member of a policy is absent. */
export const orAny = <T extends z.ZodType>(shape: T) => z.union([z.literal('any'), shape]);

/** A security version number of one byte. */
export const svn = z.int().min(0).max(255);

/** How many, at least and at most. */
export const range = z
  .strictObject({ minimum: z.int().min(0).max(64), maximum: z.int().min(0).max(64) })
  .refine(({ minimum, maximum }) => minimum <= maximum, 'minimum exceeds maximum');

/** What weakens the guest: refused unless the policy accepts it in words. */
export const weakness = z.enum(['refused', 'accepted']);

/** What protects the guest: demanded, or all the same. */
export const protection = z.enum(['required', 'any']);

/** A named value that is expected to run. */
export const reference = (bytes: number) =>
  z.strictObject({ name: z.string().min(1).max(200), value: hex(bytes) });

/** Named values; an empty list gives «not judged», naming the value that was seen. */
export const references = (bytes: number) => z.array(reference(bytes));

export interface Reference {
  readonly name: string;
  /** Lower-case hex. */
  readonly value: string;
}
