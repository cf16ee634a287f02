import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto';
import { concat } from '../../attestation/bytes/bytes.ts';
import { encodeDc } from '../../attestation/cbor/deterministic.ts';
import { ArchiveError } from './errors.ts';

const ALGORITHM = 'aes-256-gcm';
const KEY_BYTES = 32;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const KEY_ID_BYTES = 8;

const CONTENT_LABEL = 'vouchsafe/archive-content/1';
const WRAP_LABEL = 'vouchsafe/archive-key/1';
const ID_LABEL = 'vouchsafe/archive-key-id/1';

/** One record under a key of its own. Without `wrapped` nothing opens `sealed`, in whatever copy it lies. */
export interface Envelope {
  /** Nonce (12), ciphertext, tag (16), under the data key. */
  readonly sealed: Uint8Array;
  /** Nonce (12), data key encrypted under the archive key (32), tag (16). */
  readonly wrapped: Uint8Array;
}

/** The key of the archive, which wraps the keys of records. */
export class ArchiveKey {
  /** Tells one archive key from another; says nothing of it. */
  readonly id: Uint8Array;
  readonly #key: Uint8Array;

  constructor(key: Uint8Array) {
    if (key.length !== KEY_BYTES) {
      throw new ArchiveError('CONTENT_KEY_MISSING', `archive.contentKey has ${key.length} bytes, not 32`);
    }
    this.#key = key;
    this.id = createHash('sha256')
      .update(encodeDc([ID_LABEL, key]))
      .digest()
      .subarray(0, KEY_ID_BYTES);
  }

  /** From hex or base64. */
  static parse(text: string): ArchiveKey {
    return new ArchiveKey(Buffer.from(text, /^[0-9a-f]{64}$/i.test(text) ? 'hex' : 'base64'));
  }

  /** Encrypts a record under a fresh data key; both are bound to the receipt. */
  seal(receipt: Uint8Array, content: Uint8Array): Envelope {
    const dataKey = randomBytes(KEY_BYTES);
    const sealed = encrypt(dataKey, encodeDc([CONTENT_LABEL, receipt]), content);
    const wrapped = encrypt(this.#key, encodeDc([WRAP_LABEL, receipt]), dataKey);
    dataKey.fill(0);
    return { sealed, wrapped };
  }

  /** Throws `CONTENT_KEY_WRONG` where anything is not as `seal` made it. */
  open(receipt: Uint8Array, { sealed, wrapped }: Envelope): Uint8Array {
    const dataKey = decrypt(this.#key, encodeDc([WRAP_LABEL, receipt]), wrapped);
    return decrypt(dataKey, encodeDc([CONTENT_LABEL, receipt]), sealed);
  }
}

function encrypt(key: Uint8Array, bound: Uint8Array, plain: Uint8Array): Uint8Array {
  const nonce = randomBytes(NONCE_BYTES);
  const cipher = createCipheriv(ALGORITHM, key, nonce);
  cipher.setAAD(bound);
  return concat(nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag());
}

function decrypt(key: Uint8Array, bound: Uint8Array, sealed: Uint8Array): Uint8Array {
  if (sealed.length < NONCE_BYTES + TAG_BYTES) throw wrong();
  const decipher = createDecipheriv(ALGORITHM, key, sealed.subarray(0, NONCE_BYTES), {
    authTagLength: TAG_BYTES,
  });
  decipher.setAAD(bound);
  decipher.setAuthTag(sealed.subarray(sealed.length - TAG_BYTES));
  const body = sealed.subarray(NONCE_BYTES, sealed.length - TAG_BYTES);
  try {
    return concat(decipher.update(body), decipher.final());
  } catch (error) {
    throw wrong(error);
  }
}

function wrong(cause?: unknown): ArchiveError {
  return new ArchiveError('CONTENT_KEY_WRONG', 'the content does not open', cause);
}
