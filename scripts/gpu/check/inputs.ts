import type { Datatype, Tensor, TensorData, TensorSpec } from '../../../src/engine/engine.ts';

export const TEXTS: readonly string[] = [
  'whale',
  'The ship had sailed for three days.',
  'A confidential machine vouches for what it computes, and a verifier checks it.',
  'Wind and water and a long grey line of hills that nobody on board had a name for.',
  `${'The committee met again in the morning and read the minutes. '.repeat(6)}Then it adjourned.`,
];

export const PROMPTS: readonly string[] = [
  'The whale',
  'In the first place,',
  'It was a clear steel-blue day, and the sea',
  'The Congress of the United States has, in the past year, considered with great care the state of the debt, and',
  'Some years ago, never mind how long precisely,',
];

/** Sizes of free dimensions beyond the first, tried in turn until the model takes one: text, then pictures. */
export const FREE_SIZES = [8, 32, 64, 320, 1] as const;

/** Numbers from 0 to 1, the same for the same seed. */
export function seeded(seed: number): () => number {
  let state = (seed * 2_654_435_761 + 1) >>> 0;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

/** Token ids that every tokenizer has, the same for the same seed. */
export function tokenIds(count: number, seed: number): readonly number[] {
  const next = seeded(seed);
  return Array.from({ length: count }, () => 5 + Math.floor(next() * 200));
}

/** Inputs of these specifications; free dimensions are 1 row and `size` of everything else. */
export function tensorsFor(specs: readonly TensorSpec[], size: number): readonly Tensor[] {
  return specs.map((spec, i) => {
    const shape = shapeOf(spec, size);
    const elements = shape.reduce((product, length) => product * length, 1);
    return { ...spec, shape, data: dataFor(spec, elements, i + 1) };
  });
}

/** The cache of a language model is empty, so that its mask is as long as its tokens. */
function shapeOf({ name, shape }: TensorSpec, size: number): readonly number[] {
  const past = name.startsWith('past_key_values.');
  return shape.map((length, place) => {
    if (length !== -1) return length;
    if (place === 0) return 1;
    return past ? 0 : size;
  });
}

function dataFor({ name, datatype }: TensorSpec, elements: number, seed: number): TensorData {
  const next = seeded(seed);
  const integer = integerOf(name, next);
  const ofIntegers = (): readonly number[] => Array.from({ length: elements }, (_, i) => integer(i));
  const ofReals = (): readonly number[] => Array.from({ length: elements }, () => 2 * next() - 1);
  const make: Readonly<Record<Datatype, () => TensorData>> = {
    BOOL: () => Uint8Array.from(ofIntegers(), (value) => value % 2),
    UINT8: () => Uint8Array.from(ofIntegers()),
    UINT16: () => Uint16Array.from(ofIntegers()),
    UINT32: () => Uint32Array.from(ofIntegers()),
    UINT64: () => BigUint64Array.from(ofIntegers(), BigInt),
    INT8: () => Int8Array.from(ofIntegers()),
    INT16: () => Int16Array.from(ofIntegers()),
    INT32: () => Int32Array.from(ofIntegers()),
    INT64: () => BigInt64Array.from(ofIntegers(), BigInt),
    // Bits of 1 to 2: exponent 15 and a random fraction.
    FP16: () => Uint16Array.from({ length: elements }, () => 0x3c00 | Math.floor(next() * 1024)),
    FP32: () => Float32Array.from(ofReals()),
    FP64: () => Float64Array.from(ofReals()),
    BYTES: () => ofIntegers().map((value) => `text ${value}`),
  };
  return make[datatype]();
}

/** What integers mean is in the names of a Hugging Face export. */
function integerOf(name: string, next: () => number): (place: number) => number {
  if (name.includes('mask')) return () => 1;
  if (name.includes('position')) return (place) => place;
  if (name.includes('token_type')) return () => 0;
  return () => 5 + Math.floor(next() * 100);
}
