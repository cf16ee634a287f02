import type { ByteReader } from '../../bytes/reader.ts';
import type { HashName } from '../../crypto/provider.ts';
import { Refusal } from '../../errors.ts';

/** TPM_ALG_ID values (TPM 2.0 Library part 2, section 6.3, and the TCG Algorithm Registry). */
export const ALG = {
  rsa: 0x0001,
  null: 0x0010,
  rsassa: 0x0014,
  rsaes: 0x0015,
  rsapss: 0x0016,
  ecdsa: 0x0018,
  ecdaa: 0x001a,
  ecc: 0x0023,
} as const;

const HASHES: ReadonlyMap<number, HashName> = new Map([
  [0x0004, 'sha1'],
  [0x000b, 'sha256'],
  [0x000c, 'sha384'],
  [0x000d, 'sha512'],
]);

/** Length of a digest in bytes. */
export const HASH_BYTES: Readonly<Record<HashName, number>> = {
  sha1: 20,
  sha256: 32,
  sha384: 48,
  sha512: 64,
};

/** The hash of a TPM_ALG_ID; SM3, SHA-3 and unknown ones are refused as `UNSUPPORTED`. */
export function hashOf(algorithm: number, what: string): HashName {
  const hash = HASHES.get(algorithm);
  if (!hash) throw new Refusal('UNSUPPORTED', `${what} names hash algorithm ${hexId(algorithm)}`);
  return hash;
}

export function readHash(reader: ByteReader, what: string): HashName {
  return hashOf(reader.u16be(), what);
}

/** Content of a TPM2B structure: a size of two bytes, then as many bytes. */
export function readSized(reader: ByteReader, maximum: number, what: string): Uint8Array {
  const size = reader.u16be();
  if (size > maximum)
    throw new Refusal('MALFORMED', `${what} has ${size} bytes, at most ${maximum} are allowed`);
  return reader.take(size);
}

/** `0x0018`: an identifier as the specification writes it. */
export function hexId(value: number): string {
  return `0x${value.toString(16).padStart(4, '0')}`;
}
