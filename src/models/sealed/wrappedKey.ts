import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { encodeDc } from '../../../attestation/cbor/deterministic.ts';
import { FileRefused } from '../errors.ts';
import { DATA_KEY_BYTES } from './chunks.ts';

const LABEL = 'vouchsafe/wrapped-key/1';
const CIPHER = 'aes-256-gcm';
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const WRAPPED_BYTES = NONCE_BYTES + DATA_KEY_BYTES + TAG_BYTES;
const HEX = /^[0-9a-fA-F]{64}$/;

/** 32 bytes of a key file: as they are, or as 64 hex digits with or without the end of the line. */
export function parseKeyFile(bytes: Uint8Array): Uint8Array {
  if (bytes.length === DATA_KEY_BYTES) return Uint8Array.from(bytes);
  const text = Buffer.from(bytes).toString('latin1').replace(/\r?\n$/, '');
  if (HEX.test(text)) return Uint8Array.from(Buffer.from(text, 'hex'));
  throw new FileRefused('KEY_MALFORMED', 'is neither 32 bytes nor 64 hex digits');
}

/**
 * `nonce || ciphertext || tag` of AES-256-GCM, with `dc(["vouchsafe/wrapped-key/1", name])` as additional data: a key
 * that one name wraps is not taken for one of another, whatever policy stands behind that.
 */
export function wrapDataKey(wrapping: Uint8Array, name: string, dataKey: Uint8Array): Uint8Array {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(CIPHER, wrapping, nonce, { authTagLength: TAG_BYTES });
  cipher.setAAD(encodeDc([LABEL, name]));
  return Buffer.concat([nonce, cipher.update(dataKey), cipher.final(), cipher.getAuthTag()]);
}

/** The data key. Refuses as `SEALED_REFUSED` what another key wrapped, or the same one under another name. */
export function unwrapDataKey(wrapping: Uint8Array, name: string, wrapped: Uint8Array): Uint8Array {
  if (wrapping.length !== DATA_KEY_BYTES || wrapped.length !== WRAPPED_BYTES) {
    throw new FileRefused('SEALED_REFUSED', 'the wrapped data key is not of the length of one');
  }
  const end = WRAPPED_BYTES - TAG_BYTES;
  const decipher = createDecipheriv(CIPHER, wrapping, wrapped.subarray(0, NONCE_BYTES), {
    authTagLength: TAG_BYTES,
  });
  decipher.setAAD(encodeDc([LABEL, name]));
  decipher.setAuthTag(wrapped.subarray(end));
  const dataKey = decipher.update(wrapped.subarray(NONCE_BYTES, end));
  try {
    decipher.final();
    return Uint8Array.from(dataKey);
  } catch {
    throw new FileRefused('SEALED_REFUSED', 'the data key was wrapped by another key, or under another name');
  } finally {
    dataKey.fill(0);
  }
}
