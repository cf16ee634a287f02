import type { ChatMessage, TemplateCall } from '../models/chatTemplate.ts';
import { type Body, invalid } from './generationSettings.ts';

const MESSAGES = 'messages is a list of objects with role and content';
/** Developers are to this API what the system is to chat templates. */
const ROLES: ReadonlyMap<unknown, string> = new Map([
  ['system', 'system'],
  ['developer', 'system'],
  ['user', 'user'],
  ['assistant', 'assistant'],
  ['tool', 'tool'],
]);
/** Members that messages of some roles have besides those of all. */
const OWN_MEMBERS: Readonly<Record<string, string>> = { assistant: 'tool_calls', tool: 'tool_call_id' };
/** Calls in one message. */
const MAX_CALLS = 128;

export function readMessages(value: unknown): readonly ChatMessage[] {
  if (!Array.isArray(value) || value.length === 0) throw invalid('messages', MESSAGES);
  return value.map((message: unknown, i) => readMessage(message, `messages[${i}]`));
}

function readMessage(message: unknown, param: string): ChatMessage {
  if (!isObject(message)) throw invalid(param, MESSAGES);
  const role = ROLES.get(message['role']);
  if (role === undefined) {
    throw invalid(`${param}.role`, 'the role is system, developer, user, assistant or tool');
  }
  const given = Object.fromEntries(Object.entries(message).filter(([, value]) => value !== null));
  for (const member of Object.keys(given)) {
    if (['role', 'content', 'name', OWN_MEMBERS[role]].includes(member)) continue;
    throw invalid(`${param}.${member.slice(0, 64)}`, 'a member of a message is not supported');
  }
  const { name, content, tool_calls: listed } = given;
  if (name !== undefined && typeof name !== 'string') throw invalid(`${param}.name`, 'the name is a text');
  const calls = listed === undefined ? undefined : readCalls(listed, `${param}.tool_calls`);
  return {
    role,
    content: calls && content === undefined ? '' : readContent(content, `${param}.content`),
    ...(name !== undefined && { name }),
    ...(calls && { tool_calls: calls }),
    ...(role === 'tool' && { tool_call_id: readText(given['tool_call_id'], `${param}.tool_call_id`) }),
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

function readCalls(value: unknown, param: string): readonly TemplateCall[] {
  if (!Array.isArray(value) || value.length === 0 || value.length > MAX_CALLS) {
    throw invalid(param, `tool_calls is a list of 1 to ${MAX_CALLS} calls`);
  }
  return value.map((call: unknown, i) => readCall(call, `${param}[${i}]`));
}

function readCall(call: unknown, param: string): TemplateCall {
  const called = isObject(call) && call['type'] === 'function' ? call['function'] : undefined;
  if (!isObject(call) || !isObject(called)) throw invalid(param, 'a call is of the type function');
  const own = { ...call, ...called };
  const known = ['id', 'type', 'function', 'name', 'arguments'];
  if (!Object.keys(own).every((member) => known.includes(member))) {
    throw invalid(param, 'a call has id, type and function, which has name and arguments');
  }
  const text = readText(called['arguments'], `${param}.function.arguments`);
  return {
    id: readText(call['id'], `${param}.id`),
    type: 'function',
    function: {
      name: readText(called['name'], `${param}.function.name`),
      arguments: readArguments(text, `${param}.function.arguments`),
    },
  };
}

function readArguments(text: string, param: string): object {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  if (isObject(value)) return value;
  throw invalid(param, 'the arguments are the text of a JSON object');
}

function readText(value: unknown, param: string): string {
  if (typeof value === 'string' && value !== '') return value;
  throw invalid(param, 'this is a text');
}

function isObject(value: unknown): value is Body {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
