import type { Generation } from '../../engine/engine.ts';
import { ServiceError } from '../errors.ts';
import { type Call, type InferenceRoute, parseObject, requireModel } from '../inference.ts';

type Body = Readonly<Record<string, unknown>>;

/** What OpenAI's API takes where nothing is said. */
const DEFAULT_MAX_TOKENS = 16;

interface Settings {
  readonly prompt: string;
  readonly maxTokens: number;
  readonly stream: boolean;
  readonly includeUsage: boolean;
}

/** `POST /v1/completions` of OpenAI's API, greedy. */
export const COMPLETIONS: InferenceRoute<Body> = {
  dialect: 'openai',
  name({ bytes }, engine) {
    const input = parseObject(bytes);
    return { model: requireModel(engine, input['model'], 'model'), input };
  },
  answer(call) {
    const settings = readSettings(call.input, call.model.maxTokens);
    call.parameters.set('max_tokens', String(settings.maxTokens)).set('temperature', '0');
    call.parameters.set('stream', String(settings.stream));
    return settings.stream ? stream(call, settings) : complete(call, settings);
  },
};

async function complete(call: Call<Body>, { prompt, maxTokens }: Settings): Promise<Uint8Array> {
  const { engine, model, signal } = call;
  const texts: string[] = [];
  const generation = await engine.generate(model.id, prompt, { maxTokens, signal }, ({ text }) => {
    texts.push(text);
  });
  const usage = countUsage(call, generation);
  const choice = toChoice(texts.join(''), generation.finishReason);
  return Buffer.from(JSON.stringify({ ...frame(call), choices: [choice], usage }));
}

async function stream(call: Call<Body>, { prompt, maxTokens, includeUsage }: Settings): Promise<undefined> {
  const { engine, model, signal } = call;
  const shared = { ...frame(call), ...(includeUsage && { usage: null }) };
  const send = (text: string, finishReason: Generation['finishReason'] | null): void => {
    call.stream.data(JSON.stringify({ ...shared, choices: [toChoice(text, finishReason)] }));
  };
  const generation = await engine.generate(model.id, prompt, { maxTokens, signal }, ({ text }) => {
    // A character of several tokens comes with its last.
    if (text !== '' && !signal.aborted) send(text, null);
  });
  const usage = countUsage(call, generation);
  send('', generation.finishReason);
  if (includeUsage) call.stream.data(JSON.stringify({ ...frame(call), choices: [], usage }));
  return undefined;
}

function frame({ receiptId, model }: Call<Body>): object {
  const created = Math.floor(Date.now() / 1000);
  return { id: `cmpl-${receiptId}`, object: 'text_completion', created, model: model.id };
}

function toChoice(text: string, finishReason: Generation['finishReason'] | null): object {
  return { index: 0, text, finish_reason: finishReason, logprobs: null };
}

function countUsage({ usage }: Call<Body>, { promptTokens, completionTokens }: Generation): object {
  const counts = {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
  };
  for (const [name, value] of Object.entries(counts)) usage.set(name, value);
  return counts;
}

const READ = new Set(['model', 'prompt', 'max_tokens', 'stream', 'stream_options']);

/** Values of other parameters under which a greedy answer is the same; null is as if it were not there. */
const NEUTRAL: Readonly<Record<string, (value: unknown) => boolean>> = {
  temperature: (value) => value === 0,
  top_p: (value) => value === 1,
  n: (value) => value === 1,
  best_of: (value) => value === 1,
  echo: (value) => value === false,
  presence_penalty: (value) => value === 0,
  frequency_penalty: (value) => value === 0,
  seed: Number.isInteger,
  user: (value) => typeof value === 'string',
};

function readSettings(input: Body, limit: number | undefined): Settings {
  for (const [name, value] of Object.entries(input)) {
    if (READ.has(name) || value === null) continue;
    const isNeutral = Object.hasOwn(NEUTRAL, name) ? NEUTRAL[name] : undefined;
    if (!isNeutral?.(value)) throw invalid(name.slice(0, 64), 'a parameter is not supported with this value');
  }
  const { prompt, stream = null } = input as { prompt?: unknown; stream?: unknown };
  if (typeof prompt !== 'string') throw invalid('prompt', 'prompt is one text');
  if (stream !== null && typeof stream !== 'boolean') throw invalid('stream', 'stream is true or false');
  return {
    prompt,
    maxTokens: readMaxTokens(input['max_tokens'], limit),
    stream: stream === true,
    includeUsage: readIncludeUsage(input['stream_options'], stream === true),
  };
}

function readMaxTokens(value: unknown, limit = Number.MAX_SAFE_INTEGER): number {
  if (value === undefined || value === null) return Math.min(DEFAULT_MAX_TOKENS, limit);
  if (typeof value === 'number' && Number.isInteger(value) && value >= 1 && value <= limit) return value;
  throw invalid('max_tokens', `max_tokens is a whole number from 1 to ${limit}`);
}

function readIncludeUsage(value: unknown, streams: boolean): boolean {
  if (value === undefined || value === null) return false;
  if (!streams) throw invalid('stream_options', 'stream_options needs stream');
  const members = typeof value === 'object' ? Object.entries(value) : [];
  const [name, include] = members[0] ?? [];
  if (members.length === 1 && name === 'include_usage' && typeof include === 'boolean') return include;
  throw invalid('stream_options', 'stream_options holds include_usage, true or false');
}

function invalid(param: string, message: string): ServiceError {
  return new ServiceError('INVALID_INPUT', message, param);
}
