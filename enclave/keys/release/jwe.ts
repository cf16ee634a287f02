import { constants, createDecipheriv, type KeyObject, privateDecrypt } from 'node:crypto';
import { z } from 'zod';
import { fromBase64Url, utf8 } from '../../../attestation/bytes/bytes.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { ReleaseError } from './errors.ts';
import { readJson } from './exchange.ts';

const CONTENT_KEY_BYTES = 32;
const IV_BYTES = 12;
const TAG_BYTES = 16;

const jweSchema = z.strictObject({
  protected: z.string(),
  encrypted_key: z.string(),
  aad: z.string().optional(),
  iv: z.string(),
  ciphertext: z.string(),
  tag: z.string(),
});
/** Closed: `zip`, `crit` and every other algorithm are refused, and none is chosen by who answers. */
const headerSchema = z.strictObject({ alg: z.literal('RSA-OAEP-256'), enc: z.literal('A256GCM') });

/** Opens a flattened JWE (RFC 7516 section 7.2.2) with RSA-OAEP-256 and A256GCM. */
export function openJwe(value: unknown, privateKey: KeyObject): Uint8Array {
  const parsed = jweSchema.safeParse(value);
  if (!parsed.success) throw malformed('is no flattened JWE');
  const jwe = parsed.data;
  if (!headerSchema.safeParse(readJson(bytesOf(jwe.protected), 'the header of the JWE')).success) {
    throw malformed('has another algorithm than RSA-OAEP-256 with A256GCM');
  }
  const [iv, tag] = [bytesOf(jwe.iv), bytesOf(jwe.tag)];
  if (iv.length !== IV_BYTES || tag.length !== TAG_BYTES)
    throw malformed('has an iv or a tag of another length');
  const contentKey = unwrap(bytesOf(jwe.encrypted_key), privateKey);
  const decipher = createDecipheriv('aes-256-gcm', contentKey, iv, { authTagLength: TAG_BYTES });
  decipher.setAAD(utf8(jwe.aad === undefined ? jwe.protected : `${jwe.protected}.${jwe.aad}`));
  decipher.setAuthTag(tag);
  const opened = decipher.update(bytesOf(jwe.ciphertext));
  try {
    decipher.final();
    return Uint8Array.from(opened);
  } catch {
    throw new ReleaseError('NOT_FOR_US', 'the JWE does not open');
  } finally {
    opened.fill(0);
    contentKey.fill(0);
  }
}

function unwrap(encrypted: Uint8Array, privateKey: KeyObject): Uint8Array {
  let key: Buffer;
  try {
    key = privateDecrypt(
      { key: privateKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' },
      encrypted,
    );
  } catch {
    throw new ReleaseError('NOT_FOR_US', 'the JWE is for another key');
  }
  if (key.length !== CONTENT_KEY_BYTES) throw malformed('has a content key of another length');
  return key;
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
  return new ReleaseError('BAD_ANSWER', `the answer ${why}`);
}
