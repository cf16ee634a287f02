import { EngineError, type Text } from '../../engine/engine.ts';
import { ServiceError } from '../errors.ts';
import { type Call, type InferenceRoute, nameInBody } from '../inference.ts';
import { readTexts } from '../prompts.ts';

type Body = Readonly<Record<string, unknown>>;
type Encoding = 'float' | 'base64';

const KNOWN = new Set(['model', 'input', 'encoding_format', 'user', 'dimensions']);

/** `POST /v1/embeddings` of OpenAI's API. */
export const EMBEDDINGS: InferenceRoute<Body> = {
  dialect: 'openai',
  name: nameInBody,
  answer,
};

async function answer({ engine, model, input, signal, parameters, usage }: Call<Body>): Promise<Uint8Array> {
  const texts = readInput(input['input']);
  const encoding = readEncoding(input['encoding_format']);
  refuseOthers(input);
  parameters.set('encoding_format', encoding);
  const { vectors, tokens } = await embed(engine, model.id, texts, signal);
  const total = tokens.reduce((sum, length) => sum + length, 0);
  usage.set('prompt_tokens', total).set('total_tokens', total);
  if (!vectors.every((vector) => vector.every(Number.isFinite))) {
    throw new EngineError('ENGINE_FAILED', 'the model gave a number that is not finite');
  }
  const encode = encoding === 'float' ? encodeFloats : encodeBase64;
  const data = vectors.map(
    (vector, i) => `{"object":"embedding","index":${i},"embedding":${encode(vector)}}`,
  );
  const counts = `{"prompt_tokens":${total},"total_tokens":${total}}`;
  const name = JSON.stringify(model.id);
  return Buffer.from(`{"object":"list","data":[${data.join(',')}],"model":${name},"usage":${counts}}`);
}

/** The engine speaks of its texts; here the parameter is `input`. */
async function embed(
  engine: Call<Body>['engine'],
  model: string,
  texts: readonly Text[],
  signal: AbortSignal,
): ReturnType<Call<Body>['engine']['embed']> {
  try {
    return await engine.embed(model, texts, { signal });
  } catch (error) {
    if (error instanceof EngineError && error.code === 'INVALID_INPUT') throw invalid('input', error.message);
    throw error;
  }
}

/** Vectors are 32-bit floats: the decimal digits of each are those of its double. */
function encodeFloats(vector: Float32Array): string {
  return `[${vector.join(',')}]`;
}

/** Little-endian 32-bit floats, as every machine that runs here stores them. */
function encodeBase64(vector: Float32Array): string {
  return `"${Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength).toString('base64')}"`;
}

function readInput(input: unknown): readonly Text[] {
  const texts = readTexts(input, 'input');
  if (texts.includes('')) throw invalid('input', 'input has an empty text');
  return texts;
}

function readEncoding(value: unknown): Encoding {
  if (value === undefined || value === null || value === 'float') return 'float';
  if (value === 'base64') return 'base64';
  throw invalid('encoding_format', 'encoding_format is float or base64');
}

function refuseOthers(input: Body): void {
  if (input['dimensions'] !== undefined && input['dimensions'] !== null) {
    throw invalid('dimensions', 'dimensions cannot be chosen');
  }
  const unknown = Object.keys(input).find((name) => !KNOWN.has(name));
  if (unknown !== undefined) throw invalid(unknown.slice(0, 64), 'a parameter is not known');
}

function invalid(param: string, message: string): ServiceError {
  return new ServiceError('INVALID_INPUT', message, param);
}
