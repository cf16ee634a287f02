import { ServiceError } from '../http/errors.ts';

/** Wire types of proto3. The types 3 and 4, groups, are none of them. */
export const WIRE = { varint: 0, fixed64: 1, bytes: 2, fixed32: 5 } as const;

/** What comes before a value: field number and wire type. */
export interface Field {
  readonly number: number;
  readonly type: number;
}

const UTF8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Reads one protobuf message. Stricter than the libraries, which drop fields that they do not know, take the last of
 * two values and replace what is no UTF-8: the receipt would then commit to bytes that were read as something else.
 */
export class WireReader {
  readonly #bytes: Uint8Array;
  /** Name of the message in refusals. */
  readonly #message: string;
  #offset = 0;
  /** Halves of the last varint, unsigned. */
  low = 0;
  high = 0;

  constructor(bytes: Uint8Array, message: string) {
    this.#bytes = bytes;
    this.#message = message;
  }

  get left(): number {
    return this.#bytes.length - this.#offset;
  }

  /** The next field; undefined at the end of the message. */
  field(): Field | undefined {
    if (this.left === 0) return undefined;
    this.varint();
    const number = this.low >>> 3;
    if (this.high !== 0 || number === 0) throw this.malformed('a field number is out of range');
    return { number, type: this.low & 7 };
  }

  /** Base 128, at most ten bytes and 64 bits. */
  varint(): void {
    let low = 0;
    let high = 0;
    for (let shift = 0; shift <= 63; shift += 7) {
      const byte = this.#bytes[this.#offset++];
      if (byte === undefined) throw this.malformed('a number passes its end');
      const bits = byte & 0x7f;
      if (shift < 32) low |= bits << shift;
      if (shift > 28) high |= bits << (shift - 32);
      else if (shift === 28) high |= bits >>> 4;
      if (byte > 0x7f) continue;
      if (shift === 63 && bits > 1) break;
      this.low = low >>> 0;
      this.high = high >>> 0;
      return;
    }
    throw this.malformed('a number has more than 64 bits');
  }

  /** Bytes of a fixed length. */
  take(length: number): Uint8Array {
    if (length > this.left) throw this.malformed('a value passes its end');
    this.#offset += length;
    return this.#bytes.subarray(this.#offset - length, this.#offset);
  }

  /** The value of a field that has a length: bytes, text, a message or a packed list. */
  bytes(field: Field): Uint8Array {
    this.expect(field, WIRE.bytes);
    this.varint();
    return this.take(this.high * 2 ** 32 + this.low);
  }

  text(field: Field): string {
    try {
      return UTF8.decode(this.bytes(field));
    } catch (error) {
      if (error instanceof ServiceError) throw error;
      throw this.malformed(`field ${field.number} is no UTF-8`);
    }
  }

  expect({ number, type }: Field, wanted: number): void {
    if (type !== wanted) throw this.malformed(`field ${number} has the wire type ${type}`);
  }

  malformed(reason: string): ServiceError {
    return new ServiceError('BODY_INVALID', `${this.#message}: ${reason}`);
  }
}

/**
 * Reads every field of a message with `read`, which says false where it does not know the field: that is refused, as
 * is a second value of a field in `singular`.
 */
export function readFields(
  bytes: Uint8Array,
  message: string,
  singular: readonly number[],
  read: (field: Field, reader: WireReader) => boolean,
): void {
  const reader = new WireReader(bytes, message);
  const seen = new Set<number>();
  for (let field = reader.field(); field; field = reader.field()) {
    const { number } = field;
    if (singular.includes(number)) {
      if (seen.has(number)) throw reader.malformed(`field ${number} is given twice`);
      seen.add(number);
    }
    if (!read(field, reader)) throw reader.malformed(`there is no field ${number}`);
  }
}

/** Bytes of a varint. */
export function varintSize(low: number, high: number): number {
  const bits = high === 0 ? 32 - Math.clz32(low) : 64 - Math.clz32(high);
  return Math.max(1, Math.ceil(bits / 7));
}

/** Writes a varint and returns where it ends. */
export function writeVarint(into: Uint8Array, offset: number, low: number, high: number): number {
  let at = offset;
  let [lower, upper] = [low >>> 0, high >>> 0];
  while (upper > 0 || lower > 0x7f) {
    into[at++] = (lower & 0x7f) | 0x80;
    lower = ((lower >>> 7) | (upper << 25)) >>> 0;
    upper >>>= 7;
  }
  into[at++] = lower;
  return at;
}

/** A field that has a length, as the parts of a message. */
export function lengthField(number: number, ...value: readonly Uint8Array[]): readonly Uint8Array[] {
  const length = value.reduce((sum, { length: bytes }) => sum + bytes, 0);
  const head = new Uint8Array(10);
  const end = writeVarint(head, writeVarint(head, 0, (number << 3) | WIRE.bytes, 0), length, 0);
  return [head.subarray(0, end), ...value];
}

/** A field of text; nothing where it is empty, which is the default of proto3. */
export function textField(number: number, text: string): readonly Uint8Array[] {
  return text === '' ? [] : lengthField(number, Buffer.from(text));
}
