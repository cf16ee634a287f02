import { SchemaCheck } from '../engine/constraint/constraint.ts';
import { type ConstraintSpec, SchemaError, type ToolSpec } from '../engine/constraint/spec.ts';
import type { ChatTemplate } from '../engine/engine.ts';
import { type Body, invalid } from './generationSettings.ts';
import type { Call } from './inference.ts';

const NAME = /^[a-zA-Z0-9_-]{1,64}$/;
const MAX_TOOLS = 128;
const NO_ARGUMENTS = { type: 'object', properties: {}, additionalProperties: false };

/** What a chat asks of the form of its answer. */
export interface ChatShape {
  /** As the chat template reads them. */
  readonly tools: readonly object[];
  readonly constraint: ConstraintSpec | undefined;
  /** How calls are to be found in the text; undefined: it is all content. */
  readonly calls: CallForm | undefined;
}

export interface CallForm {
  /** Names of the tools that may be called. */
  readonly names: ReadonlySet<string>;
  /** The text is one call by itself from its first character. */
  readonly bare: boolean;
  /** What stands within tags is known to be a call: it need not be complete to be told. */
  readonly constrained: boolean;
}

export const SHAPE_MEMBERS = ['response_format', 'tools', 'tool_choice', 'parallel_tool_calls'];

/** Reads and judges `response_format`, `tools`, `tool_choice` and `parallel_tool_calls`. */
export function readShape(input: Body, template: ChatTemplate | undefined): ChatShape {
  const check = new SchemaCheck();
  const format = readFormat(input['response_format'] ?? undefined, check);
  const tools = readTools(input['tools'] ?? [], check);
  const choice = readChoice(input['tool_choice'] ?? undefined, tools);
  const parallel = input['parallel_tool_calls'] ?? true;
  if (typeof parallel !== 'boolean') {
    throw invalid('parallel_tool_calls', 'parallel_tool_calls is true or false');
  }
  if (choice === 'none') return { tools: [], constraint: format, calls: undefined };
  if (format) throw invalid('response_format', 'response_format is text where tools may be called');
  const source = template?.template ?? '';
  if (!/\btools\b/.test(source)) {
    throw invalid('tools', 'the chat template of the model has no place for tools');
  }
  const tagged = source.includes('<tool_call>');
  return { tools: tools.map(({ shown }) => shown), ...callsOf(tools, choice, tagged, parallel) };
}

/** A model whose template has tags is held to them; another is held to a call where it has to make one. */
function callsOf(
  tools: readonly Tool[],
  choice: Exclude<ToolChoice, 'none'>,
  tagged: boolean,
  parallel: boolean,
): Pick<ChatShape, 'constraint' | 'calls'> {
  const callable = typeof choice === 'string' ? tools : tools.filter(({ name }) => name === choice.name);
  const mode = choice === 'auto' ? 'auto' : 'required';
  const constrained = mode === 'required' || tagged;
  const specs = callable.map(({ spec }) => spec);
  return {
    constraint: constrained ? { kind: 'tool-calls', tools: specs, mode, tagged, parallel } : undefined,
    calls: {
      names: new Set(callable.map(({ name }) => name)),
      bare: mode === 'required' && !tagged,
      constrained,
    },
  };
}

/** Writes down for the receipt what was asked: schemas can hold content, and are committed to. */
export function recordShape(
  { parameters, commitParameter }: Pick<Call<unknown>, 'parameters' | 'commitParameter'>,
  input: Body,
): void {
  const { tools, tool_choice: choice, parallel_tool_calls: parallel, response_format: format } = input;
  if (isObject(format) && format['type'] !== 'text') commitParameter('response_format', format);
  if (!Array.isArray(tools) || tools.length === 0) return;
  commitParameter('tools', isObject(choice) ? { tools, tool_choice: choice } : tools);
  parameters.set('tool_choice', typeof choice === 'string' ? choice : isObject(choice) ? 'function' : 'auto');
  if (parallel === false) parameters.set('parallel_tool_calls', 'false');
}

function readFormat(value: unknown, check: SchemaCheck): ConstraintSpec | undefined {
  if (value === undefined) return undefined;
  const type = isObject(value) ? value['type'] : undefined;
  if (!isObject(value) || !hasOnly(value, type === 'json_schema' ? ['type', 'json_schema'] : ['type'])) {
    throw invalid('response_format', 'response_format is of the type text, json_object or json_schema');
  }
  switch (type) {
    case 'text':
      return undefined;
    case 'json_object':
      return { kind: 'json-object' };
    case 'json_schema':
      return readJsonSchema(value['json_schema'], check);
    default:
      throw invalid('response_format.type', 'the type is text, json_object or json_schema');
  }
}

