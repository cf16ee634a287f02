import type { CommittedParameter } from '../../attestation/receipt/commitment.ts';
import type { LoadedModel, ModelRunner } from '../engine/engine.ts';
import type { Dialect } from './dialect.ts';
import { ServiceError } from './errors.ts';
import type { EventStream } from './eventStream.ts';
import type { ServiceRequest } from './request.ts';
import { JsonError, parseStrictJson } from '../../attestation/json/strict.ts';

/** What a request names before it is admitted. */
export interface Named<Input> {
  readonly model: LoadedModel;
  readonly input: Input;
}

/** One admitted request. What is applied is written down as it becomes known: a failure has a receipt, too. */
export interface Call<Input> {
  readonly model: LoadedModel;
  readonly input: Input;
  readonly engine: ModelRunner;
  /** Hex; the answer's own id may repeat it. */
  readonly receiptId: string;
  readonly signal: AbortSignal;
  readonly stream: EventStream;
  /** For the receipt: parameters as applied. */
  readonly parameters: Map<string, string | Uint8Array>;
  /** For the receipt: a parameter that can hold content, as a commitment to its JSON text. */
  readonly commitParameter: (name: CommittedParameter, value: unknown) => void;
  /** For the receipt: counts of tokens. */
  readonly usage: Map<string, number>;
}

/** A body of JSON and the raw tensors after it. */
export interface FramedBody {
  readonly bytes: Uint8Array;
  readonly jsonLength: number;
}

/** One inference API. */
export interface InferenceRoute<Input = unknown> {
  readonly dialect: Dialect;
  /** Raw tensors may follow the JSON of a request. */
  readonly takesTensors?: true;
  /** Finds the model that the request names. What it throws has no receipt. */
  name(request: ServiceRequest, engine: ModelRunner): Named<Input>;
  /** Answers: the body, or undefined where the answer went to the stream. What it throws has a receipt. */
  answer(call: Call<Input>): Promise<Uint8Array | FramedBody | undefined>;
}

export function requireModel(engine: ModelRunner, id: unknown, param: string): LoadedModel {
  const model = typeof id === 'string' ? engine.models.get(id) : undefined;
  if (!model) throw new ServiceError('MODEL_NOT_FOUND', `${param} names no model that is served`, param);
  return model;
}

/** A body that is one JSON object. */
export function parseObject(bytes: Uint8Array): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = parseStrictJson(bytes);
  } catch (error) {
    if (error instanceof JsonError) throw new ServiceError('BODY_INVALID', `the body ${error.message}`);
    throw error;
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new ServiceError('BODY_INVALID', 'the body is no JSON object');
  }
  return value as Readonly<Record<string, unknown>>;
}

/** Names the model as OpenAI's API does: by a member of the body, which is the input. */
export function nameInBody(
  { bytes }: ServiceRequest,
  engine: ModelRunner,
): Named<Readonly<Record<string, unknown>>> {
  const input = parseObject(bytes);
  return { model: requireModel(engine, input['model'], 'model'), input };
}
