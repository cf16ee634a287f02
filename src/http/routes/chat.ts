import type { Alternative, LoadedModel } from '../../engine/engine.ts';
import { type ChatMessage, PromptTemplate } from '../../models/chatTemplate.ts';
import { type AnswerForm, answerChoices, logprobText, type Piece } from '../choices.ts';
import { ServiceError } from '../errors.ts';
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
import { type Call, type InferenceRoute, parseObject, requireModel } from '../inference.ts';

const MAX_TOP_LOGPROBS = 20;

/** `POST /v1/chat/completions` of OpenAI's API: text in, text out. */
export const CHAT: InferenceRoute<Body> = {
  dialect: 'openai',
  name({ bytes }, engine) {
    const input = parseObject(bytes);
    return { model: requireModel(engine, input['model'], 'model'), input };
  },
  answer(call) {
    const { input, model } = call;
    const prompt = templateOf(model);
    const settings = readGeneration(input, model, readOwn(input, model.maxTokens));
    const text = prompt(readMessages(input['messages']));
    recordGeneration(call, settings);
    return answerChoices(call, { text, templated: true }, settings, form(call));
  },
};

/** Values of members that are read by nobody here. */
const NEUTRAL: Neutral = {
  parallel_tool_calls: (value) => typeof value === 'boolean',
  response_format: (value) => isObject(value) && Object.keys(value).length === 1 && value['type'] === 'text',
  store: (value) => value === false,
  tool_choice: (value) => value === 'none',
  tools: (value) => Array.isArray(value) && value.length === 0,
};

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
    names: ['messages', 'max_tokens', 'max_completion_tokens', 'logprobs', 'top_logprobs'],
    maxTokens: newer ?? older ?? limit,
    logprobs: logprobs ? (top ?? 0) : undefined,
    neutral: NEUTRAL,
  };
}

/** Templates as they were parsed: a model lives as long as the service. */
const TEMPLATES = new WeakMap<object, PromptTemplate>();

/** Writes the prompt of a conversation as the model expects it. */
function templateOf(model: LoadedModel): (messages: readonly ChatMessage[]) => string {
  if (!model.tasks.includes('generate')) {
    throw new ServiceError('UNSUPPORTED_TASK', 'the model does not generate', 'model');
  }
  const { chatTemplate } = model;
  if (!chatTemplate) {
    throw new ServiceError('CHAT_TEMPLATE_MISSING', 'the model has no chat template', 'model');
  }
  const template = TEMPLATES.get(chatTemplate) ?? new PromptTemplate(chatTemplate.template);
  TEMPLATES.set(chatTemplate, template);
  return (messages) => {
    try {
      return template.render(messages, chatTemplate);
    } catch {
      // What a template raises may quote the conversation.
      throw invalid('messages', 'the chat template of the model does not take these messages');
    }
  };
}

const MESSAGES = 'messages is a list of objects with role and content';
/** Developers are to this API what the system is to chat templates. */
const ROLES: ReadonlyMap<unknown, string> = new Map([
  ['system', 'system'],
  ['developer', 'system'],
  ['user', 'user'],
  ['assistant', 'assistant'],
]);

function readMessages(value: unknown): readonly ChatMessage[] {
  if (!Array.isArray(value) || value.length === 0) throw invalid('messages', MESSAGES);
  return value.map((message: unknown, i) => readMessage(message, `messages[${i}]`));
}

function readMessage(message: unknown, param: string): ChatMessage {
  if (!isObject(message)) throw invalid(param, MESSAGES);
  const role = ROLES.get(message['role']);
  if (role === undefined) throw invalid(`${param}.role`, 'the role is system, developer, user or assistant');
  for (const [member, given] of Object.entries(message)) {
    if (['role', 'content', 'name'].includes(member) || given === null) continue;
    throw invalid(`${param}.${member.slice(0, 64)}`, 'a member of a message is not supported');
  }
  const name = message['name'] ?? undefined;
  if (name !== undefined && typeof name !== 'string') throw invalid(`${param}.name`, 'the name is a text');
  return {
    role,
    content: readContent(message['content'], `${param}.content`),
    ...(name !== undefined && { name }),
  };
}

/** A text, or parts of it, which are joined. */
function readContent(content: unknown, param: string): string {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content) || content.length === 0) throw invalid(param, 'the content is text');
  return content.map((part: unknown) => readPart(part, param)).join('');
}

function readPart(part: unknown, param: string): string {
  const fits = isObject(part) && part['type'] === 'text' && Object.keys(part).length === 2;
  const text = fits ? part['text'] : undefined;
  if (typeof text !== 'string') throw invalid(param, 'every part of the content is text');
  return text;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function form({ receiptId, model, input }: Call<Body>): AnswerForm {
  const created = Math.floor(Date.now() / 1000);
  const object = input['stream'] === true ? 'chat.completion.chunk' : 'chat.completion';
  const begun = new Set<number>();
  const delta = (choice: number, content: string | undefined): object => {
    const first = !begun.has(choice);
    begun.add(choice);
    if (first) return { role: 'assistant', content: content ?? '', refusal: null };
    return content === undefined ? {} : { content };
  };
  return {
    frame: { id: `chatcmpl-${receiptId}`, object, created, model: model.id },
    whole: (index, pieces, finish_reason) => {
      const content = pieces.map((piece) => piece.text).join('');
      const message = { role: 'assistant', content, refusal: null };
      return { index, message, logprobs: describe(pieces), finish_reason };
    },
    chunk: (index, piece, finish_reason) => {
      const logprobs = piece ? describe([piece]) : null;
      return { index, delta: delta(index, piece?.text), logprobs, finish_reason };
    },
  };
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
