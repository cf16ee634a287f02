import type { LoadedModel } from '../engine/engine.ts';
import type { ChatMessage } from '../models/chatTemplate.ts';
import { readShape } from './chatShape.ts';
import { ServiceError } from './errors.ts';
import {
  type Body,
  type GenerationSettings,
  invalid,
  type Neutral,
  readGeneration,
  readInteger,
} from './generationSettings.ts';
import { isObject, pick, refuseOthers } from './members.ts';

/** Of OpenAI's API, as its documentation has them. */
const MAX_METADATA = 16;
const MAX_METADATA_NAME = 64;
const MAX_METADATA_VALUE = 512;

/** Members that generations of every API have. `seed` and `top_k` are an addition to this one. */
const SAMPLING = ['temperature', 'top_p', 'top_k', 'seed', 'stream'];
const READ = ['model', 'input', 'instructions', 'max_output_tokens', 'metadata', 'text', ...SAMPLING];

/** Developers are to this API what the system is to chat templates. */
const ROLES: ReadonlyMap<unknown, string> = new Map([
  ['system', 'system'],
  ['developer', 'system'],
  ['user', 'user'],
  ['assistant', 'assistant'],
]);

const isText = (value: unknown): value is string => typeof value === 'string';
const isEmptyList = (value: unknown): boolean => Array.isArray(value) && value.length === 0;

/** Values of members that are read by nobody here: nothing is kept, and there are no tools. */
const NEUTRAL: Neutral = {
  background: (value) => value === false,
  include: isEmptyList,
  parallel_tool_calls: (value) => typeof value === 'boolean',
  prompt_cache_key: isText,
  safety_identifier: isText,
  store: (value) => value === false,
  tool_choice: (value) => value === 'none' || value === 'auto',
  tools: isEmptyList,
  truncation: (value) => value === 'disabled',
  user: isText,
};

/** What a request to `/v1/responses` asks. */
export interface ResponseRequest {
  /** The instructions first, as a message of the system. */
  readonly messages: readonly ChatMessage[];
  readonly instructions: string | null;
  /** As asked for; null where the context of the model is the bound. */
  readonly maxOutputTokens: number | null;
  /** Echoed. */
  readonly metadata: Readonly<Record<string, string>>;
  readonly format: ResponseFormat;
  readonly settings: GenerationSettings;
}

/** What the text has to be. */
export interface ResponseFormat {
  /** Echoed. */
  readonly stated: Body;
  /** As chats have it: the receipt commits to this. */
  readonly response_format: Body;
}

export function readResponseRequest(input: Body, model: LoadedModel): ResponseRequest {
  refuseOthers(input, READ, { neutral: NEUTRAL });
  const { constraint, ...format } = readFormat(input['text'] ?? {});
  const { maxTokens: limit = Number.MAX_SAFE_INTEGER } = model;
  const maxOutputTokens = readInteger(input, 'max_output_tokens', 1, limit);
  const own = { names: [], maxTokens: maxOutputTokens ?? limit, logprobs: undefined, neutral: {} };
  const instructions = readInstructions(input['instructions'] ?? null);
  const system = instructions === null ? [] : [{ role: 'system', content: instructions }];
  return {
    messages: [...system, ...readInput(input['input'])],
    instructions,
    maxOutputTokens: maxOutputTokens ?? null,
    metadata: readMetadata(input['metadata'] ?? {}),
    format,
    settings: { ...readGeneration(pick(input, SAMPLING), model, own), constraint },
  };
}

/** The formats of chats: the members of a schema stand beside its type here. */
function readFormat(text: unknown): ResponseFormat & Pick<GenerationSettings, 'constraint'> {
  if (!isObject(text)) throw invalid('text', 'text is an object');
  refuseOthers(text, ['format'], { within: 'text' });
  const stated = text['format'] ?? { type: 'text' };
  if (!isObject(stated)) throw invalid('text.format', 'the format is an object');
  const { type, ...members } = stated;
  const response_format = type === 'json_schema' ? { type, json_schema: members } : stated;
  try {
    const { constraint } = readShape({ response_format }, undefined);
    return { stated, response_format, constraint };
  } catch (error) {
    const { param, message } = error instanceof ServiceError ? error : {};
    if (param === undefined) throw error;
    const here = param.replace(/^response_format(?:\.json_schema)?/, 'text.format');
    throw invalid(here, String(message).replace('response_format', 'text.format'));
  }
}

function readInstructions(value: unknown): string | null {
  if (value === null || typeof value === 'string') return value;
  throw invalid('instructions', 'instructions is a text');
}

function readMetadata(value: unknown): Readonly<Record<string, string>> {
  const entries = isObject(value) ? Object.entries(value) : undefined;
  const fits =
    entries !== undefined &&
    entries.length <= MAX_METADATA &&
    entries.every(
      ([name, text]) => name.length <= MAX_METADATA_NAME && isText(text) && text.length <= MAX_METADATA_VALUE,
    );
  if (fits) return Object.fromEntries(entries) as Record<string, string>;
  throw invalid(
    'metadata',
    `metadata is up to ${MAX_METADATA} texts of up to ${MAX_METADATA_VALUE} characters, ` +
      `their names of up to ${MAX_METADATA_NAME}`,
  );
}

const INPUT = 'input is a text or a list of messages with role and content';

function readInput(value: unknown): readonly ChatMessage[] {
  if (typeof value === 'string') return [{ role: 'user', content: value }];
  if (!Array.isArray(value) || value.length === 0) throw invalid('input', INPUT);
  return value.map((item: unknown, i) => readItem(item, `input[${i}]`));
}

/** A message; those that a response had may be given back as they are, with id and status. */
function readItem(item: unknown, param: string): ChatMessage {
  if (!isObject(item)) throw invalid(param, INPUT);
  const { type = 'message', role: given, content } = item;
  if (type !== 'message') throw invalid(`${param}.type`, 'the items of input are messages');
  const role = ROLES.get(given);
  if (role === undefined) throw invalid(`${param}.role`, 'the role is system, developer, user or assistant');
  const neutral = { id: isText, status: isText };
  refuseOthers(item, ['type', 'role', 'content'], { neutral, within: param });
  return { role, content: readContent(content, role, `${param}.content`) };
}

/** A text, or parts of it, which are joined. */
function readContent(content: unknown, role: string, param: string): string {
  if (typeof content === 'string') return content;
  if (!Array.isArray(content) || content.length === 0) throw invalid(param, 'the content is text');
  const type = role === 'assistant' ? 'output_text' : 'input_text';
  return content.map((part: unknown) => readPart(part, type, param)).join('');
}

function readPart(part: unknown, type: string, param: string): string {
  if (!isObject(part) || part['type'] !== type || !isText(part['text'])) {
    throw invalid(param, `every part of the content is ${type} here`);
  }
  const neutral = type === 'output_text' ? { annotations: isEmptyList, logprobs: isEmptyList } : {};
  refuseOthers(part, ['type', 'text'], { neutral, within: param });
  return part['text'];
}
