import { z } from 'zod';
import type { Datatype, LoadedModel, Tensor, TensorSpec } from '../engine/engine.ts';
import { RUNTIME_TYPES } from '../engine/tensors.ts';
import { ServiceError } from './errors.ts';
import { parseObject } from './inference.ts';
import { elementSize, readBinaryTensor, readText } from './tensorBinary.ts';
import { splitBody, TensorBytes } from './tensorFraming.ts';
import { readTensorData } from './tensorJson.ts';

/** Most inputs, and most outputs, of one request. */
export const MAX_TENSORS = 1024;
/** Most characters of the name of a tensor, or of an id. */
export const MAX_NAME = 256;
/** Most dimensions of a tensor. */
export const MAX_RANK = 16;
const name = z.string().min(1).max(MAX_NAME);

const INPUT = z.strictObject({
  name,
  shape: z.array(z.int().min(0)).max(MAX_RANK),
  datatype: z.string().max(32),
  parameters: z.strictObject({ binary_data_size: z.int().min(0).optional() }).nullish(),
  // Read tensor by tensor: a schema for millions of numbers would be slow.
  data: z.custom<readonly unknown[]>(Array.isArray, 'is no list').optional(),
});

const REQUEST = z.strictObject({
  id: z.string().max(MAX_NAME).nullish(),
  /** Examples of Triton name the model again. */
  model_name: z.string().max(256).nullish(),
  parameters: z.strictObject({ binary_data_output: z.boolean().optional() }).nullish(),
  inputs: z.array(INPUT).min(1).max(MAX_TENSORS),
  outputs: z
    .array(
      z.strictObject({
        name,
        parameters: z.strictObject({ binary_data: z.boolean().optional() }).nullish(),
      }),
    )
    .max(MAX_TENSORS)
    .nullish(),
});

type InferRequest = z.infer<typeof REQUEST>;

/** An output that is wanted, and how. */
export interface WantedOutput {
  readonly name: string;
  readonly binary: boolean;
}

/** What is asked of a model. */
export interface TensorRequest {
  /** To be echoed; undefined where none was given. */
  readonly id: string | undefined;
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly WantedOutput[];
}

/** What a request is read against. */
export type TensorModel = Pick<LoadedModel, 'id' | 'inputs' | 'outputs'>;

/** A body as it was received. */
export interface TensorBody {
  readonly bytes: Uint8Array;
  /** Bytes of JSON at the start; undefined where all is JSON. */
  readonly jsonLength: number | undefined;
}

/** Reads an inference request of the Open Inference Protocol, with or without raw tensors. */
export function readTensorRequest({ bytes, jsonLength }: TensorBody, model: TensorModel): TensorRequest {
  if (jsonLength === 0) return rawRequest(bytes, model);
  const { json, tensors } = splitBody(bytes, jsonLength);
  const request = parseRequest(json);
  if (typeof request.model_name === 'string' && request.model_name !== model.id) {
    throw new ServiceError('INVALID_INPUT', 'model_name is not the model of the path', 'model_name');
  }
  const rest = new TensorBytes(tensors);
  const inputs = request.inputs.map((input) => readInput(input, rest));
  rest.end();
  return { id: request.id ?? undefined, inputs, outputs: wantedOutputs(request, model) };
}

function parseRequest(json: Uint8Array): InferRequest {
  const parsed = REQUEST.safeParse(parseObject(json));
  if (parsed.success) return parsed.data;
  throw refuseIssue(parsed.error.issues[0]);
}

/** Messages of zod name members and bounds. The name of what is not known is told where it is plain. */
export function refuseIssue(issue: z.core.$ZodIssue | undefined): ServiceError {
  const path = issue?.path.join('.') ?? '';
  const where = path === '' ? 'the body' : path;
  if (issue?.code !== 'unrecognized_keys') {
    return new ServiceError('INVALID_INPUT', `${where}: ${issue?.message ?? 'is not valid'}`, path);
  }
  if (issue.path.at(-1) === 'parameters') return unknownParameter(path, issue.keys);
  const key = plainKey(issue.keys);
  return new ServiceError(
    'INVALID_INPUT',
    `${where}: ${key} is not supported here`,
    path === '' ? key : `${path}.${key}`,
  );
}

