import type { LoadedModel } from '../../engine/engine.ts';
import { countUsage, generateChoices, type Prompt } from '../choices.ts';
import { ServiceError } from '../errors.ts';
import {
  type Body,
  type GenerationSettings,
  readFlag,
  readGeneration,
  readInteger,
  recordGeneration,
} from '../generationSettings.ts';
import { type Call, type InferenceRoute, parseObject, requireModel } from '../inference.ts';
import { isObject, pick } from '../members.ts';
import { DEFAULT_MAX_TOKENS } from './completions.ts';
import { requireVersion, VERSION } from './oip.ts';

const MAX_ID_UNITS = 256;
const SAMPLING = [
  'max_tokens',
  'temperature',
  'top_k',
  'top_p',
  'seed',
  'stop',
  'frequency_penalty',
  'presence_penalty',
];

/** `POST /v2/models/{model}/generate` of Triton's generate extension: the text as one answer. */
export const GENERATE = route(false);
/** `POST /v2/models/{model}/generate_stream`: the text as it comes. */
export const GENERATE_STREAM = route(true);

function route(stream: boolean): InferenceRoute<Uint8Array> {
  return {
    dialect: 'oip',
    name({ params, bytes }, engine) {
      const model = requireModel(engine, params['model'], 'the path');
      requireVersion(params['version']);
      return { model, input: bytes };
    },
    answer(call) {
      const { text, id, settings } = readGenerateRequest(parseObject(call.input), call.model, stream);
      recordGeneration(call, settings);
      const frame = { model_name: call.model.id, model_version: VERSION, id };
      const output = (text_output: string): string => JSON.stringify({ ...frame, text_output });
      const prompt = { text, templated: false };
      return stream
        ? streamText(call, prompt, settings, output)
        : collectText(call, prompt, settings, output);
    },
  };
}

type Output = (text: string) => string;

async function collectText(
  call: Call<unknown>,
  prompt: Prompt,
  settings: GenerationSettings,
  output: Output,
): Promise<Uint8Array> {
  const texts: string[] = [];
  const listener = { piece: (_choice: number, piece: { text: string }) => texts.push(piece.text), end };
  countUsage(call, await generateChoices(call, [prompt], settings, listener), settings);
  return Buffer.from(output(texts.join('')));
}

/** The extension has no end of a stream: a last output without text is it here, held until the receipt is durable. */
async function streamText(
  call: Call<unknown>,
  prompt: Prompt,
  settings: GenerationSettings,
  output: Output,
): Promise<undefined> {
  call.stream.endWith({ text: output('') });
  const piece = (_choice: number, { text }: { text: string }): void => {
    call.stream.data(output(text));
  };
  countUsage(call, await generateChoices(call, [prompt], settings, { piece, end }), settings);
}

function end(): void {
  // Outputs do not say why the text ended.
}

export interface GenerateRequest {
  readonly text: string;
  /** To be echoed. */
  readonly id: string | undefined;
  readonly settings: GenerationSettings;
}

export function readGenerateRequest(body: Body, model: LoadedModel, stream: boolean): GenerateRequest {
  const { text_input: text, id, parameters, ...others } = body;
  if (typeof text !== 'string') throw invalid('text_input', 'is one text');
  const named = id ?? undefined;
  if (named !== undefined && (typeof named !== 'string' || named.length > MAX_ID_UNITS)) {
    throw invalid('id', `is a text of up to ${MAX_ID_UNITS} characters`);
  }
  const given = readParameters(parameters ?? {}, others);
  return { text, id: named, settings: readSettings(given, model, stream) };
}

/** Members beside `parameters` are parameters, too, as the extension says. */
function readParameters(parameters: unknown, others: Body): Body {
  if (!isObject(parameters)) throw invalid('parameters', 'is an object');
  for (const name of [...Object.keys(parameters), ...Object.keys(others)]) {
    if (!SAMPLING.includes(name) && name !== 'stream') {
      const shown = name.slice(0, 64);
      throw new ServiceError('PARAMETER_UNSUPPORTED', `the parameter ${shown} is not known`, shown);
    }
    if (Object.hasOwn(parameters, name) && Object.hasOwn(others, name)) {
      throw invalid(name, 'is given twice');
    }
  }
  return { ...others, ...parameters };
}

function readSettings(parameters: Body, model: LoadedModel, stream: boolean): GenerationSettings {
  if (readFlag({ stream: parameters['stream'] ?? stream }, 'stream') !== stream) {
    throw invalid('stream', `is ${stream} on this path`);
  }
  const { maxTokens: limit = Number.MAX_SAFE_INTEGER } = model;
  const own = {
    names: ['max_tokens'],
    maxTokens: readInteger(parameters, 'max_tokens', 1, limit) ?? Math.min(DEFAULT_MAX_TOKENS, limit),
    logprobs: undefined,
    neutral: {},
  };
  return readGeneration({ ...pick(parameters, SAMPLING), stream }, model, own);
}

/** Errors of this protocol are one text: it begins with the name of what is at fault. */
function invalid(param: string, message: string): ServiceError {
  return new ServiceError('INVALID_INPUT', `${param} ${message}`, param);
}
