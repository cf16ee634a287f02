import { HkdfSha256 } from '@hpke/core';
import { concat } from '../bytes/bytes.ts';
import type { CryptoProvider } from '../crypto/provider.ts';

const HASH_BYTES = 32;
/** RFC 5869 section 2.3. */
const MOST_BLOCKS = 255;

type Bytes = ArrayBufferLike | ArrayBufferView;

/**
 * HKDF-SHA256 (RFC 5869) for the HPKE library, over the HMAC of a crypto provider. HPKE takes some fourteen of them for
 * one request: the library's own go to WebCrypto and back for each, which costs more than all the rest.
 */
export class HmacHkdf extends HkdfSha256 {
  readonly #hmac: (key: Uint8Array, data: Uint8Array) => Uint8Array;

  constructor({ hmacSha256 }: Pick<CryptoProvider, 'hmacSha256'>) {
    super();
    this.#hmac = hmacSha256;
  }

  override extract(salt: Bytes, ikm: Bytes): Promise<ArrayBuffer> {
    return Promise.resolve(owned(this.#extract(viewOf(salt), viewOf(ikm))));
  }

  override expand(prk: Bytes, info: Bytes, length: number): Promise<ArrayBuffer> {
    return Promise.resolve(owned(this.#expand(viewOf(prk), viewOf(info), length)));
  }

  override extractAndExpand(salt: Bytes, ikm: Bytes, info: Bytes, length: number): Promise<ArrayBuffer> {
    const prk = this.#extract(viewOf(salt), viewOf(ikm));
    return Promise.resolve(owned(this.#expand(prk, viewOf(info), length)));
  }

  #extract(salt: Uint8Array, ikm: Uint8Array): Uint8Array {
    return this.#hmac(salt.length === 0 ? new Uint8Array(HASH_BYTES) : salt, ikm);
  }

  #expand(prk: Uint8Array, info: Uint8Array, length: number): Uint8Array {
    const blocks = Math.ceil(length / HASH_BYTES);
    if (blocks > MOST_BLOCKS) throw new RangeError('HKDF gives at most 8,160 bytes');
    const made: Uint8Array[] = [];
    for (let i = 1; i <= blocks; i++) {
      made.push(this.#hmac(prk, concat(made.at(-1) ?? new Uint8Array(0), info, Uint8Array.of(i))));
    }
    return concat(...made).subarray(0, length);
  }
}

function viewOf(bytes: Bytes): Uint8Array {
  return ArrayBuffer.isView(bytes)
    ? new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    : new Uint8Array(bytes);
}

/** Bytes as a buffer of their own: the library takes all of a buffer for its content. */
function owned(bytes: Uint8Array): ArrayBuffer {
  return new Uint8Array(bytes).buffer;
}
