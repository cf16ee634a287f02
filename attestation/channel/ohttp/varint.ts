import type { ByteReader } from '../../bytes/reader.ts';
import { Refusal } from '../../errors.ts';

/** Largest value that 1, 2 and 4 bytes hold. */
const [ONE, TWO, FOUR] = [0x3f, 0x3fff, 0x3fffffff];

/** Length of a variable-length integer of QUIC (RFC 9000 section 16) by its first byte: 1, 2, 4 or 8 bytes. */
export function varintLength(first: number): number {
  return 1 << (first >> 6);
}

/** The next integer. More bytes than it needs are allowed; more than 2^53-1 is refused as `MALFORMED`. */
export function readVarint(reader: ByteReader): number {
  const first = reader.u8();
  let value = first & ONE;
  for (let rest = varintLength(first) - 1; rest > 0; rest--) value = value * 256 + reader.u8();
  if (!Number.isSafeInteger(value)) throw new Refusal('MALFORMED', 'an integer is larger than 2^53-1');
  return value;
}

/** The shortest form of an integer from 0 to 2^53-1. */
export function encodeVarint(value: number): Uint8Array {
  if (!Number.isSafeInteger(value) || value < 0) throw new RangeError('no integer from 0 to 2^53-1');
  if (value <= ONE) return Uint8Array.of(value);
  const length = value <= TWO ? 2 : value <= FOUR ? 4 : 8;
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  if (length === 2) view.setUint16(0, value | 0x4000);
  else if (length === 4) view.setUint32(0, (value | 0x80000000) >>> 0);
  else view.setBigUint64(0, BigInt(value) | 0xc000000000000000n);
  return bytes;
}
