import {
  constants,
  createDecipheriv,
  createPrivateKey,
  type KeyObject,
  privateDecrypt,
  randomBytes,
} from 'node:crypto';
import { z } from 'zod';
import { fromBase64Url, utf8 } from '../../../attestation/bytes/bytes.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { ReleaseError } from './errors.ts';
import { exchange, type KeyService, readJson } from './exchange.ts';
import { makeRsaKeyPair, type RsaKeyPair } from './rsaKeyPair.ts';

const API_VERSION = '7.4';
/** RSA-OAEP with SHA-256 around an AES key, and that around the key material. */
const ENCRYPTION = 'RSA_AES_KEY_WRAP_256';
const MODULUS_BITS = 3072;
const MAX_ANSWER_BYTES = 256 * 1024;
const NONCE_BYTES = 32;
const KEY_BYTES = 32;
/** Initial value of AES key wrap with padding (RFC 5649 section 3). */
const WRAP_IV = Uint8Array.of(0xa6, 0x59, 0x59, 0xa6);
/** Name and version of a key: what a path of the vault may have. */
const KEY_NAME = /^[A-Za-z0-9-]{1,127}\/[0-9a-f]{32}$/;
const JWT = /^[A-Za-z0-9_-]+\.([A-Za-z0-9_-]+)\.[A-Za-z0-9_-]+$/;

const answerSchema = z.object({ value: z.string().regex(JWT) });
const payloadSchema = z.object({
  request: z.object({ nonce: z.string(), enc: z.string(), kid: z.string().optional() }),
  response: z.object({
    key: z.object({ key: z.object({ kid: z.string(), key_hsm: z.string() }) }),
  }),
});
const wrappedSchema = z.object({ ciphertext: z.string() });

export interface AzureOptions {
  /** The vault or managed HSM; `apiKey` is the access token by which it is asked. */
  readonly service: KeyService;
  /** A token of Microsoft Azure Attestation whose claims carry this RSA public key. */
  readonly attest: (publicKey: {
    readonly kty: 'RSA';
    readonly n: string;
    readonly e: string;
  }) => Promise<string>;
  /** Makes the RSA key of one request, of 3072 bits; a fresh one each time by default. */
  readonly makeKey?: () => Promise<RsaKeyPair>;
}

/**
 * Gets a key by secure key release of Azure Key Vault or Managed HSM: `name/version`. The vault judges the token under
 * the release policy of the key and wraps the key to the RSA key in the token, which is made for this one request.
 * That the answer is the vault's rests on TLS: its JWS is read, and its signature not judged.
 *
 * An `oct-HSM` key is the wrapping key itself and comes as it is (`wrapping`); an RSA key has encrypted the data key
 * by RSA-OAEP with SHA-256, and never leaves this function (`dataKey`).
 */
export async function askAzure(
  { service, attest, makeKey = () => makeRsaKeyPair(MODULUS_BITS) }: AzureOptions,
  keyName: string,
  wrapped: Uint8Array,
): Promise<{ readonly wrapping: Uint8Array } | { readonly dataKey: Uint8Array }> {
  if (!KEY_NAME.test(keyName)) throw new ReleaseError('REFUSED', 'a key of Azure is named name/version');
  const { publicKey, privateKey } = await makeKey();
  const { n = '', e = '' } = publicKey.export({ format: 'jwk' });
  const target = await attest({ kty: 'RSA', n, e });
  requireOwn(target, n);
  const nonce = randomBytes(NONCE_BYTES).toString('base64url');
  const { body } = await exchange(service, {
    method: 'POST',
    path: `/keys/${keyName}/release?api-version=${API_VERSION}`,
    contentType: 'application/json',
    body: utf8(JSON.stringify({ target, enc: ENCRYPTION, nonce })),
    maxBytes: MAX_ANSWER_BYTES,
  });
  const material = unwrap(readKey(body, { nonce, keyName }), privateKey);
  if (material.length === KEY_BYTES) return { wrapping: material };
  try {
    return { dataKey: decryptDataKey(material, wrapped) };
  } finally {
    material.fill(0);
  }
}

