import type { TensorSpec } from '../engine.ts';

const CACHE = /^past_key_values\.(\d+\.(?:key|value))$/;
const PLAIN_INPUTS = new Set(['input_ids', 'attention_mask', 'position_ids']);

/** How a decoder with a cache of keys and values is driven: Hugging Face's names. */
export interface DecoderPlan {
  readonly usesMask: boolean;
  readonly usesPositions: boolean;
  readonly caches: readonly CacheSlot[];
  readonly logits: 'FP32' | 'FP16';
  /**
   * Where a step's own key and value come to lie: `end` behind all columns of the past, which is what concatenation
   * does; `length` behind the tokens that the mask counts, which is what GroupQueryAttention does.
   */
  readonly appends: 'end' | 'length';
}

/** `past_key_values.N.key` of shape [batch, heads, past, width]. */
export interface CacheSlot {
  readonly past: string;
  readonly present: string;
  readonly datatype: 'FP32' | 'FP16';
  readonly heads: number;
  readonly width: number;
}

/** The output that a cache becomes; undefined for an input that is no cache. */
export function presentOf(input: string): string | undefined {
  const slot = CACHE.exec(input)?.[1];
  return slot === undefined ? undefined : `present.${slot}`;
}

/** Whether a model with these inputs may be one that has a plan. */
export function hasCache(inputs: readonly string[]): boolean {
  return inputs.some((name) => CACHE.test(name));
}

/** The plan of a causal language model, or why there is none. */
export function planDecoder(
  { inputs, outputs }: { readonly inputs: readonly TensorSpec[]; readonly outputs: readonly TensorSpec[] },
  operators: ReadonlySet<string>,
): DecoderPlan | string {
  const caches = inputs.map(toSlot).filter((slot) => slot !== undefined);
  const plain = inputs.filter((input) => PLAIN_INPUTS.has(input.name));
  const names = new Set(inputs.map((input) => input.name));
  const unknown = inputs.find(
    ({ name }) => !PLAIN_INPUTS.has(name) && !caches.some(({ past }) => past === name),
  );
  const produced = new Set(outputs.map((output) => output.name));
  const lacking = caches.find(({ present }) => !produced.has(present));
  const unlike = caches.find(
    ({ present, datatype }) => outputs.find(({ name }) => name === present)?.datatype !== datatype,
  );
  const odd = plain.find((input) => input.datatype !== 'INT64');
  const logits = outputs.find((output) => output.name === 'logits')?.datatype;
  if (caches.length === 0)
    return 'it has no inputs past_key_values.N.key and .value with known heads and width';
  if (!names.has('input_ids')) return 'it has no input input_ids';
  if (unknown) return `its input ${unknown.name} is not known here`;
  if (odd) return `its input ${odd.name} is ${odd.datatype}, not INT64`;
  if (lacking) return `it has no output ${lacking.present}`;
  if (unlike) return `its output ${unlike.present} has another type than its input`;
  if (logits !== 'FP32' && logits !== 'FP16') return 'it has no output logits of FP32 or FP16';
  return {
    usesMask: names.has('attention_mask'),
    usesPositions: names.has('position_ids'),
    caches,
    logits,
    appends: operators.has('GroupQueryAttention') ? 'length' : 'end',
  };
}

function toSlot({ name, datatype, shape }: TensorSpec): CacheSlot | undefined {
  const present = presentOf(name);
  const [, heads = -1, , width = -1] = shape;
  if (present === undefined || shape.length !== 4 || heads < 1 || width < 1) return undefined;
  if (datatype !== 'FP32' && datatype !== 'FP16') return undefined;
  return { past: name, present, datatype, heads, width };
}
