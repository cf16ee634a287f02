import type { Alternative } from '../../engine/engine.ts';
import { type CallEvent, CallReader } from '../chatCalls.ts';
import { readMessages } from '../chatMessages.ts';
import { chatTemplateOf } from '../chatPrompt.ts';
import { type CallForm, readShape, recordShape, SHAPE_MEMBERS } from '../chatShape.ts';
import { type AnswerForm, answerChoices, logprobText, type Piece } from '../choices.ts';
import {
  type Body,
  invalid,
  type Neutral,
  type OwnSettings,
  readFlag,
  readGeneration,
  readInteger,
  recordGeneration,
} from '../generationSettings.ts';
import { type Call, type InferenceRoute, nameInBody } from '../inference.ts';

const MAX_TOP_LOGPROBS = 20;

/** `POST /v1/chat/completions` of OpenAI's API: text in, text out. */
export const CHAT: InferenceRoute<Body> = {
  dialect: 'openai',
  name: nameInBody,
  answer(call) {
    const { input, model } = call;
    const prompt = chatTemplateOf(model);
    const generation = readGeneration(input, model, readOwn(input, model.maxTokens));
    const { tools, constraint, calls } = readShape(input, model.chatTemplate);
    const settings = { ...generation, constraint };
    const text = prompt(readMessages(input['messages']), tools);
    recordGeneration(call, settings);
    recordShape(call, input);
    return answerChoices(call, [{ text, templated: true }], settings, form(call, calls));
  },
};

/** Values of members that are read by nobody here. */
const NEUTRAL: Neutral = { store: (value) => value === false };

function readOwn(input: Body, limit = Number.MAX_SAFE_INTEGER): OwnSettings {
  const older = readInteger(input, 'max_tokens', 1, limit);
  const newer = readInteger(input, 'max_completion_tokens', 1, limit);
  if (older !== undefined && newer !== undefined && older !== newer) {
    throw invalid('max_tokens', 'max_tokens and max_completion_tokens are the same, and differ here');
  }
  const top = readInteger(input, 'top_logprobs', 0, MAX_TOP_LOGPROBS);
  const logprobs = readFlag(input, 'logprobs');
  if (top !== undefined && !logprobs) throw invalid('top_logprobs', 'top_logprobs needs logprobs');
  return {
    names: ['messages', 'max_tokens', 'max_completion_tokens', 'logprobs', 'top_logprobs', ...SHAPE_MEMBERS],
    maxTokens: newer ?? older ?? limit,
    logprobs: logprobs ? (top ?? 0) : undefined,
    neutral: NEUTRAL,
  };
}

function form({ receiptId, model, input }: Call<Body>, calls: CallForm | undefined): AnswerForm {
  const created = Math.floor(Date.now() / 1000);
  const object = input['stream'] === true ? 'chat.completion.chunk' : 'chat.completion';
  const writers = new Map<number, MessageWriter>();
  const writerOf = (choice: number): MessageWriter => {
    const writer = writers.get(choice) ?? new MessageWriter(`call_${receiptId}_${choice}`, calls);
    writers.set(choice, writer);
    return writer;
  };
  return {
    frame: { id: `chatcmpl-${receiptId}`, object, created, model: model.id },
    whole: (index, pieces, reason) => {
      const writer = writerOf(index);
      const message = writer.message(pieces.map((piece) => piece.text).join(''));
      return { index, message, logprobs: describe(pieces), finish_reason: writer.reason(reason) };
    },
    chunk: (index, piece, reason) => {
      const writer = writerOf(index);
      const delta = writer.delta(piece?.text);
      const logprobs = piece ? describe([piece]) : null;
      return { index, delta, logprobs, finish_reason: reason && writer.reason(reason) };
    },
    isSilent: (chunk) => {
      const { delta, logprobs, finish_reason } = chunk as Readonly<Record<string, object | null>>;
      return Object.keys(delta ?? {}).length === 0 && logprobs === null && finish_reason === null;
    },
  };
}

interface ToolCall {
  readonly index: number;
  id?: string;
  type?: 'function';
  readonly function: { name?: string; arguments: string };
}

/** The message of one choice, whole or in pieces. */
class MessageWriter {
  readonly #id: string;
  readonly #reader: CallReader | undefined;
  #begun = false;

  constructor(id: string, calls: CallForm | undefined) {
    this.#id = id;
    this.#reader = calls && new CallReader(calls);
  }

  message(text: string): object {
    const { content, calls } = this.#gather(text, true);
    if (calls.length === 0) return { role: 'assistant', content, refusal: null };
    const tool_calls = calls.map(({ id, type, function: called }) => ({ id, type, function: called }));
    return { role: 'assistant', content: content.trim() === '' ? null : content, refusal: null, tool_calls };
  }

  /** The text is undefined at the end. The first piece that says something names the role. */
  delta(text: string | undefined): object {
    const { content, calls } = this.#gather(text ?? '', text === undefined);
    const said = {
      ...(content !== '' && { content }),
      ...(calls.length > 0 && { tool_calls: calls }),
    };
    const isSilent = Object.keys(said).length === 0;
    if (this.#begun || (isSilent && this.#reader && text !== undefined)) return said;
    this.#begun = true;
    const none = calls.length > 0 ? null : '';
    return { role: 'assistant', content: none, refusal: null, ...said };
  }

  reason(reason: 'stop' | 'length'): string {
    return reason === 'stop' && (this.#reader?.calls ?? 0) > 0 ? 'tool_calls' : reason;
  }

  #gather(text: string, ends: boolean): { readonly content: string; readonly calls: readonly ToolCall[] } {
    if (!this.#reader) return { content: text, calls: [] };
    const events = [...this.#reader.push(text), ...(ends ? this.#reader.end() : [])];
    const calls = new Map<number, ToolCall>();
    let content = '';
    for (const event of events) {
      if (event.kind === 'content') content += event.text;
      else this.#add(calls, event);
    }
    return { content, calls: [...calls.values()] };
  }

  #add(calls: Map<number, ToolCall>, event: Exclude<CallEvent, { kind: 'content' }>): void {
    const { call: index } = event;
    const known = calls.get(index) ?? { index, function: { arguments: '' } };
    if (event.kind === 'arguments') known.function.arguments += event.text;
    else {
      const called = { name: event.name, arguments: '' };
      calls.set(index, { index, id: `${this.#id}_${index}`, type: 'function', function: called });
      return;
    }
    calls.set(index, known);
  }
}

function describe(pieces: readonly Piece[]): object | null {
  const tokens = pieces.map(({ logprobs }) => logprobs).filter((logprobs) => logprobs !== undefined);
  if (tokens.length === 0) return null;
  const content = tokens.map(({ own, top }) => ({ ...toEntry(own), top_logprobs: top.map(toEntry) }));
  return { content, refusal: null };
}

/** Part of a character has no bytes of its own here. */
function toEntry({ text, logprob }: Alternative): object {
  const bytes = text.includes('\uFFFD') ? null : [...Buffer.from(text)];
  return { token: text, logprob: logprobText(logprob), bytes };
}