/** A token is only good for us where it carries the key of this request: anything else would release to another. */
function requireOwn(token: string, modulus: string): void {
  const [, payload] = JWT.exec(token) ?? [];
  const holds = (value: unknown): boolean =>
    typeof value === 'object' && value !== null
      ? Object.entries(value).some(([name, item]) => (name === 'n' && item === modulus) || holds(item))
      : false;
  if (payload !== undefined && holds(readJson(bytesOf(payload), 'the token'))) return;
  throw new ReleaseError(
    'ATTESTATION_FAILED',
    'the attestation token does not carry the key of this request',
  );
}

/** The wrapped key of the answer to this very request. */
function readKey(body: Uint8Array, asked: { readonly nonce: string; readonly keyName: string }): Uint8Array {
  const answer = answerSchema.safeParse(readJson(body, 'the answer'));
  const payload = answer.success ? JWT.exec(answer.data.value)?.[1] : undefined;
  if (payload === undefined) throw malformed('is no JWS');
  const parsed = payloadSchema.safeParse(readJson(bytesOf(payload), 'the released key'));
  if (!parsed.success) throw malformed('has another form');
  const { request, response } = parsed.data;
  const { kid, key_hsm: keyHsm } = response.key.key;
  if (
    request.nonce !== asked.nonce ||
    request.enc !== ENCRYPTION ||
    !kid.endsWith(`/keys/${asked.keyName}`)
  ) {
    throw new ReleaseError('NOT_FOR_US', 'the answer is to another request');
  }
  const wrapped = wrappedSchema.safeParse(readJson(bytesOf(keyHsm), 'the wrapped key'));
  if (!wrapped.success) throw malformed('has no wrapped key');
  return bytesOf(wrapped.data.ciphertext);
}

/** CKM_RSA_AES_KEY_WRAP of PKCS #11: an AES key under RSA-OAEP, then the key material under RFC 5649. */
function unwrap(ciphertext: Uint8Array, privateKey: KeyObject): Uint8Array {
  const split = MODULUS_BITS / 8;
  if (ciphertext.length < split + 16) throw malformed('has a wrapped key that is too short');
  const aesKey = decryptOaep(privateKey, ciphertext.subarray(0, split));
  if (aesKey.length !== KEY_BYTES) throw malformed('has an AES key of another length');
  try {
    const decipher = createDecipheriv('id-aes256-wrap-pad', aesKey, WRAP_IV);
    return Uint8Array.from(Buffer.concat([decipher.update(ciphertext.subarray(split)), decipher.final()]));
  } catch {
    throw new ReleaseError('NOT_FOR_US', 'the key material does not unwrap');
  } finally {
    aesKey.fill(0);
  }
}

function decryptDataKey(material: Uint8Array, wrapped: Uint8Array): Uint8Array {
  const dataKey = decryptOaep(readPrivateKey(material), wrapped);
  if (dataKey.length === KEY_BYTES) return Uint8Array.from(dataKey);
  throw malformed('has a key that does not open a data key');
}

function readPrivateKey(material: Uint8Array): KeyObject {
  try {
    const key = createPrivateKey({ key: Buffer.from(material), format: 'der', type: 'pkcs8' });
    if (key.asymmetricKeyType === 'rsa') return key;
  } catch {
    // What is no key is refused below, and the reason of the library says nothing more.
  }
  throw malformed('has a key that is neither 32 bytes nor an RSA key');
}

function decryptOaep(key: KeyObject, ciphertext: Uint8Array): Buffer {
  try {
    return privateDecrypt({ key, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' }, ciphertext);
  } catch {
    throw new ReleaseError('NOT_FOR_US', 'the wrapped key is for another key');
  }
}

function bytesOf(text: string): Uint8Array {
  try {
    return fromBase64Url(text);
  } catch (error) {
    if (error instanceof Refusal) throw malformed('has a member that is not base64url');
    throw error;
  }
}

function malformed(why: string): ReleaseError {
  return new ReleaseError('BAD_ANSWER', `the answer of the vault ${why}`);
}
