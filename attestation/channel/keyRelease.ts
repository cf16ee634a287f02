import { decodeDc, encodeDc, type Dc } from '../cbor/deterministic.ts';
import { asArray, asBytes, asCount, asFixedBytes, asLabel, asText, asTuple } from '../cbor/shape.ts';
import type { CryptoProvider } from '../crypto/provider.ts';
import { Refusal } from '../errors.ts';
import type { NonceProof } from '../evidence/appraise.ts';
import { hpkeSuite } from './suites.ts';

/**
 * Release of a data key to an attested instance. The relying node gives a nonce; the instance sends an evidence
 * document made for it, and gets the data key sealed to the HPKE key of that document's keyset.
 */
export const KEY_REQUEST_TYPE = 'application/vouchsafe-key-request';
export const KEY_ANSWER_TYPE = 'application/vouchsafe-key-answer';
const REQUEST_LABEL = 'vouchsafe/key-request/1';
const ANSWER_LABEL = 'vouchsafe/key-answer/1';
const INFO_LABEL = 'vouchsafe/key-release/1';

const KEY_BYTES = 32;
const ENC_BYTES = 32;
/** A data key and the tag of AES-256-GCM. */
const CIPHERTEXT_BYTES = KEY_BYTES + 16;
const MAX_NAME_LENGTH = 256;
const MAX_WRAPPED_BYTES = 8192;
/** A tree over 4,096 nonces has twelve levels. */
const MAX_PATH = 64;

export interface KeyRequest {
  /** The relying node's nonce, and its place in the document. */
  readonly proof: NonceProof;
  readonly model: string;
  /** Name of the key that wraps. */
  readonly keyName: string;
  readonly wrapped: Uint8Array;
  /** Evidence document. */
  readonly document: Uint8Array;
  /** What vendors say of it, as bundles encode it: signed by them, whoever hands it on. */
  readonly collateral: Uint8Array;
}

export interface SealedKey {
  /** Encapsulated key. */
  readonly enc: Uint8Array;
  readonly ciphertext: Uint8Array;
}

export interface KeyAnswer extends SealedKey {
  /** Index of the release in the log of the relying node. */
  readonly index: number;
}

/** What a released key is for. Both sides make it from what they know themselves. */
export interface ReleasePurpose {
  readonly nonce: Uint8Array;
  readonly model: string;
  readonly keyName: string;
  readonly wrapped: Uint8Array;
  readonly keysetDigest: Uint8Array;
  /** Digest of the evidence document. */
  readonly evidence: Uint8Array;
}

export function encodeKeyRequest({
  proof,
  model,
  keyName,
  wrapped,
  document,
  collateral,
}: KeyRequest): Uint8Array {
  const { nonce, index, path } = proof;
  return encodeDc([REQUEST_LABEL, nonce, index, path, model, keyName, wrapped, document, collateral]);
}

export function parseKeyRequest(encoded: Uint8Array): KeyRequest {
  const [label, nonce, index, path, model, keyName, wrapped, document, collateral] = asTuple(
    decodeDc(encoded),
    'key request',
    9,
  );
  asLabel(label, 'key request label', REQUEST_LABEL);
  const levels = asArray(path, 'nonce path');
  if (levels.length > MAX_PATH) throw new Refusal('MALFORMED', `the nonce path has ${levels.length} levels`);
  return {
    proof: {
      nonce: asFixedBytes(nonce, 'nonce', 32),
      index: asCount(index, 'nonce index'),
      path: levels.map((level) => asFixedBytes(level, 'nonce path', 32)),
    },
    model: asName(model, 'model'),
    keyName: asName(keyName, 'key name'),
    wrapped: asBounded(wrapped, 'wrapped key', MAX_WRAPPED_BYTES),
    document: asBytes(document, 'evidence document'),
    collateral: asBytes(collateral, 'collateral'),
  };
}

function asName(value: Dc | undefined, what: string): string {
  const name = asText(value, what);
  if (name.length > 0 && name.length <= MAX_NAME_LENGTH && /^[\x21-\x7e]+$/.test(name)) return name;
  throw new Refusal('MALFORMED', `${what} is not 1 to ${MAX_NAME_LENGTH} characters of ASCII without spaces`);
}

function asBounded(value: Dc | undefined, what: string, most: number): Uint8Array {
  const bytes = asBytes(value, what);
  if (bytes.length > 0 && bytes.length <= most) return bytes;
  throw new Refusal('MALFORMED', `${what} has ${bytes.length} bytes, not 1 to ${most}`);
}

export function encodeKeyAnswer({ enc, ciphertext, index }: KeyAnswer): Uint8Array {
  return encodeDc([ANSWER_LABEL, enc, ciphertext, index]);
}

export function parseKeyAnswer(encoded: Uint8Array): KeyAnswer {
  const [label, enc, ciphertext, index] = asTuple(decodeDc(encoded), 'key answer', 4);
  asLabel(label, 'key answer label', ANSWER_LABEL);
  return {
    enc: asFixedBytes(enc, 'encapsulated key', ENC_BYTES),
    ciphertext: asFixedBytes(ciphertext, 'sealed data key', CIPHERTEXT_BYTES),
    index: asCount(index, 'log index'),
  };
}

/**
 * `info` of HPKE. It starts with a label of its own, so that the HPKE key of a keyset, which opens sealed requests,
 * opens no released key in that place, nor the other way round; and it names everything that the key was released for.
 */
function infoOf(purpose: ReleasePurpose, crypto: CryptoProvider): Uint8Array {
  const { nonce, model, keyName, wrapped, keysetDigest, evidence } = purpose;
  return encodeDc([
    INFO_LABEL,
    nonce,
    model,
    keyName,
    crypto.hash('sha256', wrapped),
    keysetDigest,
    evidence,
  ]);
}

/** Seals a data key to the HPKE key of an accepted evidence document. */
export async function sealDataKey(
  publicKey: Uint8Array,
  purpose: ReleasePurpose,
  dataKey: Uint8Array,
  crypto: CryptoProvider,
): Promise<SealedKey> {
  if (dataKey.length !== KEY_BYTES) throw new TypeError('a data key is 32 bytes');
  const suite = hpkeSuite();
  const recipientPublicKey = await suite.kem.deserializePublicKey(publicKey);
  const context = await suite.createSenderContext({ recipientPublicKey, info: infoOf(purpose, crypto) });
  return {
    enc: new Uint8Array(context.enc),
    ciphertext: new Uint8Array(await context.seal(dataKey)),
  };
}

/** Opens a released data key. Refuses as `SIGNATURE_INVALID` what is of another key or for another purpose. */
export async function openDataKey(
  privateKey: CryptoKey,
  purpose: ReleasePurpose,
  { enc, ciphertext }: SealedKey,
  crypto: CryptoProvider,
): Promise<Uint8Array> {
  let opened: Uint8Array;
  try {
    const info = infoOf(purpose, crypto);
    const context = await hpkeSuite().createRecipientContext({ recipientKey: privateKey, enc, info });
    opened = new Uint8Array(await context.open(ciphertext));
  } catch {
    throw new Refusal(
      'SIGNATURE_INVALID',
      'the released key is sealed to another keyset or for another purpose',
    );
  }
  if (opened.length !== KEY_BYTES) throw new Refusal('MALFORMED', 'the released key is not 32 bytes');
  return opened;
}
