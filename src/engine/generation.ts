import { type InferenceSession, Tensor } from 'onnxruntime-node';
import type { Alternative, GeneratedToken, Generation, Sampling, TensorSpec } from './engine.ts';
import { chooseToken, GREEDY, logprobsOf, type TokenLogprob } from './sampling.ts';
import { StopText } from './stop.ts';
import { fromHalf, halfBits } from './tensors.ts';
import { IncrementalText, type TextTokenizer } from './tokenizer.ts';

/** Tokens of the prompt in one run: bounds the logits, which have a row for each, and the wait of other requests. */
const PREFILL_TOKENS = 256;
const CACHE = /^past_key_values\.(\d+\.(?:key|value))$/;
const PLAIN_INPUTS = new Set(['input_ids', 'attention_mask', 'position_ids']);

/** How a decoder with a KV cache is driven: Hugging Face's names. */
export interface GenerationPlan {
  readonly usesMask: boolean;
  readonly usesPositions: boolean;
  readonly caches: readonly CacheSlot[];
  readonly endTokens: ReadonlySet<number>;
}

interface CacheSlot {
  readonly past: string;
  readonly present: string;
  readonly type: 'float32' | 'float16';
  readonly heads: number;
  readonly width: number;
}

/** The plan of a causal language model; undefined for a model of another form. */
export function planGeneration(
  { inputs, outputs }: { readonly inputs: readonly TensorSpec[]; readonly outputs: readonly TensorSpec[] },
  endTokens: ReadonlySet<number>,
): GenerationPlan | undefined {
  const names = new Set(inputs.map((input) => input.name));
  const produced = new Set(outputs.map((output) => output.name));
  const plain = inputs.filter((input) => PLAIN_INPUTS.has(input.name));
  const caches = inputs.map(toSlot).filter((slot) => slot !== undefined);
  const complete = caches.length > 0 && plain.length + caches.length === inputs.length;
  const fits =
    plain.every((input) => input.datatype === 'INT64') && caches.every((slot) => produced.has(slot.present));
  if (!complete || !fits || !names.has('input_ids') || !produced.has('logits')) return undefined;
  return {
    usesMask: names.has('attention_mask'),
    usesPositions: names.has('position_ids'),
    caches,
    endTokens,
  };
}

/** `past_key_values.N.key` of shape [batch, heads, past, width]. */
function toSlot({ name, datatype, shape }: TensorSpec): CacheSlot | undefined {
  const slot = CACHE.exec(name)?.[1];
  const [, heads = -1, , width = -1] = shape;
  if (slot === undefined || shape.length !== 4 || heads < 1 || width < 1) return undefined;
  if (datatype !== 'FP32' && datatype !== 'FP16') return undefined;
  const type = datatype === 'FP32' ? 'float32' : 'float16';
  return { past: name, present: `present.${slot}`, type, heads, width };
}

/** What one step gave: nothing within a long prompt, a token, or the end. */
export interface GenerationStep {
  readonly token: GeneratedToken | undefined;
  readonly end: Generation | undefined;
}

/** What a request asks of a generation. */
export interface GenerationSettings {
  readonly maxTokens: number;
  /** Greedy where undefined. */
  readonly sampling: Sampling | undefined;
  readonly stop: readonly string[];
  readonly logprobs: number | undefined;
}

/** One generation, a run of the model at a time. */
export class GenerationRun {
  readonly #session: InferenceSession;
  readonly #plan: GenerationPlan;
  readonly #tokenizer: TextTokenizer;
  readonly #text: IncrementalText;
  readonly #stop: StopText;
  readonly #sampling: Sampling;
  readonly #logprobs: number | undefined;
  readonly #promptTokens: number;
  readonly #limit: number;
  /** Tokens that the model has not seen. */
  #waiting: readonly number[];
  #seen = 0;
  #made = 0;
  /** How often each token was generated. */
  readonly #counts = new Map<number, number>();
  #cache: Record<string, Tensor>;

