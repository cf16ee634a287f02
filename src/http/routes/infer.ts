import { z } from 'zod';
import type { Tensor } from '../../engine/engine.ts';
import { ServiceError } from '../errors.ts';
import { type Call, type InferenceRoute, parseObject, requireModel } from '../inference.ts';
import { requireVersion } from './oip.ts';
import { readTensorData, writeTensorData } from '../tensorJson.ts';

const MAX_TENSORS = 1024;
const name = z.string().min(1).max(256);
/** Every parameter of the protocol's extensions would change the answer or its form; none is known here. */
const parameters = z.strictObject({}).nullish();

const REQUEST = z.strictObject({
  id: z.string().max(256).nullish(),
  parameters,
  inputs: z
    .array(
      z.strictObject({
        name,
        shape: z.array(z.int().min(0)).max(16),
        datatype: z.enum([
          'BOOL',
          'UINT8',
          'UINT16',
          'UINT32',
          'UINT64',
          'INT8',
          'INT16',
          'INT32',
          'INT64',
          'FP16',
          'FP32',
          'FP64',
          'BYTES',
        ]),
        parameters,
        // Read tensor by tensor: a schema for millions of numbers would be slow.
        data: z.custom<readonly unknown[]>(Array.isArray, 'data is a list'),
      }),
    )
    .min(1)
    .max(MAX_TENSORS),
  outputs: z.array(z.strictObject({ name, parameters })).max(MAX_TENSORS).nullish(),
});

type InferRequest = z.infer<typeof REQUEST>;

/** `POST /v2/models/{model}/infer` of the Open Inference Protocol. */
export const INFER: InferenceRoute<Uint8Array> = {
  dialect: 'oip',
  name({ params, bytes }, engine) {
    requireVersion(params['version']);
    return { model: requireModel(engine, params['model'], 'the path'), input: bytes };
  },
  answer,
};

async function answer({ engine, model, input, signal }: Call<Uint8Array>): Promise<Uint8Array> {
  const request = readRequest(input);
  const inputs = request.inputs.map((tensor) => ({
    name: tensor.name,
    datatype: tensor.datatype,
    shape: tensor.shape,
    data: readTensorData(tensor.name, tensor.datatype, tensor.data),
  }));
  const wanted = request.outputs?.map((output) => output.name) ?? model.outputs.map((output) => output.name);
  const unknown = wanted.find((output) => !model.outputs.some((spec) => spec.name === output));
  if (unknown !== undefined || new Set(wanted).size !== wanted.length) {
    throw new ServiceError('INVALID_INPUT', 'outputs are outputs of the model, each once', 'outputs');
  }
  const outputs = await engine.infer(model.id, inputs, { signal });
  return writeResponse(model.id, request.id, wanted.length > 0 ? select(outputs, wanted) : outputs);
}

function readRequest(bytes: Uint8Array): InferRequest {
  const parsed = REQUEST.safeParse(parseObject(bytes));
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const path = issue?.path.join('.') ?? '';
  throw new ServiceError('INVALID_INPUT', `${path === '' ? 'the body' : path}: ${describe(issue)}`, path);
}

/** Messages of zod name members and bounds; an unknown member's name is the client's own. */
function describe(issue: z.core.$ZodIssue | undefined): string {
  if (issue?.code === 'unrecognized_keys') return 'holds a member that is not supported here';
  return issue?.message ?? 'is not valid';
}

function select(outputs: readonly Tensor[], wanted: readonly string[]): readonly Tensor[] {
  return wanted
    .map((output) => outputs.find((tensor) => tensor.name === output))
    .filter((tensor) => tensor !== undefined);
}

function writeResponse(model: string, id: string | null | undefined, outputs: readonly Tensor[]): Uint8Array {
  const tensors = outputs.map((tensor) => {
    const head = JSON.stringify({ name: tensor.name, datatype: tensor.datatype, shape: tensor.shape });
    return `${head.slice(0, -1)},"data":${writeTensorData(tensor)}}`;
  });
  const head = JSON.stringify({
    model_name: model,
    model_version: '1',
    ...(typeof id === 'string' && { id }),
  });
  return Buffer.from(`${head.slice(0, -1)},"outputs":[${tensors.join(',')}]}`);
}
