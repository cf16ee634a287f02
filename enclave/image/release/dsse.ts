import { createHash, createPublicKey, type KeyObject, sign } from 'node:crypto';
import * as z from 'zod';
import { concat, fromBase64, toBase64, utf8 } from '../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { canonicalJson } from '../../../attestation/json/canonical.ts';
import { JsonError, parseStrictJson } from '../../../attestation/json/strict.ts';
import { rawSignature } from '../../../attestation/x509/signature.ts';
import { ImageError } from '../errors.ts';

/** Kinds of statements; a signature over one is none over another. */
export const PAYLOAD = {
  manifest: 'application/vnd.vouchsafe.image+json',
  releases: 'application/vnd.vouchsafe.image-releases+json',
  provenance: 'application/vnd.in-toto+json',
} as const;
export type PayloadType = (typeof PAYLOAD)[keyof typeof PAYLOAD];

/** ECDSA on P-256 with SHA-256 (ES256). */
const SCHEME = { kind: 'ecdsa', curve: 'P-256', hash: 'sha256' } as const;
/** Largest envelope, bytes: a manifest of 4 MiB in base64. */
const MAX_ENVELOPE_BYTES = 6 * 1024 * 1024;
/** DER of an ECDSA signature on P-256 has at most 72 bytes. */
const signature = z.strictObject({
  keyid: z.string().max(200).optional(),
  sig: z.string().max(100),
});
const envelopeSchema = z.strictObject({
  payload: z.string().max(MAX_ENVELOPE_BYTES),
  payloadType: z.string().max(200),
  signatures: z.array(signature).min(1).max(16),
});

/** What is signed: pre-authentication encoding (DSSE, protocol.md). */
function preAuthenticated(type: string, payload: Uint8Array): Uint8Array {
  return concat(utf8(`DSSEv1 ${utf8(type).length} ${type} ${payload.length} `), payload);
}

/** The public half of a key that can sign statements, DER of SubjectPublicKeyInfo. Refuses others than P-256. */
export function publicKeyOf(key: KeyObject): Uint8Array {
  const { asymmetricKeyType, asymmetricKeyDetails } = key;
  if (asymmetricKeyType !== 'ec' || asymmetricKeyDetails?.namedCurve !== 'prime256v1') {
    throw refused('a key of statements is one on P-256');
  }
  const half = key.type === 'private' ? createPublicKey(key) : key;
  return new Uint8Array(half.export({ format: 'der', type: 'spki' }));
}

/** SHA-256 of the SubjectPublicKeyInfo in hex: how people compare keys. */
export function keyId(spki: Uint8Array): string {
  return createHash('sha256').update(spki).digest('hex');
}

/**
 * A DSSE envelope over a payload. The signature is in DER, as in-toto and Sigstore have it, and differs each time:
 * reproducible are payloads.
 */
export function signEnvelope(type: PayloadType, payload: Uint8Array, key: KeyObject): Uint8Array {
  const keyid = keyId(publicKeyOf(key));
  const sig = toBase64(sign('sha256', preAuthenticated(type, payload), key));
  const envelope = { payload: toBase64(payload), payloadType: type, signatures: [{ keyid, sig }] };
  return utf8(`${canonicalJson(envelope)}\n`);
}

/**
 * The payload of an envelope that one of the pinned keys signed for this type; `keyid` is a hint and not looked at.
 * Refuses as `IMAGE_SIGNATURE_INVALID`.
 */
export async function openEnvelope(
  file: Uint8Array,
  type: PayloadType,
  pinned: readonly Uint8Array[],
): Promise<Uint8Array> {
  const { payload, payloadType, signatures } = parseEnvelope(file);
  if (payloadType !== type) throw refused(`it is a statement of another kind than ${type}`);
  const bytes = decode(payload);
  const signed = preAuthenticated(type, bytes);
  for (const { sig } of signatures) {
    const raw = rawOf(decode(sig));
    if (!raw) continue;
    for (const spki of pinned) {
      if (await nodeCrypto.verify(SCHEME, spki, signed, raw)) return bytes;
    }
  }
  throw refused(`no signature is of a key that was named: ${pinned.map(keyId).join(', ')}`);
}

function parseEnvelope(file: Uint8Array): z.infer<typeof envelopeSchema> {
  if (file.length > MAX_ENVELOPE_BYTES) throw refused('the envelope is too large');
  try {
    const result = envelopeSchema.safeParse(parseStrictJson(file));
    if (result.success) return result.data;
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
  }
  throw refused('it is no DSSE envelope');
}

function decode(text: string): Uint8Array {
  try {
    return fromBase64(text);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    throw refused('it is no DSSE envelope');
  }
}

/** A signature that is no DER is none of a pinned key; another of the envelope may be. */
function rawOf(der: Uint8Array): Uint8Array | undefined {
  try {
    return rawSignature(SCHEME, der);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return undefined;
  }
}

function refused(message: string): ImageError {
  return new ImageError('IMAGE_SIGNATURE_INVALID', message);
}
