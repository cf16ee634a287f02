import { concat, equalBytes } from '../../../attestation/bytes/bytes.ts';
import { ByteReader } from '../../../attestation/bytes/reader.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { HASH_BYTES } from '../../../attestation/evidence/tpm/algorithms.ts';
import { u16be, u32be } from './command.ts';

/** Banks that evidence is made of; SHA-1 proves no log. */
export type PcrHash = 'sha256' | 'sha384' | 'sha512';

/** TPM_ALG_ID (part 2, section 6.3). */
export const HASH_ID: Readonly<Record<PcrHash, number>> = { sha256: 0x000b, sha384: 0x000c, sha512: 0x000d };
/** Platforms have 24 registers: three bytes select them. */
const SELECT_BYTES = 3;
/** TPML_DIGEST holds no more. */
const MAX_DIGESTS = 8;

export interface Registers {
  readonly hash: PcrHash;
  /** Ascending, each below 24. */
  readonly pcrs: readonly number[];
}

/** TPML_PCR_SELECTION with one bank (part 2, section 10.9.7): bit b of byte i selects PCR 8i + b. */
export function encodeSelection({ hash, pcrs }: Registers): Uint8Array {
  const bits = new Uint8Array(SELECT_BYTES);
  for (const index of pcrs) bits[index >> 3] = (bits[index >> 3] ?? 0) | (1 << (index & 7));
  return concat(u32be(1), u16be(HASH_ID[hash]), Uint8Array.of(SELECT_BYTES), bits);
}

/**
 * Values in the parameters of a response to `TPM2_PCR_Read`: a counter, the selection of those that are there, which
 * must be among the registers asked for, and up to eight digests in ascending order.
 */
export function parsePcrValues(parameters: Uint8Array, asked: Registers): ReadonlyMap<number, Uint8Array> {
  const reader = new ByteReader(parameters, 'PCR values');
  reader.u32be();
  const indices = readSelection(reader, asked);
  const count = reader.u32be();
  if (count > MAX_DIGESTS || count !== indices.length) {
    throw new Refusal('MALFORMED', `${count} values for ${indices.length} registers`);
  }
  const values = new Map<number, Uint8Array>();
  for (const index of indices) {
    const size = reader.u16be();
    if (size !== HASH_BYTES[asked.hash]) {
      throw new Refusal('MALFORMED', `PCR ${index} of the ${asked.hash} bank has ${size} bytes`);
    }
    values.set(index, reader.take(size));
  }
  reader.end();
  return values;
}

/** The registers of our one bank that the response has. */
function readSelection(reader: ByteReader, { hash, pcrs }: Registers): readonly number[] {
  if (reader.u32be() !== 1) throw new Refusal('MALFORMED', 'the selection does not name one bank');
  const bank = reader.u16be();
  if (bank !== HASH_ID[hash]) throw new Refusal('MALFORMED', `the selection names bank ${bank}`);
  const size = reader.u8();
  if (size > SELECT_BYTES) throw new Refusal('MALFORMED', `the selection has ${size} bytes`);
  const bits = reader.take(size);
  const selected = pcrs.filter((index) => ((bits[index >> 3] ?? 0) >> (index & 7)) & 1);
  const padded = concat(bits, new Uint8Array(SELECT_BYTES - size));
  if (!equalBytes(encodeSelection({ hash, pcrs: selected }).subarray(-SELECT_BYTES), padded)) {
    throw new Refusal('MALFORMED', 'the selection names registers that were not asked for');
  }
  return selected;
}
