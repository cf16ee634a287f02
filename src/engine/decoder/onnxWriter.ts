// Messages of ONNX field by field (onnx.proto, IR version 8): so few are written that an encoder is all that is needed.

/** Attribute type INT of onnx.proto. */
const ATTRIBUTE_INT = 2;

export interface GraphNode {
  readonly operator: string;
  readonly inputs: readonly string[];
  readonly output: string;
  readonly attributes?: Readonly<Record<string, number>>;
}

export interface GraphValue {
  readonly name: string;
  readonly elementType: number;
  /** Every dimension is free. */
  readonly rank: number;
}

export function encodeNode({ operator, inputs, output, attributes = {} }: GraphNode): Buffer {
  const encoded = Object.entries(attributes).map(([name, value]) =>
    bytes(5, Buffer.concat([text(1, name), integer(3, value), integer(20, ATTRIBUTE_INT)])),
  );
  return Buffer.concat([
    ...inputs.map((name) => text(1, name)),
    text(2, output),
    text(4, operator),
    ...encoded,
  ]);
}

/** `ValueInfoProto`: each dimension has a name of its own. */
export function encodeValue({ name, elementType, rank }: GraphValue): Buffer {
  const dimensions = Array.from({ length: rank }, (_, i) => bytes(1, text(2, `${name}.${i}`)));
  const tensor = Buffer.concat([integer(1, elementType), bytes(2, Buffer.concat(dimensions))]);
  return Buffer.concat([text(1, name), bytes(2, bytes(1, tensor))]);
}

export function text(field: number, value: string): Buffer {
  return bytes(field, Buffer.from(value));
}

/** Wire type 2. */
export function bytes(field: number, value: Uint8Array): Buffer {
  return Buffer.concat([beforeBytes(field, value.length), value]);
}

/** What stands before so many bytes of a field. */
export function beforeBytes(field: number, length: number): Buffer {
  return Buffer.concat([varint(field * 8 + 2), varint(length)]);
}

/** Wire type 0. */
export function integer(field: number, value: number): Buffer {
  return Buffer.concat([varint(field * 8), varint(value)]);
}

function varint(value: number): Buffer {
  const groups: number[] = [];
  let rest = value;
  for (; rest > 0x7f; rest = Math.floor(rest / 0x80)) groups.push((rest % 0x80) | 0x80);
  return Buffer.from([...groups, rest]);
}
