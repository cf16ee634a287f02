import { type CryptoKey, errors, flattenedDecrypt } from 'jose';
import { z } from 'zod';
import { fromBase64Url } from '../../../attestation/bytes/bytes.ts';
import { ReleaseError } from './errors.ts';

/** Closed, since the library takes bits that base64url leaves over and headers that nothing authenticates. */
const base64Url = z.string().refine((text) => {
  try {
    return fromBase64Url(text).length >= 0;
  } catch {
    return false;
  }
});
const jweSchema = z.strictObject({
  protected: base64Url,
  encrypted_key: base64Url,
  aad: base64Url.optional(),
  iv: base64Url,
  ciphertext: base64Url,
  tag: base64Url,
});

/** Opens a flattened JWE (RFC 7516 section 7.2.2) with RSA-OAEP-256 and A256GCM, and with nothing else. */
export async function openJwe(value: unknown, privateKey: CryptoKey): Promise<Uint8Array> {
  const parsed = jweSchema.safeParse(value);
  if (!parsed.success) throw new ReleaseError('BAD_ANSWER', 'the answer is no flattened JWE');
  const { aad, ...jwe } = parsed.data;
  try {
    const { plaintext } = await flattenedDecrypt(aad === undefined ? jwe : { ...jwe, aad }, privateKey, {
      keyManagementAlgorithms: ['RSA-OAEP-256'],
      contentEncryptionAlgorithms: ['A256GCM'],
      // No compression.
      maxDecompressedLength: 0,
    });
    return plaintext;
  } catch (error) {
    if (error instanceof errors.JWEDecryptionFailed) {
      throw new ReleaseError('NOT_FOR_US', 'the JWE is for another key, or was changed', { cause: error });
    }
    if (error instanceof errors.JOSEError) {
      throw new ReleaseError('BAD_ANSWER', `the answer is no JWE that is taken here: ${error.code}`, {
        cause: error,
      });
    }
    throw error;
  }
}
