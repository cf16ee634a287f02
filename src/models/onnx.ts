import { FileRefused } from './errors.ts';

/** Newest ONNX IR version that onnxruntime 1.29 loads. */
export const MAX_IR_VERSION = 13;
/** Newest operator set of the domain `ai.onnx` that onnxruntime 1.29 runs. */
export const MAX_OPSET = 26;

/** Most protobuf fields read of one model: a tree ensemble has millions, a hostile file has a billion. */
const MAX_FIELDS = 20_000_000;
/** Deepest nesting of messages: subgraphs within attributes within functions. */
const MAX_DEPTH = 64;
/** Longest text field that is read: names, keys and locations. */
const MAX_TEXT = 4096;

/** Bytes at known offsets: a buffer, or a file through a window. */
export interface ByteSource {
  readonly size: number;
  /** The byte at an offset below `size`. */
  byte(offset: number): number;
  /** Exactly `length` bytes; the caller has checked that they lie within `size`. */
  read(offset: number, length: number): Uint8Array;
}

/** External data of one initializer. */
export interface ExternalData {
  readonly location: string;
  readonly offset: number;
  /** Undefined where the model leaves it to the tensor's type and shape. */
  readonly length: number | undefined;
}

export interface OnnxHeader {
  readonly irVersion: number;
  readonly opsets: ReadonlyMap<string, number>;
  readonly externalData: readonly ExternalData[];
  /** Names of the main graph's inputs. */
  readonly inputs: readonly string[];
  /** Types of all nodes, those of subgraphs and functions among them. */
  readonly operators: ReadonlySet<string>;
}

type Message =
  | 'model'
  | 'opset'
  | 'graph'
  | 'input'
  | 'node'
  | 'attribute'
  | 'tensor'
  | 'sparse'
  | 'entry'
  | 'function'
  | 'training';

/**
 * Field numbers of onnx.proto (IR version 13) that lead to an operator set or a tensor. Everything else is skipped
 * unread, weights above all: `onnx-proto` would decode them into memory a second time.
 */
const CHILDREN: Readonly<Record<Message, ReadonlyMap<number, Message>>> = {
  model: new Map([
    [7, 'graph'],
    [8, 'opset'],
    [20, 'training'],
    [25, 'function'],
  ]),
  graph: new Map([
    [1, 'node'],
    [5, 'tensor'],
    [11, 'input'],
    [15, 'sparse'],
  ]),
  input: new Map(),
  node: new Map([[5, 'attribute']]),
  attribute: new Map([
    [5, 'tensor'],
    [6, 'graph'],
    [10, 'tensor'],
    [11, 'graph'],
    [22, 'sparse'],
    [23, 'sparse'],
  ]),
  sparse: new Map([
    [1, 'tensor'],
    [2, 'tensor'],
  ]),
  function: new Map([
    [7, 'node'],
    [11, 'attribute'],
  ]),
  training: new Map([
    [1, 'graph'],
    [2, 'graph'],
  ]),
  tensor: new Map([[13, 'entry']]),
  opset: new Map(),
  entry: new Map(),
};

/** Largest tag: a field number of 29 bits and a wire type. */
const MAX_TAG = 0xffff_ffff;
/** A byte order mark is part of a name, as it is for the runtime. */
const TEXT = new TextDecoder('utf-8', { ignoreBOM: true });

/** Fields that are a name: of an input, of a node's operator. */
const NAMES: ReadonlyMap<Message, number> = new Map([
  ['input', 1],
  ['node', 4],
]);

/** Depth of the main graph's inputs: model, graph, input. */
const INPUT_DEPTH = 2;
/** Depth of a tensor that is an initializer of the main graph: model, graph, tensor. */
const INITIALIZER_DEPTH = 2;

const malformed = (detail: string): FileRefused => new FileRefused('FILE_MALFORMED', `ONNX: ${detail}`);

/** Reads the header facts of an ONNX model; refuses what is no protobuf, and external data outside the main graph. */
export function readOnnxHeader(source: ByteSource): OnnxHeader {
  const walk = new Walk(source);
  walk.message('model', 0, source.size, 0);
  if (walk.irVersion === undefined) throw malformed('no IR version');
  if (!walk.hasGraph) throw malformed('no graph');
  const { irVersion, opsets, externalData, inputs, operators } = walk;
  return { irVersion, opsets, externalData, inputs, operators };
}

/** Refuses an IR version or operator set that the runtime does not have. */
export function requireSupported(header: OnnxHeader): void {
  if (header.irVersion < 1 || header.irVersion > MAX_IR_VERSION) {
    throw new FileRefused('UNSUPPORTED_IR', `IR version ${header.irVersion}, at most ${MAX_IR_VERSION} is supported`);
  }
  const opset = header.opsets.get('') ?? header.opsets.get('ai.onnx') ?? 1;
  if (opset > MAX_OPSET) {
    throw new FileRefused('UNSUPPORTED_OPSET', `operator set ${opset}, at most ${MAX_OPSET} is supported`);
  }
}

