import type { Datatype, TensorData } from '../engine/engine.ts';
import { ServiceError } from '../http/errors.ts';
import { ARRAYS, readText } from '../http/tensorBinary.ts';
import { type Field, lengthField, readFields, varintSize, WIRE, WireReader, writeVarint } from './wire.ts';

/** Datatypes that have typed contents: FP16 is raw always. */
type TypedDatatype = Exclude<Datatype, 'FP16'>;

/** Field of `InferTensorContents` that holds each datatype. */
const FIELDS: Readonly<Record<TypedDatatype, number>> = {
  BOOL: 1,
  INT8: 2,
  INT16: 2,
  INT32: 2,
  INT64: 3,
  UINT8: 4,
  UINT16: 4,
  UINT32: 4,
  UINT64: 5,
  FP32: 6,
  FP64: 7,
  BYTES: 8,
};

/** Bounds of the datatypes that are varints of up to 32 bits. */
const RANGES: Partial<Record<Datatype, readonly [number, number]>> = {
  BOOL: [0, 1],
  INT8: [-0x80, 0x7f],
  INT16: [-0x8000, 0x7fff],
  INT32: [-0x8000_0000, 0x7fff_ffff],
  UINT8: [0, 0xff],
  UINT16: [0, 0xffff],
  UINT32: [0, 0xffff_ffff],
};

type Numbers = Exclude<TensorData, readonly string[]>;

/** The typed values of one input; refused unless they are as many as its shape has elements. */
export function readContents(
  name: string,
  datatype: Datatype,
  elements: number,
  bytes: Uint8Array,
): TensorData {
  if (datatype === 'FP16') {
    throw new ServiceError(
      'DATATYPE_UNSUPPORTED',
      `input ${name}: FP16 has no typed contents, send raw_input_contents`,
      'inputs',
    );
  }
  // Every element takes a byte at least: the shape decides no more memory than was sent.
  if (!(elements <= bytes.length)) throw mismatch(name, elements, 'fewer');
  const known = FIELDS[datatype];
  const values = datatype === 'BYTES' ? new TextValues(name) : new NumberValues(name, datatype, elements);
  readFields(bytes, `contents of input ${name}`, [], (field, reader) => {
    if (field.number !== known) throw invalid(name, `contents holds values of another type than ${datatype}`);
    values.read(field, reader);
    if (values.count > elements) throw mismatch(name, elements, 'more');
    return true;
  });
  if (values.count !== elements) throw mismatch(name, elements, String(values.count));
  return values.data;
}

/** `bytes_contents`: one field for each element. */
class TextValues {
  readonly data: string[] = [];
  readonly #name: string;

  constructor(name: string) {
    this.#name = name;
  }

  get count(): number {
    return this.data.length;
  }

  read(field: Field, reader: WireReader): void {
    this.data.push(readText(this.#name, this.count, reader.bytes(field)));
  }
}

/** Numbers, packed or one by one: parsers of proto3 take both. */
class NumberValues {
  readonly data: Numbers;
  readonly #name: string;
  readonly #datatype: Exclude<TypedDatatype, 'BYTES'>;
  /** Halves of 64-bit integers. The platforms of the runtime are little-endian. */
  readonly #words: Uint32Array;
  count = 0;

  constructor(name: string, datatype: Exclude<TypedDatatype, 'BYTES'>, elements: number) {
    this.#name = name;
    this.#datatype = datatype;
    this.data = new ARRAYS[datatype](elements);
    this.#words = datatype.endsWith('64') ? new Uint32Array(this.data.buffer) : new Uint32Array(0);
  }

  read(field: Field, reader: WireReader): void {
    if (this.#datatype === 'FP32' || this.#datatype === 'FP64') this.#readFloats(field, reader);
    else if (field.type === WIRE.bytes) this.#readPacked(reader.bytes(field));
    else {
      reader.expect(field, WIRE.varint);
      this.#readInteger(reader);
    }
  }

  #readPacked(packed: Uint8Array): void {
    const reader = new WireReader(packed, `contents of input ${this.#name}`);
    while (reader.left > 0) this.#readInteger(reader);
  }

  #readInteger(reader: WireReader): void {
    reader.varint();
    const { low, high } = reader;
    const range = RANGES[this.#datatype];
    if (!range) {
      this.#words[2 * this.count] = low;
      this.#words[2 * this.count + 1] = high;
    } else {
      // An int32 below zero is written as 64 bits.
      const value = high === 0xffff_ffff ? low - 2 ** 32 : high * 2 ** 32 + low;
      if (value < range[0] || value > range[1]) {
        throw invalid(this.#name, `contents holds a number that is no ${this.#datatype}`);
      }
      (this.data as Int32Array)[this.count] = value;
    }
    this.count++;
  }

  #readFloats(field: Field, reader: WireReader): void {
    const size = this.data.BYTES_PER_ELEMENT;
    const isPacked = field.type === WIRE.bytes;
    if (!isPacked) reader.expect(field, size === 4 ? WIRE.fixed32 : WIRE.fixed64);
    const values = isPacked ? reader.bytes(field) : reader.take(size);
    const count = this.count + values.length / size;
    if (!Number.isInteger(count)) throw invalid(this.#name, 'contents holds a part of a number');
    if (count <= this.data.length) new Uint8Array(this.data.buffer).set(values, this.count * size);
    this.count = count;
  }
}

/** The typed values of one output, as `InferTensorContents`. */
export function writeContents(datatype: TypedDatatype, data: TensorData): readonly Uint8Array[] {
  const field = FIELDS[datatype];
  if (datatype === 'BYTES') {
    return (data as readonly string[]).flatMap((text) => lengthField(field, Buffer.from(text)));
  }
  if (data.length === 0) return [];
  const values = data as Numbers;
  const isFloat = datatype === 'FP32' || datatype === 'FP64';
  return lengthField(field, isFloat ? bytesOf(values) : packIntegers(values));
}

function bytesOf({ buffer, byteOffset, byteLength }: Numbers): Uint8Array {
  return new Uint8Array(buffer, byteOffset, byteLength);
}

/** Varints one after the other. */
function packIntegers(values: Numbers): Uint8Array {
  const halves = halvesOf(values);
  let size = 0;
  for (let i = 0; i < halves.length; i += 2) size += varintSize(halves[i] ?? 0, halves[i + 1] ?? 0);
  const packed = new Uint8Array(size);
  let offset = 0;
  for (let i = 0; i < halves.length; i += 2) {
    offset = writeVarint(packed, offset, halves[i] ?? 0, halves[i + 1] ?? 0);
  }
  return packed;
}

/** Low and high half of each number as a 64-bit integer. */
function halvesOf(values: Numbers): Uint32Array {
  if (values instanceof BigInt64Array || values instanceof BigUint64Array) {
    return new Uint32Array(values.buffer, values.byteOffset, 2 * values.length);
  }
  const halves = new Uint32Array(2 * values.length);
  for (const [i, value] of values.entries()) {
    halves[2 * i] = value;
    halves[2 * i + 1] = value < 0 ? 0xffff_ffff : 0;
  }
  return halves;
}

function invalid(name: string, message: string): ServiceError {
  return new ServiceError('INVALID_INPUT', `input ${name}: ${message}`, 'inputs');
}

function mismatch(name: string, elements: number, given: string): ServiceError {
  const message = `input ${name}: the shape has ${elements} elements, contents ${given}`;
  return new ServiceError('SHAPE_MISMATCH', message, 'inputs');
}
