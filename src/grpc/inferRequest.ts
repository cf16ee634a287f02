import type { Datatype, Tensor, TensorData } from '../engine/engine.ts';
import { ServiceError } from '../http/errors.ts';
import { countElements, readBinaryTensor } from '../http/tensorBinary.ts';
import {
  MAX_NAME,
  MAX_RANK,
  MAX_TENSORS,
  requireDatatype,
  requireOutputNames,
  type TensorModel,
  unknownParameter,
} from '../http/tensorRequest.ts';
import { readContents } from './contents.ts';
import { type Field, readFields, WIRE, WireReader } from './wire.ts';

/** A `ModelInferRequest` taken apart; what lies in its lists is not read yet. */
export interface InferMessage {
  readonly modelName: string;
  /** Empty where none is named. */
  readonly modelVersion: string;
  readonly id: string;
  readonly parameters: readonly Uint8Array[];
  readonly inputs: readonly Uint8Array[];
  readonly outputs: readonly Uint8Array[];
  readonly raw: readonly Uint8Array[];
}

/** What is asked of a model. */
export interface InferRequest {
  readonly id: string;
  readonly inputs: readonly Tensor[];
  /** Names of the outputs that are wanted. */
  readonly outputs: readonly string[];
  /** Values came as raw bytes, and go back so. */
  readonly raw: boolean;
}

/** Takes a message apart. Lists are bounded before anything is made of them: an empty tensor is two bytes. */
export function splitInferRequest(bytes: Uint8Array): InferMessage {
  const texts = new Map<number, string>();
  const lists = new Map<number, Uint8Array[]>([4, 5, 6, 7].map((number) => [number, []]));
  readFields(bytes, 'ModelInferRequest', [1, 2, 3], (field, reader) => {
    const list = lists.get(field.number);
    if (list) {
      if (list.push(reader.bytes(field)) > MAX_TENSORS) {
        throw reader.malformed(`field ${field.number} is given more than ${MAX_TENSORS} times`);
      }
      return true;
    }
    if (field.number > 3) return false;
    texts.set(field.number, reader.text(field));
    return true;
  });
  return {
    modelName: texts.get(1) ?? '',
    modelVersion: texts.get(2) ?? '',
    id: texts.get(3) ?? '',
    parameters: lists.get(4) ?? [],
    inputs: lists.get(5) ?? [],
    outputs: lists.get(6) ?? [],
    raw: lists.get(7) ?? [],
  };
}

export function readInferRequest(message: InferMessage, model: TensorModel): InferRequest {
  const { id, parameters, inputs, outputs, raw } = message;
  if (id.length > MAX_NAME) throw invalid('id', `has more than ${MAX_NAME} characters`);
  refuseParameters('parameters', parameters[0]);
  if (inputs.length === 0) throw invalid('inputs', 'is empty');
  const isRaw = raw.length > 0;
  if (isRaw && raw.length !== inputs.length) {
    throw invalid('raw_input_contents', `has ${raw.length} values for ${inputs.length} inputs`);
  }
  return {
    id,
    inputs: inputs.map((input, i) => readInput(input, i, raw[i])),
    outputs: readOutputs(outputs, model),
    raw: isRaw,
  };
}

function readInput(bytes: Uint8Array, index: number, raw: Uint8Array | undefined): Tensor {
  const where = `inputs.${index}`;
  const shape: number[] = [];
  let [name, datatype] = ['', ''];
  let parameter: Uint8Array | undefined;
  let contents: Uint8Array | undefined;
  readFields(bytes, where, [1, 2, 5], (field, reader) => {
    if (field.number === 1) name = reader.text(field);
    else if (field.number === 2) datatype = reader.text(field);
    else if (field.number === 3) readShape(where, shape, field, reader);
    else if (field.number === 4) parameter = firstOf(parameter, field, reader);
    else if (field.number === 5) contents = reader.bytes(field);
    return field.number <= 5;
  });
  requireName(`${where}.name`, name);
  refuseParameters(`${where}.parameters`, parameter);
  const known = requireDatatype(name, datatype);
  return { name, datatype: known, shape, data: readValues(name, known, shape, contents, raw) };
}

function readValues(
  name: string,
  datatype: Datatype,
  shape: readonly number[],
  contents: Uint8Array | undefined,
  raw: Uint8Array | undefined,
): TensorData {
  if (!raw) return readContents(name, datatype, countElements(shape), contents ?? new Uint8Array(0));
  if (contents) throw invalid('inputs', `input ${name} has contents beside raw_input_contents`);
  return readBinaryTensor(name, datatype, shape, raw);
}

/** Dimensions, packed or one by one. */
function readShape(where: string, shape: number[], field: Field, reader: WireReader): void {
  if (field.type !== WIRE.bytes) {
    reader.expect(field, WIRE.varint);
    pushDimension(where, shape, reader);
    return;
  }
  const packed = new WireReader(reader.bytes(field), `${where}.shape`);
  while (packed.left > 0) pushDimension(where, shape, packed);
}

function pushDimension(where: string, shape: number[], reader: WireReader): void {
  reader.varint();
  const size = reader.high * 2 ** 32 + reader.low;
  // A dimension below zero has its highest bit set.
  if (!Number.isSafeInteger(size) || shape.push(size) > MAX_RANK) {
    throw invalid(`${where}.shape`, `is at most ${MAX_RANK} whole numbers from zero up`);
  }
}

function readOutputs(outputs: readonly Uint8Array[], model: TensorModel): readonly string[] {
  const names = outputs.map((bytes, index) => {
    const where = `outputs.${index}`;
    let parameter: Uint8Array | undefined;
    let name = '';
    readFields(bytes, where, [1], (field, reader) => {
      if (field.number === 1) name = reader.text(field);
      else if (field.number === 2) parameter = firstOf(parameter, field, reader);
      return field.number <= 2;
    });
    refuseParameters(`${where}.parameters`, parameter);
    return name;
  });
  requireOutputNames(names, model);
  return names.length > 0 ? names : model.outputs.map(({ name }) => name);
}

/** The first entry of a map. The others are passed over: an empty one is two bytes, and 8 MiB of them 0.5 GB. */
function firstOf(former: Uint8Array | undefined, field: Field, reader: WireReader): Uint8Array {
  const entry = reader.bytes(field);
  return former ?? entry;
}

/** No parameter is known here: those of REST say how values travel, which the fields of gRPC say themselves. */
function refuseParameters(where: string, entry: Uint8Array | undefined): void {
  if (!entry) return;
  let key = '';
  readFields(entry, where, [1, 2], (field, reader) => {
    if (field.number === 1) key = reader.text(field);
    else reader.bytes(field);
    return field.number <= 2;
  });
  throw unknownParameter(where, [key]);
}

function requireName(where: string, name: string): void {
  if (name === '' || name.length > MAX_NAME) throw invalid(where, `has 1 to ${MAX_NAME} characters`);
}

function invalid(param: string, message: string): ServiceError {
  return new ServiceError('INVALID_INPUT', `${param}: ${message}`, param);
}
