import type { Alternative, Text } from '../../engine/engine.ts';
import { type AnswerForm, answerChoices, logprobText, type Piece } from '../choices.ts';
import {
  type Body,
  type GenerationSettings,
  invalid,
  MAX_CHOICES,
  type OwnSettings,
  readFlag,
  readGeneration,
  readInteger,
  recordGeneration,
} from '../generationSettings.ts';
import { type Call, type InferenceRoute, nameInBody } from '../inference.ts';
import { readTexts } from '../prompts.ts';

/** What OpenAI's API takes where nothing is said. */
export const DEFAULT_MAX_TOKENS = 16;
const MAX_LOGPROBS = 5;

/** `POST /v1/completions` of OpenAI's API. */
export const COMPLETIONS: InferenceRoute<Body> = {
  dialect: 'openai',
  name: nameInBody,
  answer(call) {
    const { input, model } = call;
    const settings = readGeneration(input, model, readOwn(input, model.maxTokens));
    const prompts = readTexts(input['prompt'], 'prompt');
    const leads = readEcho(input, settings, prompts);
    recordGeneration(call, settings);
    if (leads) call.parameters.set('echo', 'true');
    const lead = (choice: number): string => leads?.[Math.floor(choice / settings.choices)] ?? '';
    if (prompts.length * settings.choices > MAX_CHOICES) {
      throw invalid('prompt', `prompts times n is at most ${MAX_CHOICES}`);
    }
    const asked = prompts.map((text) => ({ text, templated: false }));
    return answerChoices(call, asked, settings, form(call, lead));
  },
};

function readOwn(input: Body, limit = Number.MAX_SAFE_INTEGER): OwnSettings {
  return {
    names: ['prompt', 'max_tokens', 'logprobs', 'echo'],
    maxTokens: readInteger(input, 'max_tokens', 1, limit) ?? Math.min(DEFAULT_MAX_TOKENS, limit),
    logprobs: readInteger(input, 'logprobs', 0, MAX_LOGPROBS),
    neutral: { best_of: (value) => value === 1 },
  };
}

/** The texts to repeat; undefined where none are. The tokens of the prompt have no log-probabilities here. */
function readEcho(
  input: Body,
  { logprobs }: GenerationSettings,
  prompts: readonly Text[],
): readonly string[] | undefined {
  if (!readFlag(input, 'echo')) return undefined;
  if (logprobs !== undefined) throw invalid('echo', 'echo is not supported with logprobs');
  const texts = prompts.filter((prompt) => typeof prompt === 'string');
  if (texts.length < prompts.length) throw invalid('echo', 'echo is not supported with token ids');
  return texts;
}

function form({ receiptId, model }: Call<Body>, lead: (choice: number) => string): AnswerForm {
  const created = Math.floor(Date.now() / 1000);
  const offsets = new Map<number, number>();
  const begun = new Set<number>();
  /** The text of a chunk: the first of a choice has the prompt that is echoed. */
  const led = (choice: number, text: string): string => {
    if (begun.has(choice)) return text;
    begun.add(choice);
    return lead(choice) + text;
  };
  const about = (choice: number, pieces: readonly Piece[]): object | null => {
    const offset = offsets.get(choice) ?? 0;
    const { logprobs, end } = describe(pieces, offset);
    offsets.set(choice, end);
    return logprobs;
  };
  return {
    frame: { id: `cmpl-${receiptId}`, object: 'text_completion', created, model: model.id },
    whole: (index, pieces, finish_reason) => {
      const text = lead(index) + pieces.map((piece) => piece.text).join('');
      return { index, text, logprobs: about(index, pieces), finish_reason };
    },
    chunk: (index, piece, finish_reason) => {
      const text = led(index, piece?.text ?? '');
      return { index, text, logprobs: piece ? about(index, [piece]) : null, finish_reason };
    },
  };
}

/** Offsets count characters of the text so far. */
function describe(
  pieces: readonly Piece[],
  start: number,
): { readonly logprobs: object | null; readonly end: number } {
  const tokens: { readonly own: Alternative; readonly top: readonly Alternative[]; readonly at: number }[] =
    [];
  let end = start;
  for (const { text, logprobs } of pieces) {
    if (logprobs) tokens.push({ ...logprobs, at: end });
    end += Array.from(text).length;
  }
  if (tokens.length === 0) return { logprobs: null, end };
  const logprobs = {
    tokens: tokens.map(({ own }) => own.text),
    token_logprobs: tokens.map(({ own }) => logprobText(own.logprob)),
    top_logprobs: tokens.map(({ own, top }) => byText([...top, own])),
    text_offset: tokens.map(({ at }) => at),
  };
  return { logprobs, end };
}

/** Of several tokens with one text, such as parts of a character, the likeliest is told. */
function byText(alternatives: readonly Alternative[]): object {
  const entries = alternatives.map(({ text, logprob }) => [text, logprobText(logprob)] as const);
  return Object.fromEntries([...entries].reverse());
}