class Walk {
  irVersion: number | undefined;
  hasGraph = false;
  readonly opsets = new Map<string, number>();
  readonly externalData: ExternalData[] = [];
  readonly inputs: string[] = [];
  readonly operators = new Set<string>();
  readonly #source: ByteSource;
  #offset = 0;
  #fields = 0;
  /** Text and integer fields of the open `opset` or `entry`. */
  #texts = new Map<number, string>();
  #version = 0;

  constructor(source: ByteSource) {
    this.#source = source;
  }

  message(kind: Message, start: number, end: number, depth: number): void {
    if (depth > MAX_DEPTH) throw malformed('nested too deeply');
    if (kind === 'graph' && depth === 1) this.hasGraph = true;
    const entries: ReadonlyMap<number, string>[] = [];
    this.#offset = start;
    while (this.#offset < end) this.#field(kind, end, depth, entries);
    if (kind === 'opset') this.#closeOpset();
    if (kind === 'tensor' && entries.length > 0) this.#closeTensor(entries, depth);
  }

  #field(kind: Message, end: number, depth: number, entries: ReadonlyMap<number, string>[]): void {
    this.#fields += 1;
    if (this.#fields > MAX_FIELDS) throw malformed(`more than ${MAX_FIELDS} fields`);
    const tag = this.#varint(end);
    const number = Math.floor(tag / 8);
    // Readers of protobuf cut a longer tag to 32 bits: they would read a field that was skipped here as unknown.
    if (tag > MAX_TAG || number === 0) throw malformed(`a tag that is no field's at offset ${this.#offset}`);
    switch (tag % 8) {
      case 0:
        this.#integer(kind, number, this.#varint(end));
        return;
      case 1:
        this.#skip(8, end);
        return;
      case 2:
        this.#bytes(kind, number, end, depth, entries);
        return;
      case 5:
        this.#skip(4, end);
        return;
      default:
        throw malformed(`wire type ${tag % 8} at offset ${this.#offset}`);
    }
  }

  #bytes(kind: Message, number: number, end: number, depth: number, entries: ReadonlyMap<number, string>[]): void {
    const length = this.#varint(end);
    const start = this.#offset;
    if (length > end - start) throw malformed(`a field of ${length} bytes at offset ${start} passes its end`);
    const child = CHILDREN[kind].get(number);
    if (child) {
      if (child === 'opset' || child === 'entry') this.#texts = new Map();
      if (child === 'opset') this.#version = 0;
      this.message(child, start, start + length, depth + 1);
      if (child === 'entry') entries.push(this.#texts);
    } else if (kind === 'opset' || kind === 'entry') {
      this.#texts.set(number, this.#text(start, length));
    } else if (NAMES.get(kind) === number) {
      const name = this.#text(start, length);
      if (kind === 'node') this.operators.add(name);
      else if (depth === INPUT_DEPTH) this.inputs.push(name);
    }
    this.#offset = start + length;
  }

  #text(start: number, length: number): string {
    if (length > MAX_TEXT) throw malformed(`a text of ${length} bytes`);
    return TEXT.decode(this.#source.read(start, length));
  }

  #integer(kind: Message, number: number, value: number): void {
    if (kind === 'model' && number === 1) this.irVersion = value;
    if (kind === 'opset' && number === 2) this.#version = value;
  }

  #skip(length: number, end: number): void {
    if (length > end - this.#offset) throw malformed('a field passes its end');
    this.#offset += length;
  }

  /** A base-128 varint of at most ten bytes. Values beyond 2^53 lose precision: none that is used may be that large. */
  #varint(end: number): number {
    let value = 0;
    let factor = 1;
    for (let i = 0; i < 10; i++) {
      if (this.#offset >= end) throw malformed('ends inside a number');
      const byte = this.#source.byte(this.#offset);
      this.#offset += 1;
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
      factor *= 128;
    }
    throw malformed('a number of more than ten bytes');
  }

  #closeOpset(): void {
    const domain = this.#texts.get(1) ?? '';
    this.opsets.set(domain, Math.max(this.#version, this.opsets.get(domain) ?? 0));
  }

  #closeTensor(entries: readonly ReadonlyMap<number, string>[], depth: number): void {
    if (depth !== INITIALIZER_DEPTH) {
      throw new FileRefused('EXTERNAL_DATA_UNSUPPORTED', 'external data outside the initializers of the main graph');
    }
    const values = new Map(entries.map((entry) => [entry.get(1) ?? '', entry.get(2) ?? '']));
    if (values.size !== entries.length) throw malformed('external data that names one thing twice');
    const location = values.get('location');
    if (location === undefined) throw malformed('external data without a location');
    const length = values.get('length');
    this.externalData.push({
      location,
      offset: decimal(values.get('offset') ?? '0'),
      length: length === undefined ? undefined : decimal(length),
    });
  }
}

function decimal(text: string): number {
  const value = Number(text);
  if (!/^\d{1,15}$/.test(text)) throw malformed('an offset or length that is no decimal number');
  return value;
}
