import { createCipheriv, createDecipheriv, hkdfSync } from 'node:crypto';
import { encodeDc } from '../../../attestation/cbor/deterministic.ts';
import { FileRefused } from '../errors.ts';
import type { SealedFile } from './header.ts';

const LABEL = 'vouchsafe/sealed-file/1';
const CIPHER = 'aes-256-gcm';
export const DATA_KEY_BYTES = 32;
const KEY_BYTES = 32;
const PREFIX_BYTES = 7;
/** Prefix, a counter of four bytes, and one byte that marks the last chunk. */
const NONCE_BYTES = 12;
export const TAG_BYTES = 16;

/** Chunks of a file: an empty file has one that is empty. */
export function chunkCount(size: number, chunkBytes: number): number {
  return Math.max(1, Math.ceil(size / chunkBytes));
}

/** Bytes of the sealed file. */
export function sealedSize(size: number, chunkBytes: number): number {
  return size + TAG_BYTES * chunkCount(size, chunkBytes);
}

/**
 * The chunks of one file, by the STREAM construction (Hoang, Reyhanitabar, Rogaway and Vizár, «Online
 * Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance», 2015): AES-256-GCM with the nonce
 * `prefix || counter || last`. Key and prefix come from the data key by HKDF-SHA256 with the digest of the contents
 * as salt, so that no key meets one nonce twice: that digest holds 16 bytes that are random in each sealing.
 */
export class FileCipher {
  readonly #key: Uint8Array;
  readonly #prefix: Uint8Array;
  readonly #aad: Uint8Array;
  readonly #last: number;

  constructor(
    dataKey: Uint8Array,
    digest: Uint8Array,
    { path, role, size }: SealedFile,
    chunkBytes: number,
  ) {
    if (dataKey.length !== DATA_KEY_BYTES) throw new FileRefused('SEALED_REFUSED', 'the data key is not 32 bytes');
    this.#aad = encodeDc([LABEL, digest, path, role, size]);
    const derived = new Uint8Array(
      hkdfSync('sha256', dataKey, digest, this.#aad, KEY_BYTES + PREFIX_BYTES),
    );
    this.#key = derived.subarray(0, KEY_BYTES);
    this.#prefix = derived.subarray(KEY_BYTES);
    this.#last = chunkCount(size, chunkBytes) - 1;
  }

  /** Ciphertext and tag. */
  seal(chunk: Uint8Array, index: number): Uint8Array {
    const cipher = createCipheriv(CIPHER, this.#key, this.#nonce(index), { authTagLength: TAG_BYTES });
    cipher.setAAD(this.#aad);
    return Buffer.concat([cipher.update(chunk), cipher.final(), cipher.getAuthTag()]);
  }

  /** Writes the plaintext to the beginning of `target` once it is known to be genuine. */
  open(sealed: Uint8Array, index: number, target: Uint8Array): void {
    const end = sealed.length - TAG_BYTES;
    if (end < 0) throw refused(index);
    const decipher = createDecipheriv(CIPHER, this.#key, this.#nonce(index), { authTagLength: TAG_BYTES });
    decipher.setAAD(this.#aad);
    decipher.setAuthTag(sealed.subarray(end));
    const plaintext = decipher.update(sealed.subarray(0, end));
    try {
      decipher.final();
      target.set(plaintext);
    } catch {
      throw refused(index);
    } finally {
      plaintext.fill(0);
    }
  }

  /** Forgets the key. */
  forget(): void {
    this.#key.fill(0);
  }

  #nonce(index: number): Uint8Array {
    const nonce = new Uint8Array(NONCE_BYTES);
    nonce.set(this.#prefix);
    new DataView(nonce.buffer).setUint32(PREFIX_BYTES, index);
    nonce[NONCE_BYTES - 1] = index === this.#last ? 1 : 0;
    return nonce;
  }
}

function refused(index: number): FileRefused {
  return new FileRefused('SEALED_REFUSED', `chunk ${index} does not open with this data key`);
}
