import * as library from '@huggingface/jinja';

/** What is used of the library, whose own declarations do not resolve under `nodenext`. */
interface Environment {
  set(name: string, value: unknown): void;
}
const { Template, Environment, Interpreter } = library as unknown as {
  readonly Template: new (source: string) => { readonly parsed: object };
  readonly Environment: new () => Environment;
  readonly Interpreter: new (environment: Environment) => { run(program: object): { readonly value: unknown } };
};

/** One turn of a conversation. */
export interface ChatMessage {
  readonly role: string;
  readonly content: string;
  readonly name?: string;
  /** What the assistant called. */
  readonly tool_calls?: readonly TemplateCall[];
  /** Of a message that answers a call. */
  readonly tool_call_id?: string;
}

/** A call as templates read it: its arguments are an object, not its text. */
export interface TemplateCall {
  readonly id: string;
  readonly type: 'function';
  readonly function: { readonly name: string; readonly arguments: object };
}

/** Tokens that a template writes by name. */
export interface TemplateTokens {
  readonly bosToken: string | undefined;
  readonly eosToken: string | undefined;
}

/** A model's chat template. */
export class PromptTemplate {
  readonly #parsed: object;

  /** Throws where the text is no template. */
  constructor(source: string) {
    this.#parsed = new Template(source).parsed;
  }

  /**
   * The prompt that asks for the next turn of the assistant. Throws what the template raises, which may quote
   * messages. Templates have no clock here (`strftime_now`): the prompt follows from the messages and the model alone,
   * so that an answer can be made again. Templates that would tell the date take their fixed one. `tools` are there
   * for the template only where there are some.
   */
  render(
    messages: readonly ChatMessage[],
    { bosToken = '', eosToken = '' }: TemplateTokens,
    tools: readonly object[] = [],
  ): string {
    const environment = new Environment();
    for (const [name, value] of Object.entries(GLOBALS)) environment.set(name, value);
    environment.set('messages', messages);
    if (tools.length > 0) environment.set('tools', tools);
    environment.set('add_generation_prompt', true);
    environment.set('bos_token', bosToken);
    environment.set('eos_token', eosToken);
    const { value } = new Interpreter(environment).run(this.#parsed);
    if (typeof value !== 'string') throw new Error('the template gives no text');
    return value;
  }
}

/** Longest range of a template: loops over it end. */
const MAX_RANGE = 100_000;

const GLOBALS: Readonly<Record<string, unknown>> = {
  true: true,
  false: false,
  none: null,
  True: true,
  False: false,
  None: null,
  range,
  raise_exception: (message: unknown): never => {
    throw new Error(String(message));
  },
};

/** Python's `range`. */
function range(first: number, second?: number, step = 1): readonly number[] {
  const [start, end] = second === undefined ? [0, first] : [first, second];
  const length = Math.max(0, Math.ceil((end - start) / step));
  if (!(length <= MAX_RANGE)) throw new Error('the range of a template is too long');
  return Array.from({ length }, (_, i) => start + i * step);
}