  /** `prompt` is shorter than the tokenizer's longest sequence. */
  constructor(
    model: {
      readonly session: InferenceSession;
      readonly plan: GenerationPlan;
      readonly tokenizer: TextTokenizer;
    },
    prompt: readonly number[],
    { maxTokens, sampling = GREEDY, stop, logprobs }: GenerationSettings,
  ) {
    this.#session = model.session;
    this.#plan = model.plan;
    this.#tokenizer = model.tokenizer;
    this.#text = new IncrementalText(model.tokenizer, prompt);
    this.#stop = new StopText(stop);
    this.#sampling = sampling;
    this.#logprobs = logprobs;
    this.#promptTokens = prompt.length;
    this.#limit = Math.min(maxTokens, model.tokenizer.maxTokens - prompt.length);
    this.#waiting = prompt;
    this.#cache = emptyCache(model.plan);
  }

  async step(): Promise<GenerationStep> {
    const ids = this.#waiting.slice(0, PREFILL_TOKENS);
    const logits = await this.#run(ids);
    this.#waiting = this.#waiting.slice(ids.length);
    if (this.#waiting.length > 0) return { token: undefined, end: undefined };
    const row = lastRow(logits, ids.length);
    const id = chooseToken(row, this.#sampling, this.#counts, this.#made);
    if (this.#plan.endTokens.has(id)) return { token: undefined, end: this.#end('stop', this.#stop.flush()) };
    this.#waiting = [id];
    this.#made += 1;
    this.#counts.set(id, (this.#counts.get(id) ?? 0) + 1);
    return this.#advance(id, row);
  }

  #advance(id: number, row: Float32Array): GenerationStep {
    const text = this.#stop.push(this.#text.push(id));
    const logprobs =
      this.#logprobs === undefined ? {} : { logprobs: this.#describe(row, id, this.#logprobs) };
    if (this.#stop.found) return { token: { id, text, ...logprobs }, end: this.#end('stop') };
    if (this.#made < this.#limit) return { token: { id, text, ...logprobs }, end: undefined };
    return { token: { id, text: text + this.#stop.flush(), ...logprobs }, end: this.#end('length') };
  }

  #end(finishReason: Generation['finishReason'], rest = ''): Generation {
    const counts = { promptTokens: this.#promptTokens, completionTokens: this.#made };
    return { ...counts, finishReason, ...(rest !== '' && { rest }) };
  }

  #describe(row: Float32Array, id: number, count: number): NonNullable<GeneratedToken['logprobs']> {
    const { own, top } = logprobsOf(row, id, count);
    const named = ({ id: token, logprob }: TokenLogprob): Alternative => ({
      id: token,
      text: this.#tokenizer.textOf(token),
      logprob,
    });
    return { own: named(own), top: top.map(named) };
  }

  async #run(ids: readonly number[]): Promise<Tensor> {
    const total = this.#seen + ids.length;
    const feeds: Record<string, Tensor> = { ...this.#cache, input_ids: integers(ids) };
    if (this.#plan.usesMask) feeds['attention_mask'] = integers(new Array<number>(total).fill(1));
    if (this.#plan.usesPositions) feeds['position_ids'] = integers(ids.map((_, i) => this.#seen + i));
    const outputs = await this.#session.run(feeds);
    this.#seen = total;
    this.#cache = {};
    for (const { past, present } of this.#plan.caches) this.#cache[past] = required(outputs[present]);
    return required(outputs['logits']);
  }
}

function required(tensor: Tensor | undefined): Tensor {
  if (!tensor) throw new Error('an output is missing');
  return tensor;
}

function emptyCache(plan: GenerationPlan): Record<string, Tensor> {
  const cache: Record<string, Tensor> = {};
  for (const { past, type, heads, width } of plan.caches) {
    const data = type === 'float32' ? new Float32Array() : new Uint16Array();
    cache[past] = new Tensor(type, data, [1, heads, 0, width]);
  }
  return cache;
}

function integers(values: readonly number[]): Tensor {
  return new Tensor('int64', BigInt64Array.from(values, BigInt), [1, values.length]);
}

/** The logits of the last position. */
function lastRow({ type, data, size }: Tensor, rows: number): Float32Array {
  const length = size / rows;
  if (!Number.isInteger(length)) throw new Error('the logits have another shape than expected');
  if (data instanceof Float32Array) return data.subarray(data.length - length);
  if (type !== 'float16' || !ArrayBuffer.isView(data))
    throw new Error('the logits have another type than expected');
  return Float32Array.from(halfBits(data).subarray(data.length - length), fromHalf);
}