function readJsonSchema(value: unknown, check: SchemaCheck): ConstraintSpec {
  const param = 'response_format.json_schema';
  if (!isObject(value) || !hasOnly(value, ['name', 'description', 'schema', 'strict'])) {
    throw invalid(param, 'json_schema has name, description, schema and strict');
  }
  readName(value['name'], `${param}.name`);
  const strict = readStrict(value['strict'], `${param}.strict`);
  const schema = value['schema'];
  refuseAt(`${param}.schema`, () => {
    check.requireSchema(schema, strict ?? false);
  });
  return { kind: 'json-schema', schema, strict: strict ?? false };
}

interface Tool {
  readonly name: string;
  readonly shown: object;
  readonly spec: ToolSpec;
}

function readTools(value: unknown, check: SchemaCheck): readonly Tool[] {
  if (!Array.isArray(value) || value.length > MAX_TOOLS) {
    throw invalid('tools', `tools is a list of up to ${MAX_TOOLS}`);
  }
  const tools = value.map((tool: unknown, i) => readTool(tool, `tools[${i}]`, check));
  if (new Set(tools.map(({ name }) => name)).size < tools.length) {
    throw invalid('tools', 'two tools have one name');
  }
  return tools;
}

function readTool(value: unknown, param: string, check: SchemaCheck): Tool {
  const declared = isObject(value) && value['type'] === 'function' ? value['function'] : undefined;
  if (!isObject(value) || !isObject(declared) || !hasOnly(value, ['type', 'function'])) {
    throw invalid(param, 'a tool is of the type function');
  }
  const within = `${param}.function`;
  if (!hasOnly(declared, ['name', 'description', 'parameters', 'strict'])) {
    throw invalid(within, 'a function has name, description, parameters and strict');
  }
  const name = readName(declared['name'], `${within}.name`);
  const { description } = declared;
  if (typeof (description ?? '') !== 'string') {
    throw invalid(`${within}.description`, 'the description is a text');
  }
  const parameters = declared['parameters'] ?? NO_ARGUMENTS;
  const spec = { name, ...readParameters(parameters, declared['strict'], within) };
  refuseAt(`${within}.parameters`, () => {
    check.requireTool(spec);
  });
  const shown = { name, ...(typeof description === 'string' && { description }), parameters };
  return { name, shown: { type: 'function', function: shown }, spec };
}

/** With `strict: false` the arguments are any object, whatever the schema says. */
function readParameters(parameters: unknown, stated: unknown, within: string): Omit<ToolSpec, 'name'> {
  const strict = readStrict(stated, `${within}.strict`);
  if (!isObject(parameters) || (parameters['type'] ?? 'object') !== 'object') {
    throw invalid(`${within}.parameters`, 'the parameters are a JSON Schema of the type object');
  }
  if (strict === false) return { parameters: undefined, strict };
  const enforced = Object.hasOwn(parameters, '$ref') ? parameters : { type: 'object', ...parameters };
  return { parameters: enforced, strict: strict ?? false };
}

type ToolChoice = 'none' | 'auto' | 'required' | { readonly name: string };

function readChoice(value: unknown, tools: readonly Tool[]): ToolChoice {
  const choice = value ?? (tools.length === 0 ? 'none' : 'auto');
  if (choice === 'none') return choice;
  if (tools.length === 0) throw invalid('tool_choice', 'tool_choice needs tools');
  if (choice === 'auto' || choice === 'required') return choice;
  const named = isObject(choice) && choice['type'] === 'function' ? choice['function'] : undefined;
  const name = isObject(named) && hasOnly(named, ['name']) ? named['name'] : undefined;
  if (typeof name === 'string' && tools.some((tool) => tool.name === name)) return { name };
  throw invalid('tool_choice', 'tool_choice is none, auto, required or a function that is among the tools');
}

/** Says what cannot be enforced before the model is asked. */
function refuseAt(param: string, check: () => void): void {
  try {
    check();
  } catch (error) {
    if (error instanceof SchemaError) throw invalid(param, error.message);
    throw error;
  }
}

function readName(value: unknown, param: string): string {
  if (typeof value === 'string' && NAME.test(value)) return value;
  throw invalid(param, 'the name is 1 to 64 of letters, digits, _ and -');
}

function readStrict(value: unknown, param: string): boolean | undefined {
  if (value === undefined || value === null) return undefined;
  if (typeof value === 'boolean') return value;
  throw invalid(param, 'strict is true or false');
}

function hasOnly(value: Body, names: readonly string[]): boolean {
  return Object.entries(value).every(([name, given]) => names.includes(name) || given === null);
}

function isObject(value: unknown): value is Body {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
