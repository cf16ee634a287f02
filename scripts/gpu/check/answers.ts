import {
  type Engine,
  EngineError,
  type GeneratedToken,
  type LoadedModel,
  type Tensor,
  type Text,
} from '../../../src/engine/engine.ts';
import { FREE_SIZES, PROMPTS, tensorsFor, TEXTS, tokenIds } from './inputs.ts';

/** Tokens that are told with each token, to judge where two generations part. */
const TOP = 5;
const GENERATED = 64;
/** Longer than one piece of a prompt, where the context has room. */
const LONG_PROMPT = 600;

/** An answer, or why there is none. */
export type Answer<T> = { readonly value: T } | { readonly refused: string };

export interface GenerationRequest {
  readonly prompt: Text;
  readonly maxTokens: number;
}

/** What is asked of one model, the same on every provider. */
export interface Workload {
  readonly texts: readonly string[];
  readonly generations: readonly GenerationRequest[];
  readonly tensors: readonly Tensor[] | undefined;
}

export interface Answers {
  readonly embeddings: readonly Answer<Float32Array>[];
  readonly generations: readonly Answer<readonly GeneratedToken[]>[];
  readonly tensors: Answer<readonly Tensor[]> | undefined;
}

/** Chooses what to ask of a model; finds out on this engine which tensors it takes. */
export async function workloadFor(engine: Engine, model: LoadedModel): Promise<Workload> {
  const generates = model.tasks.includes('generate');
  return {
    texts: model.tasks.includes('embed') ? TEXTS : [],
    generations: generates ? generationsFor(model.maxTokens) : [],
    tensors: await tensorsOf(engine, model),
  };
}

function generationsFor(context = 256): readonly GenerationRequest[] {
  const maxTokens = Math.max(1, Math.min(GENERATED, Math.floor(context / 4)));
  const long = Math.min(LONG_PROMPT, context - maxTokens - 1);
  const prompts: readonly Text[] = long > 0 ? [...PROMPTS, tokenIds(long, 1)] : PROMPTS;
  return prompts.map((prompt) => ({ prompt, maxTokens }));
}

async function tensorsOf(engine: Engine, model: LoadedModel): Promise<readonly Tensor[] | undefined> {
  for (const size of FREE_SIZES) {
    const inputs = tensorsFor(model.inputs, size);
    if ('value' in (await answered(() => engine.infer(model.id, inputs)))) return inputs;
  }
  return undefined;
}

/** Asks one thing after the other. */
export async function answersOf(
  engine: Engine,
  model: string,
  { texts, generations, tensors }: Workload,
): Promise<Answers> {
  const embedded: Answer<Float32Array>[] = [];
  for (const text of texts) embedded.push(await answered(() => embedOne(engine, model, text)));
  const generated: Answer<readonly GeneratedToken[]>[] = [];
  for (const request of generations) {
    generated.push(await answered(() => generateOne(engine, model, request)));
  }
  return {
    embeddings: embedded,
    generations: generated,
    tensors: tensors && (await answered(() => engine.infer(model, tensors))),
  };
}

/** Asks everything at once, and everything twice. */
export async function answersInCompany(
  engine: Engine,
  model: string,
  { texts, generations, tensors }: Workload,
): Promise<readonly [Answers, Answers]> {
  const ask = async (): Promise<Answers> => {
    const [embeddings, generated, inferred] = await Promise.all([
      Promise.all(texts.map((text) => answered(() => embedOne(engine, model, text)))),
      Promise.all(generations.map((request) => answered(() => generateOne(engine, model, request)))),
      tensors && answered(() => engine.infer(model, tensors)),
    ]);
    return { embeddings, generations: generated, tensors: inferred };
  };
  return Promise.all([ask(), ask()]);
}

async function embedOne(engine: Engine, model: string, text: string): Promise<Float32Array> {
  const { vectors } = await engine.embed(model, [text]);
  const [vector] = vectors;
  if (!vector) throw new Error('the engine gave no vector');
  return vector;
}

async function generateOne(
  engine: Engine,
  model: string,
  { prompt, maxTokens }: GenerationRequest,
): Promise<readonly GeneratedToken[]> {
  const tokens: GeneratedToken[] = [];
  await engine.generate(model, prompt, { maxTokens, logprobs: TOP }, (token) => tokens.push(token));
  return tokens;
}

async function answered<T>(ask: () => Promise<T>): Promise<Answer<T>> {
  try {
    return { value: await ask() };
  } catch (error) {
    if (error instanceof EngineError) return { refused: `${error.code}: ${error.message}` };
    throw error;
  }
}
