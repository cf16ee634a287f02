import type { CallForm } from './chatShape.ts';

/** What a text turns out to be, in its order. `call` is the number of the call. */
export type CallEvent =
  | { readonly kind: 'content'; readonly text: string }
  | { readonly kind: 'call'; readonly call: number; readonly name: string }
  | { readonly kind: 'arguments'; readonly call: number; readonly text: string };

const OPENS = '<tool_call>';
const CLOSES = '</tool_call>';
const HEAD = /^\s*\{\s*"name"\s*:\s*"([a-zA-Z0-9_-]{1,64})"\s*,\s*"arguments"\s*:\s*(?=\{)/;

/**
 * Finds calls in a text that comes piece by piece: `<tool_call>{"name": ..., "arguments": {...}}</tool_call>`, and a
 * text that is nothing but such an object. What looks like a call and is none of the tools' is content.
 */
export class CallReader {
  readonly #form: CallForm;
  #state: 'start' | 'text' | 'head' | 'arguments' | 'tail' | 'whole';
  #held = '';
  #calls = 0;
  #depth = 0;
  #quoted = false;
  #escaped = false;

  constructor(form: CallForm) {
    this.#form = form;
    this.#state = form.bare ? 'head' : 'start';
  }

  /** Calls that were begun. */
  get calls(): number {
    return this.#calls;
  }

  push(text: string): readonly CallEvent[] {
    this.#held += text;
    const events: CallEvent[] = [];
    while (this.#advance(events));
    return events;
  }

  /** The text has ended: what was held back is decided. */
  end(): readonly CallEvent[] {
    const events: CallEvent[] = [];
    const held = this.#held;
    this.#held = '';
    if (this.#state === 'whole' || this.#state === 'head') {
      const bare = this.#state === 'whole' || this.#form.bare;
      // Of a call that a limit has ended, nothing is known before its name is.
      if (!this.#tell(events, held) && !(this.#form.constrained && this.#state === 'head')) {
        this.#content(events, bare ? held : OPENS + held);
      }
    } else if (this.#state === 'text') this.#content(events, held);
    return events;
  }

  /** True where more may follow from what is held. */
  #advance(events: CallEvent[]): boolean {
    switch (this.#state) {
      case 'start':
        if (this.#held.trim() === '') return false;
        this.#state = this.#held.trimStart().startsWith('{') ? 'whole' : 'text';
        return true;
      case 'whole':
        return false;
      case 'text':
        return this.#advanceText(events);
      case 'head':
        return this.#advanceHead(events);
      case 'arguments':
        return this.#advanceArguments(events);
      case 'tail':
        return this.#advanceTail();
    }
  }

  #advanceText(events: CallEvent[]): boolean {
    const at = this.#held.indexOf(OPENS);
    const end = at < 0 ? this.#held.length - beginning(this.#held) : at;
    this.#content(events, this.#held.slice(0, end));
    this.#held = at < 0 ? this.#held.slice(end) : this.#held.slice(at + OPENS.length);
    if (at >= 0) this.#state = 'head';
    return at >= 0;
  }

  #advanceHead(events: CallEvent[]): boolean {
    if (this.#form.constrained) {
      const head = HEAD.exec(this.#held);
      if (!head) return false;
      events.push({ kind: 'call', call: this.#calls++, name: head[1] ?? '' });
      this.#held = this.#held.slice(head[0].length);
      this.#state = 'arguments';
      return true;
    }
    const at = this.#held.indexOf(CLOSES);
    if (at < 0) return false;
    const within = this.#held.slice(0, at);
    if (!this.#tell(events, within)) this.#content(events, OPENS + within + CLOSES);
    this.#held = this.#held.slice(at + CLOSES.length);
    this.#state = 'text';
    return true;
  }

  /** The arguments as they come, up to the brace that closes them. */
  #advanceArguments(events: CallEvent[]): boolean {
    let end = 0;
    while (end < this.#held.length && !this.#closes(this.#held.charAt(end))) end++;
    const closed = end < this.#held.length;
    const text = this.#held.slice(0, closed ? end + 1 : end);
    this.#held = this.#held.slice(text.length);
    if (text !== '') events.push({ kind: 'arguments', call: this.#calls - 1, text });
    if (closed) this.#state = 'tail';
    return closed;
  }

  #closes(character: string): boolean {
    if (this.#escaped) this.#escaped = false;
    else if (this.#quoted && character === '\\') this.#escaped = true;
    else if (character === '"') this.#quoted = !this.#quoted;
    else if (!this.#quoted && '{['.includes(character)) this.#depth++;
    else if (!this.#quoted && '}]'.includes(character)) return --this.#depth === 0;
    return false;
  }

  #advanceTail(): boolean {
    const at = this.#held.indexOf(CLOSES);
    if (at < 0) return false;
    this.#held = this.#held.slice(at + CLOSES.length);
    this.#state = 'text';
    return true;
  }

  /** Between calls, white space says nothing. */
  #content(events: CallEvent[], text: string): void {
    if (text !== '' && (this.#calls === 0 || text.trim() !== '')) events.push({ kind: 'content', text });
  }

  /** Tells a whole call; false where the text is none of the tools'. */
  #tell(events: CallEvent[], text: string): boolean {
    const found = parseCall(text);
    if (!found || !this.#form.names.has(found.name)) return false;
    const call = this.#calls++;
    events.push({ kind: 'call', call, name: found.name }, { kind: 'arguments', call, text: found.text });
    return true;
  }
}

/** Characters at the end that may be the beginning of the opening tag. */
function beginning(text: string): number {
  let length = Math.min(text.length, OPENS.length - 1);
  while (!text.endsWith(OPENS.slice(0, length))) length--;
  return length;
}

/** An object that has a name and arguments (or parameters, as Llama says), and nothing else. */
function parseCall(text: string): { readonly name: string; readonly text: string } | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== 'object' || value === null || Object.keys(value).length !== 2) return undefined;
  const { name, arguments: own, parameters = own } = value as Readonly<Record<string, unknown>>;
  if (typeof name !== 'string' || typeof parameters !== 'object' || parameters === null) return undefined;
  if (Array.isArray(parameters)) return undefined;
  const head = HEAD.exec(text);
  // The text itself where it is in the usual order: numbers stay as they were written.
  const written = head ? text.slice(head[0].length).trimEnd().slice(0, -1).trimEnd() : undefined;
  return { name, text: written ?? JSON.stringify(parameters) };
}
