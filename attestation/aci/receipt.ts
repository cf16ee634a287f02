import * as z from 'zod';
import { fromHex, utf8 } from '../bytes/bytes.ts';
import { ALG, verifySignature } from '../cose/key.ts';
import type { CryptoProvider } from '../crypto/provider.ts';
import { Refusal } from '../errors.ts';
import { canonicalJson } from '../json/canonical.ts';
import { parseJson } from '../json/strict.ts';
import { ACI_SIGNATURE, ACI_VERSION, aciKeysetDigest, type AciKeyset, readAci } from './keyset.ts';

/** A receipt has a handful of events; nothing of the exchange but hashes is in it. */
const MAX_BYTES = 65_536;
const MAX_EVENTS = 64;
const text = z.string().max(1024);
const digest = z.string().regex(/^sha256:[0-9a-f]{64}$/);

const eventSchema = z.looseObject({ type: text });

/** What is signed: the document without `signature` (ACI section 7.3). */
const signedSchema = z.strictObject({
  api_version: z.literal(ACI_VERSION),
  receipt_id: text.min(1),
  chat_id: text.nullable(),
  model: text.nullable(),
  workload_keyset_digest: digest,
  endpoint: text,
  method: text,
  /** Seconds since 1970, by the clock of whoever signed: a claim. */
  served_at: z.int().min(0),
  event_log: z.array(eventSchema).min(1).max(MAX_EVENTS),
  key_id: text.min(1),
});

const receiptSchema = signedSchema.extend({ signature: z.string().regex(/^[0-9a-f]{128}$/) });

export type AciUnsigned = z.infer<typeof signedSchema>;
export type AciReceipt = z.infer<typeof receiptSchema>;
export type AciEvent = z.infer<typeof eventSchema>;

/** Hashed by the service itself, each at most once: what was sent, what was used, what came back. */
export type AciHashedEvent = 'request.received' | 'request.forwarded' | 'response.returned';

/** Parses a receipt from any encoding of its document. Refuses with `MALFORMED`. */
export function parseAciReceipt(bytes: Uint8Array): AciReceipt {
  if (bytes.length > MAX_BYTES)
    throw new Refusal('MALFORMED', `ACI receipt is larger than ${MAX_BYTES} bytes`);
  const receipt = readAci(receiptSchema, parseJson(bytes, 'ACI receipt'), 'ACI receipt');
  if (receipt.event_log[0]?.type !== 'request.received') {
    throw new Refusal('MALFORMED', 'ACI receipt: the first event is not request.received');
  }
  return receipt;
}

/** The bytes that the signature covers: the canonical form of the document without `signature`. */
export function aciSigningInput(receipt: AciUnsigned): Uint8Array {
  return utf8(canonicalJson(receipt));
}

/**
 * Checks a receipt under a keyset that a verified quote commits to: digest, key by `key_id` and its own algorithm,
 * signature. Refuses with `KEYSET_MISMATCH`, `ALGORITHM_MISMATCH`, `UNTRUSTED_KEY` or `SIGNATURE_INVALID`.
 */
export async function verifyAciReceipt(
  { signature, ...signed }: AciReceipt,
  keyset: AciKeyset,
  crypto: CryptoProvider,
): Promise<void> {
  const digestOfKeyset = aciKeysetDigest(keyset, crypto);
  if (signed.workload_keyset_digest !== digestOfKeyset) {
    throw new Refusal('KEYSET_MISMATCH', `the receipt names another keyset than ${digestOfKeyset}`);
  }
  const key = keyset.receipt_signing_keys.find(({ key_id }) => key_id === signed.key_id);
  if (!key) throw new Refusal('UNTRUSTED_KEY', 'the keyset has no receipt key of the name in the receipt');
  if (key.algo !== ACI_SIGNATURE || key.public_key.length !== 64) {
    throw new Refusal('ALGORITHM_MISMATCH', 'the receipt key is not one of Ed25519');
  }
  const coseKey = { alg: ALG.ed25519, x: fromHex(key.public_key) };
  await verifySignature(coseKey, aciSigningInput(signed), fromHex(signature), crypto, 'ACI receipt');
}

/** `body_hash` of an event; undefined where the receipt has none. Refuses two events of one kind. */
export function aciBodyHash({ event_log }: AciReceipt, type: AciHashedEvent): string | undefined {
  const [event, more] = event_log.filter((candidate) => candidate.type === type);
  if (more) throw new Refusal('MALFORMED', `ACI receipt: two events ${type}`);
  return event && readAci(digest, event['body_hash'], `ACI receipt: ${type}`);
}
