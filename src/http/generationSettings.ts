import { randomInt } from 'node:crypto';
import type { ConstraintSpec } from '../engine/constraint/spec.ts';
import type { LoadedModel, Sampling } from '../engine/engine.ts';
import { ServiceError } from './errors.ts';
import type { Call } from './inference.ts';

export type Body = Readonly<Record<string, unknown>>;

/** Most answers to one request: as many as advance side by side. */
export const MAX_CHOICES = 16;
const MAX_STOPS = 4;
/** UTF-16 units of one stop text: so much of an answer may be held back. */
const MAX_STOP_UNITS = 256;
/** Seeds that the service draws. */
const SEEDS = 2 ** 48 - 1;

/** What both APIs ask of a generation. */
export interface GenerationSettings {
  readonly maxTokens: number;
  readonly choices: number;
  /** Of choice 0. */
  readonly sampling: Sampling;
  readonly stop: readonly string[];
  readonly logprobs: number | undefined;
  readonly stream: boolean;
  readonly includeUsage: boolean;
  /** What the text has to be; anything where undefined. */
  readonly constraint?: ConstraintSpec | undefined;
}

/** What one API has of its own. */
export interface OwnSettings {
  /** Members that the API reads itself. */
  readonly names: readonly string[];
  readonly maxTokens: number;
  readonly logprobs: number | undefined;
  /** Values of other members under which an answer is the same. */
  readonly neutral: Neutral;
}

export type Neutral = Readonly<Record<string, (value: unknown) => boolean>>;

const COMMON = [
  'model',
  'n',
  'seed',
  'stop',
  'stream',
  'stream_options',
  'temperature',
  'top_k',
  'top_p',
  'frequency_penalty',
  'presence_penalty',
];
const NEUTRAL: Neutral = {
  user: (value) => typeof value === 'string',
  logit_bias: (value) => typeof value === 'object' && Object.keys(value ?? {}).length === 0,
};

/** Reads and judges the members of a request; null is as if it were not there. */
export function readGeneration(input: Body, model: LoadedModel, own: OwnSettings): GenerationSettings {
  refuseUnknown(input, own);
  const stream = readFlag(input, 'stream');
  return {
    maxTokens: own.maxTokens,
    choices: readInteger(input, 'n', 1, MAX_CHOICES) ?? 1,
    sampling: readSampling(input, model),
    stop: readStop(input['stop'] ?? []),
    logprobs: own.logprobs,
    stream,
    includeUsage: readIncludeUsage(input['stream_options'] ?? undefined, stream),
  };
}

function refuseUnknown(input: Body, { names, neutral }: OwnSettings): void {
  const read = new Set([...COMMON, ...names]);
  const all: Neutral = { ...NEUTRAL, ...neutral };
  for (const [name, value] of Object.entries(input)) {
    if (read.has(name) || value === null) continue;
    const isNeutral = Object.hasOwn(all, name) ? all[name] : undefined;
    if (!isNeutral?.(value)) throw invalid(name.slice(0, 64), 'a parameter is not supported with this value');
  }
}

/** Where the request is silent, the model's own settings hold; where they are silent too, it is greedy. */
function readSampling(input: Body, { samplingDefaults: defaults }: LoadedModel): Sampling {
  return {
    temperature: readNumber(input, 'temperature', 0, 2) ?? defaults?.temperature ?? 0,
    topP: readNumber(input, 'top_p', 0, 1) ?? defaults?.topP ?? 1,
    topK: readInteger(input, 'top_k', 0, Number.MAX_SAFE_INTEGER) ?? defaults?.topK ?? 0,
    frequencyPenalty: readNumber(input, 'frequency_penalty', -2, 2) ?? 0,
    presencePenalty: readNumber(input, 'presence_penalty', -2, 2) ?? 0,
    seed: readInteger(input, 'seed', Number.MIN_SAFE_INTEGER, Number.MAX_SAFE_INTEGER) ?? randomInt(SEEDS),
    choice: 0,
  };
}

function readStop(value: unknown): readonly string[] {
  const stops: readonly unknown[] = Array.isArray(value) ? value : [value];
  const fits = (stop: unknown): stop is string =>
    typeof stop === 'string' && stop !== '' && stop.length <= MAX_STOP_UNITS;
  if (stops.length <= MAX_STOPS && stops.every(fits)) return stops;
  throw invalid('stop', `stop is a text or up to ${MAX_STOPS}, each of 1 to ${MAX_STOP_UNITS} characters`);
}

function readIncludeUsage(value: unknown, streams: boolean): boolean {
  if (value === undefined) return false;
  if (!streams) throw invalid('stream_options', 'stream_options needs stream');
  const members = typeof value === 'object' && value !== null ? Object.entries(value) : [];
  const [name, include] = members[0] ?? [];
  if (members.length === 1 && name === 'include_usage' && typeof include === 'boolean') return include;
  throw invalid('stream_options', 'stream_options holds include_usage, true or false');
}

export function readFlag(input: Body, name: string): boolean {
  const value = input[name] ?? false;
  if (typeof value === 'boolean') return value;
  throw invalid(name, `${name} is true or false`);
}

/** Undefined where the member is absent or null. */
export function readInteger(input: Body, name: string, least: number, most: number): number | undefined {
  const value = readNumber(input, name, least, most, 'a whole number');
  if (value === undefined || Number.isInteger(value)) return value;
  throw invalid(name, `${name} is a whole number from ${least} to ${most}`);
}

function readNumber(
  input: Body,
  name: string,
  least: number,
  most: number,
  kind = 'a number',
): number | undefined {
  const value = input[name] ?? undefined;
  if (value === undefined) return undefined;
  if (typeof value === 'number' && value >= least && value <= most) return value;
  throw invalid(name, `${name} is ${kind} from ${least} to ${most}`);
}

export function invalid(param: string, message: string): ServiceError {
  return new ServiceError('INVALID_INPUT', message, param);
}

/**
 * Writes down for the receipt what is applied: limit, temperature and stream always, the rest where it has an effect.
 * A seed that the service drew is among it, so that the answer can be made again.
 */
export function recordGeneration(
  { parameters, commitParameter }: Pick<Call<unknown>, 'parameters' | 'commitParameter'>,
  { maxTokens, choices, sampling, stop, logprobs, stream }: GenerationSettings,
): void {
  const { temperature, topP, topK, frequencyPenalty, presencePenalty, seed } = sampling;
  const set = (name: string, value: number, applies: boolean): void => {
    if (applies) parameters.set(name, decimal(value));
  };
  set('max_tokens', maxTokens, true);
  set('temperature', temperature, true);
  set('seed', seed, temperature > 0);
  set('top_p', topP, temperature > 0 && topP < 1);
  set('top_k', topK, temperature > 0 && topK > 0);
  set('frequency_penalty', frequencyPenalty, frequencyPenalty !== 0);
  set('presence_penalty', presencePenalty, presencePenalty !== 0);
  set('n', choices, choices > 1);
  set('logprobs', logprobs ?? 0, logprobs !== undefined);
  if (stop.length > 0) commitParameter('stop', stop);
  parameters.set('stream', String(stream));
}

/** The shortest decimal text that reads back as the same number, without an exponent. */
export function decimal(value: number): string {
  const [digits = '', exponent] = String(value).split('e');
  if (exponent === undefined) return digits;
  const [whole = '', fraction = ''] = digits.replace('-', '').split('.');
  const sign = value < 0 ? '-' : '';
  const places = Number(exponent);
  if (places > 0) return sign + whole + fraction.padEnd(places, '0');
  return `${sign}0.${'0'.repeat(-places - 1)}${whole}${fraction}`;
}