/** Refuses a parameter by its name. */
export function unknownParameter(path: string, keys: readonly string[]): ServiceError {
  const key = plainKey(keys);
  return new ServiceError('PARAMETER_UNSUPPORTED', `${path}: ${key} is not supported here`, `${path}.${key}`);
}

function plainKey(keys: readonly string[]): string {
  return keys.find((candidate) => /^[\w.:-]{1,64}$/.test(candidate)) ?? 'a member';
}

function readInput(input: z.infer<typeof INPUT>, rest: TensorBytes): Tensor {
  const { shape, data } = input;
  const datatype = requireDatatype(input.name, input.datatype);
  const size = input.parameters?.binary_data_size;
  if ((size === undefined) === (data === undefined)) {
    throw new ServiceError(
      'INVALID_INPUT',
      `input ${input.name}: needs either data or binary_data_size`,
      'inputs',
    );
  }
  const values =
    size === undefined
      ? readTensorData(input.name, datatype, shape, data)
      : readBinaryTensor(input.name, datatype, shape, rest.take(input.name, size));
  return { name: input.name, datatype, shape, data: values };
}

export function requireDatatype(input: string, datatype: string): Datatype {
  if (Object.hasOwn(RUNTIME_TYPES, datatype)) return datatype as Datatype;
  const reason =
    datatype === 'BF16' ? 'BF16 is not held by onnxruntime-node' : 'the protocol has no such datatype';
  throw new ServiceError('DATATYPE_UNSUPPORTED', `input ${input}: ${reason}`, 'inputs');
}

function wantedOutputs({ outputs, parameters }: InferRequest, model: TensorModel): readonly WantedOutput[] {
  const binary = parameters?.binary_data_output ?? false;
  const named = outputs ?? [];
  requireOutputNames(
    named.map((output) => output.name),
    model,
  );
  if (named.length === 0) return model.outputs.map((output) => ({ name: output.name, binary }));
  return named.map((output) => ({
    name: output.name,
    binary: output.parameters?.binary_data ?? binary,
  }));
}

export function requireOutputNames(names: readonly string[], model: TensorModel): void {
  const unknown = names.some((output) => !model.outputs.some((spec) => spec.name === output));
  if (unknown || new Set(names).size !== names.length) {
    throw new ServiceError('INVALID_INPUT', 'outputs are outputs of the model, each once', 'outputs');
  }
}

/** One output of those that the model gave. What it declares and does not give is our fault, not the request's. */
export function takeOutput(outputs: readonly Tensor[], wanted: string): Tensor {
  const tensor = outputs.find((output) => output.name === wanted);
  if (!tensor) throw new Error('an output is missing');
  return tensor;
}

/**
 * A body that is one raw tensor. Its shape follows from its size: a model of one input with one free dimension at
 * most, or of one element of BYTES, which has no length before it. The outputs go back raw.
 */
function rawRequest(bytes: Uint8Array, model: TensorModel): TensorRequest {
  const [spec, ...others] = model.inputs;
  if (!spec || others.length > 0) throw notRaw('the model has not exactly one input');
  const input = spec.datatype === 'BYTES' ? rawText(spec, bytes) : rawNumbers(spec, bytes);
  const outputs = model.outputs.map((output) => ({ name: output.name, binary: true }));
  return { id: undefined, inputs: [input], outputs };
}

function rawText({ name: input, datatype, shape }: TensorSpec, bytes: Uint8Array): Tensor {
  if (shape.some((size) => size !== 1 && size !== -1))
    throw notRaw(`input ${input} is not one element of BYTES`);
  return { name: input, datatype, shape: shape.map(() => 1), data: [readText(input, 0, bytes)] };
}

function rawNumbers({ name: input, datatype, shape }: TensorSpec, bytes: Uint8Array): Tensor {
  if (shape.filter((size) => size === -1).length > 1) {
    throw notRaw(`input ${input} has more than one free dimension`);
  }
  const unit = shape.reduce(
    (product, size) => (size === -1 ? product : product * size),
    elementSize(datatype) ?? 1,
  );
  const free = unit === 0 ? 0 : Math.floor(bytes.length / unit);
  const given = shape.map((size) => (size === -1 ? free : size));
  return { name: input, datatype, shape: given, data: readBinaryTensor(input, datatype, given, bytes) };
}

function notRaw(reason: string): ServiceError {
  return new ServiceError('FRAMING_INVALID', `a body of one raw tensor does not fit: ${reason}`);
}
