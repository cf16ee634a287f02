import { fromUtf8, utf8 } from '../../../attestation/bytes/bytes.ts';

type Json = string | number | boolean | null | Json[] | { [name: string]: Json };

/** Longest placeholder, characters: `[`, kind, `_`, number, `]`. */
const MAX_PLACEHOLDER = 80;
/** What may be the beginning of a placeholder, at the end of a text. */
const BEGINNING = /\[[A-Z0-9_]*$/;
const PLACEHOLDER = /\[[A-Z0-9_]{1,78}\]/g;

/**
 * Puts the originals back where an answer repeats placeholders. What the caller gets then differs from what the receipt
 * commits to, which is kept with the receipt, by this alone.
 */
export class Restoration {
  readonly #originals: ReadonlyMap<string, string>;
  /** By place in the answer, such as `0.content`: text that may be the beginning of a placeholder. */
  readonly #rests = new Map<string, string>();

  constructor(originals: ReadonlyMap<string, string>) {
    this.#originals = originals;
  }

  /** A whole answer; what is no JSON stays as it is. */
  body(body: Uint8Array): Uint8Array {
    const value = jsonOf(fromUtf8(body));
    return value === undefined ? body : utf8(JSON.stringify(this.#restored(value)));
  }

  /** One chunk of a stream: what goes out for it. A placeholder may come in pieces. */
  chunk(text: string): readonly string[] {
    const value = jsonOf(text);
    return value === undefined ? [text] : this.#inStream(value).map((part) => JSON.stringify(part));
  }

  #inStream(value: Json): readonly Json[] {
    if (!isObject(value)) return [value];
    const { choices, delta, type, text_output: output } = value;
    if (Array.isArray(choices)) return [{ ...value, choices: choices.map((choice) => this.#choice(choice)) }];
    if (typeof output === 'string')
      return [{ ...value, text_output: this.#piece('', output, output === '') }];
    if (type === 'response.output_text.delta' && typeof delta === 'string') {
      return [{ ...value, delta: this.#piece(placeOf(value), delta, false) }];
    }
    if (type !== 'response.output_text.done') return [this.#restored(value)];
    const rest = this.#piece(placeOf(value), '', true);
    const place = Object.fromEntries(Object.entries(value).filter(([name]) => name !== 'text'));
    const last = { ...place, type: 'response.output_text.delta', delta: rest };
    return [...(rest === '' ? [] : [last]), this.#restored(value)];
  }

  /** Of a chat or a completion: the last piece of a choice comes with its reason to end, or before it. */
  #choice(choice: Json): Json {
    if (!isObject(choice)) return choice;
    const { index = 0, delta, text, finish_reason: reason = null } = choice;
    const place = JSON.stringify(index);
    const isLast = reason !== null;
    if (typeof text === 'string') return { ...choice, text: this.#piece(place, text, isLast) };
    if (!isObject(delta ?? null)) return choice;
    const { content = '' } = delta as { [name: string]: Json };
    if (typeof content !== 'string' || (content === '' && !isLast)) return choice;
    const restored = this.#piece(place, content, isLast);
    return restored === '' && content === ''
      ? choice
      : { ...choice, delta: { ...(delta as object), content: restored } };
  }

  /** The text that is certain by now. */
  #piece(place: string, text: string, isLast: boolean): string {
    const all = (this.#rests.get(place) ?? '') + text;
    const rest = isLast ? '' : (BEGINNING.exec(all)?.[0] ?? '');
    const kept = rest.length < MAX_PLACEHOLDER ? rest : '';
    this.#rests.set(place, kept);
    return this.#text(all.slice(0, all.length - kept.length));
  }

  #restored(value: Json): Json {
    if (typeof value === 'string') return this.#text(value);
    if (Array.isArray(value)) return value.map((part) => this.#restored(part));
    if (!isObject(value)) return value;
    return Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, this.#restored(inner)]));
  }

  #text(text: string): string {
    return text.replaceAll(PLACEHOLDER, (placeholder) => this.#originals.get(placeholder) ?? placeholder);
  }
}

function placeOf({
  item_id: item = '',
  content_index: index = 0,
}: {
  readonly [name: string]: Json;
}): string {
  return JSON.stringify([item, index]);
}

function isObject(value: Json): value is { [name: string]: Json } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function jsonOf(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
}
