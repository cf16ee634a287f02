import type { Tensor } from '../../engine/engine.ts';
import { type Call, type FramedBody, type InferenceRoute, requireModel } from '../inference.ts';
import { writeBinaryTensor } from '../tensorBinary.ts';
import { JSON_LENGTH_HEADER } from '../tensorFraming.ts';
import { writeTensorData } from '../tensorJson.ts';
import { readTensorRequest, takeOutput, type TensorBody, type TensorRequest } from '../tensorRequest.ts';
import { requireVersion, VERSION } from './oip.ts';

/** `POST /v2/models/{model}/infer` of the Open Inference Protocol, with Triton's binary tensor data extension. */
export const INFER: InferenceRoute<TensorBody> = {
  dialect: 'oip',
  takesTensors: true,
  name({ params, bytes, jsonLength }, engine) {
    const model = requireModel(engine, params['model'], 'the path');
    requireVersion(params['version']);
    return { model, input: { bytes, jsonLength } };
  },
  answer,
};

async function answer(call: Call<TensorBody>): Promise<Uint8Array | FramedBody> {
  const { engine, model, input, signal, parameters } = call;
  // Not in the body: without it the receipt would leave open where the JSON ends.
  if (input.jsonLength !== undefined) parameters.set(JSON_LENGTH_HEADER, String(input.jsonLength));
  const request = readTensorRequest(input, model);
  const outputs = await engine.infer(model.id, request.inputs, { signal });
  const written = writeResponse(model.id, request, outputs);
  if (!(written instanceof Uint8Array)) {
    parameters.set(`response-${JSON_LENGTH_HEADER}`, String(written.jsonLength));
  }
  return written;
}

function writeResponse(
  model: string,
  { id, outputs: wanted }: TensorRequest,
  outputs: readonly Tensor[],
): Uint8Array | FramedBody {
  const raw: Uint8Array[] = [];
  const tensors = wanted.map(({ name, binary }) => {
    const tensor = takeOutput(outputs, name);
    if (!binary) return writeJson(tensor);
    const bytes = writeBinaryTensor(tensor);
    raw.push(bytes);
    return JSON.stringify({ ...headOf(tensor), parameters: { binary_data_size: bytes.length } });
  });
  const head = JSON.stringify({ model_name: model, model_version: VERSION, id });
  const json = Buffer.from(`${head.slice(0, -1)},"outputs":[${tensors.join(',')}]}`);
  if (raw.length === 0) return json;
  return { bytes: Buffer.concat([json, ...raw]), jsonLength: json.length };
}

function headOf({ name, datatype, shape }: Tensor): object {
  return { name, datatype, shape };
}

/** 64-bit integers have more digits than JSON.stringify keeps. */
function writeJson(tensor: Tensor): string {
  return `${JSON.stringify(headOf(tensor)).slice(0, -1)},"data":${writeTensorData(tensor)}}`;
}
