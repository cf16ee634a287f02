import * as z from 'zod';
import { fromBase64 } from '../bytes/bytes.ts';
import { Refusal } from '../errors.ts';
import { reference } from './shapes.ts';

/** C2SP key type of a witness: timestamped Ed25519 cosignatures. */
const COSIGNATURE = 0x04;

/** `<name>+<key id>+<base64>` of a witness. That the key id is that of the key is checked where it is used. */
const witnessKey = z
  .string()
  .max(1000)
  .regex(/^[^\s+]+\+[0-9a-f]{8}\+[A-Za-z0-9+/=]+$/u, 'expected the vkey of a witness')
  .refine(
    (vkey) => keyOf(vkey) !== undefined,
    'expected the vkey of a witness that signs with Ed25519 (type 4)',
  );

function keyOf(vkey: string): string | undefined {
  // The base64 may hold further `+`.
  const base64 = vkey.split('+').slice(2).join('+');
  try {
    const bytes = fromBase64(base64);
    return bytes.length === 33 && bytes[0] === COSIGNATURE ? base64 : undefined;
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}

/** How many of which witnesses must have seen the log after the receipt. */
export const witnessesPolicySchema = z.union([
  z.literal('none'),
  z
    .strictObject({ quorum: z.int().min(1).max(32), keys: z.array(witnessKey).min(1).max(32) })
    .refine(({ quorum, keys }) => quorum <= keys.length, {
      message: 'quorum exceeds the number of keys',
      path: ['quorum'],
    })
    // A cosignature does not name its witness: one key under two names would count twice.
    .refine(({ keys }) => new Set(keys.map(keyOf)).size === keys.length, {
      message: 'expected distinct keys: one key is one witness',
      path: ['keys'],
    }),
]);

/** Which timestamp authorities are trusted, by the SHA-256 of the SubjectPublicKeyInfo of a key of their chain. */
export const timestampsPolicySchema = z.union([
  z.literal('none'),
  z.strictObject({
    /** `--anchor timestamp:...` names more. */
    authorities: z
      .array(reference(32))
      .max(32)
      .refine(
        (items) => new Set(items.map(({ value }) => value)).size === items.length,
        'expected distinct authorities',
      ),
    /** Whether a receipt without a trusted timestamp is refused. */
    required: z.boolean(),
  }),
]);

export type WitnessesPolicy = z.infer<typeof witnessesPolicySchema>;
export type TimestampsPolicy = z.infer<typeof timestampsPolicySchema>;
