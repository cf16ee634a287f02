import * as z from 'zod';
import { toHex, utf8 } from '../bytes/bytes.ts';
import type { CryptoProvider } from '../crypto/provider.ts';
import { Refusal } from '../errors.ts';
import { canonicalJson } from '../json/canonical.ts';

/** The one version of Attested Confidential Inference that is spoken here. */
export const ACI_VERSION = 'aci/1';
/** The baseline algorithm of receipts (RFC 8032). */
export const ACI_SIGNATURE = 'ed25519';

const MAX_KEYS = 16;
const text = z.string().max(1024);
const hex32 = z.string().regex(/^[0-9a-f]{64}$/);

/** Keys of hybrid suites have more than a thousand bytes, in hex. */
const publicKey = z
  .string()
  .max(16_384)
  .regex(/^[0-9a-f]+$/);
const keySchema = z.strictObject({ key_id: text, algo: text, public_key: publicKey });

/** `workload_keyset` (ACI section 3.1): its shape is fixed. */
export const aciKeysetSchema = z.strictObject({
  subject: text.nullable().optional(),
  /** Seconds since 1970. */
  not_after: z.int().min(0),
  receipt_signing_keys: z.array(keySchema).min(1).max(MAX_KEYS),
  e2ee_public_keys: z.array(keySchema).max(MAX_KEYS),
  tls_public_keys: z.array(z.strictObject({ spki_sha256: hex32, domain: text.optional() })).max(MAX_KEYS),
});

export type AciKeyset = z.infer<typeof aciKeysetSchema>;

/** Reads a closed shape of ACI from a value of JSON. Refuses with `MALFORMED`, which names the member. */
export function readAci<T>(schema: z.ZodType<T>, value: unknown, what: string): T {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const where = issue?.path.join('.') ?? '';
  throw new Refusal(
    'MALFORMED',
    `${what}: ${where === '' ? '' : `${where}: `}${issue?.message ?? 'invalid'}`,
  );
}

export function parseAciKeyset(value: unknown): AciKeyset {
  const keyset = readAci(aciKeysetSchema, value, 'ACI keyset');
  const ids = keyset.receipt_signing_keys.map(({ key_id }) => key_id);
  if (new Set(ids).size !== ids.length)
    throw new Refusal('MALFORMED', 'ACI keyset: two keys have one key_id');
  const values = [...keyset.receipt_signing_keys, ...keyset.e2ee_public_keys].map(
    ({ public_key }) => public_key,
  );
  if (new Set(values).size !== values.length) {
    throw new Refusal('MALFORMED', 'ACI keyset: one key serves two roles');
  }
  return keyset;
}

/** `"sha256:" || hex(SHA-256(JCS(keyset)))`. */
export function aciKeysetDigest(keyset: AciKeyset, crypto: CryptoProvider): string {
  return aciDigest(utf8(canonicalJson(keyset)), crypto);
}

/** How ACI writes a digest of bytes. */
export function aciDigest(bytes: Uint8Array, crypto: CryptoProvider): string {
  return `sha256:${toHex(crypto.hash('sha256', bytes))}`;
}
