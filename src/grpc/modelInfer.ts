import { type Call, type InferenceRoute, requireModel } from '../http/inference.ts';
import { requireVersion, VERSION } from '../http/routes/oip.ts';
import { takeOutput } from '../http/tensorRequest.ts';
import { type InferMessage, readInferRequest, splitInferRequest } from './inferRequest.ts';
import { writeInferResponse } from './inferResponse.ts';

/**
 * `ModelInfer`: the body is the serialized request message as it was received, the answer the serialized response
 * message as it is sent.
 */
export const MODEL_INFER: InferenceRoute<InferMessage> = {
  dialect: 'grpc',
  name({ bytes }, engine) {
    const input = splitInferRequest(bytes);
    const model = requireModel(engine, input.modelName, 'model_name');
    requireNamedVersion(input.modelVersion);
    return { model, input };
  },
  answer,
};

/** The empty version of proto3 is none, and leaves the choice to the service. */
export function requireNamedVersion(version: string): void {
  requireVersion(version === '' ? undefined : version);
}

async function answer({ engine, model, input, signal }: Call<InferMessage>): Promise<Uint8Array> {
  const { id, inputs, outputs, raw } = readInferRequest(input, model);
  const given = await engine.infer(model.id, inputs, { signal });
  const wanted = outputs.map((name) => takeOutput(given, name));
  return writeInferResponse({ model: model.id, version: VERSION, id, outputs: wanted, raw });
}
