import * as library from '@huggingface/tokenizers';
import type { ModelConfig } from '../models/config.ts';
import { FileRefused } from '../models/errors.ts';
import { EngineError, type Text } from './engine.ts';

/** What is used of the library, whose own declarations do not resolve under `nodenext`. */
interface LibraryTokenizer {
  encode(text: string, options: { add_special_tokens: boolean }): { readonly ids: readonly number[] };
  decode(
    ids: number[],
    options: { skip_special_tokens: boolean; clean_up_tokenization_spaces: boolean },
  ): string;
  get_added_tokens_decoder(): ReadonlyMap<number, { readonly special: boolean; readonly content: string }>;
}
const { Tokenizer } = library as unknown as {
  readonly Tokenizer: new (json: object, config: object) => LibraryTokenizer;
};

/**
 * UTF-16 units that a text may have: these for each token of the longest sequence, and some more. Texts that are longer
 * are refused before they cost a tokenization. Tokens of ordinary text have four or five units; only long runs of one
 * character, such as spaces, have more than 16.
 */
const UNITS_PER_TOKEN = 16;
const UNITS_MORE = 4096;
/** Tokens of the prompt that give the first generated token its context, such as whether a space leads it. */
const CONTEXT_TOKENS = 5;
const REPLACEMENT = '\uFFFD';
/** Most tokens that wait for the end of a character, which has at most four bytes. */
const HELD_TOKENS = 4;
/**
 * Two bytes of which one can follow wherever a character is open: after E0 come A0 to BF, after ED and F4 nothing above
 * 9F and 8F, after F0 nothing below 90, after all others both. As tokens with bytes of their own and in the alphabet
 * of byte-level BPE.
 */
const CONTINUATIONS = [
  ['<0x80>', '\u0122'],
  ['<0xA0>', '\u0142'],
] as const;

type Tokenized = { readonly ids: readonly number[] } | { readonly refusal: string };

/** A model's tokenizer with its bounds. */
export class TextTokenizer {
  readonly maxTokens: number;
  readonly #tokenizer: LibraryTokenizer;
  /** One more than the largest id. */
  readonly #size: number;
  /** Text of each special token. */
  readonly #special: ReadonlyMap<number, string>;
  /** An ordinary token and its text: a decoder may drop the space that leads a text. */
  #anchor: { readonly ids: readonly number[]; readonly text: string } | undefined;
  /** For each continuation byte the tokens that may be it. */
  readonly #continuations: readonly (readonly number[])[];
  /** What was tokenized last: the choices of a request have one prompt. */
  #last: { readonly key: readonly unknown[]; readonly result: Tokenized } | undefined;

  constructor(files: NonNullable<ModelConfig['tokenizer']>, maxTokens: number) {
    this.maxTokens = maxTokens;
    try {
      this.#tokenizer = new Tokenizer(files.json, files.config);
    } catch {
      throw new FileRefused('FILE_MALFORMED', 'is of a kind that is not supported here');
    }
    const added = [...this.#tokenizer.get_added_tokens_decoder()];
    this.#size = 1 + Math.max(largestId(files.json), ...added.map(([id]) => id));
    this.#continuations = CONTINUATIONS.map((names) => idsOfTokens(files.json, names));
    const special = added.filter(([, token]) => token.special);
    this.#special = new Map(special.map(([id, token]) => [id, token.content]));
  }

  /**
   * Token ids of a text. A text that is empty or too long is refused, never cut. `what` names it in refusals. What was
   * asked last in the same scope is known: time must not tell one tenant what another has asked.
   */
  encode(text: string, addSpecialTokens: boolean, what: string, scope = ''): readonly number[] {
    const key = [text, addSpecialTokens, scope];
    const known = this.#last?.key.every((part, i) => part === key[i]) ? this.#last : undefined;
    const { result } = (this.#last = known ?? { key, result: this.#tokenize(text, addSpecialTokens) });
    if ('refusal' in result) throw new EngineError('INVALID_INPUT', `${what} has ${result.refusal}`);
    return result.ids;
  }

  #tokenize(text: string, addSpecialTokens: boolean): Tokenized {
    const units = this.maxTokens * UNITS_PER_TOKEN + UNITS_MORE;
    if (text.length > units) return { refusal: `${text.length} characters, at most ${units}` };
    const { ids } = this.#tokenizer.encode(text, { add_special_tokens: addSpecialTokens });
    if (ids.length === 0) return { refusal: 'no tokens' };
    if (ids.length > this.maxTokens) return { refusal: `${ids.length} tokens, at most ${this.maxTokens}` };
    if (!ids.every(Number.isSafeInteger)) {
      return { refusal: 'characters that the tokenizer does not know' };
    }
    return { ids };
  }

  /** Token ids of a text, or those that were given, if each is one. `what` names it in refusals. */
  idsOf(text: Text, addSpecialTokens: boolean, what: string, scope = ''): readonly number[] {
    if (typeof text === 'string') return this.encode(text, addSpecialTokens, what, scope);
    if (text.length < 1 || text.length > this.maxTokens) {
      throw new EngineError(
        'INVALID_INPUT',
        `${what} has ${text.length} tokens, from 1 to ${this.maxTokens}`,
      );
    }
    if (!text.every((id) => Number.isSafeInteger(id) && id >= 0 && id < this.#size)) {
      throw new EngineError(
        'INVALID_INPUT',
        `${what} has ids that are no tokens: 0 to ${this.#size - 1} are`,
      );
    }
    return text;
  }

  /** The text of tokens; special ones have none. */
  decode(ids: readonly number[]): string {
    if (ids.length === 0) return '';
    return this.#tokenizer.decode([...ids], {
      skip_special_tokens: true,
      clean_up_tokenization_spaces: false,
    });
  }

  /** The text of one token within a text; the replacement character where it is part of a character. */
  textOf(id: number): string {
    const special = this.#special.get(id);
    if (special !== undefined) return special;
    this.#anchor ??= this.#makeAnchor();
    return this.decode([...this.#anchor.ids, id]).slice(this.#anchor.text.length);
  }

  /**
   * Whether the tokens end inside a character, where their text ends with a replacement character. A byte that can
   * follow goes into an open character and is a replacement of its own behind anything else. Where such tokens are not
   * known, any end may be open.
   */
  isOpen(ids: readonly number[]): boolean {
    const text = this.decode(ids);
    if (!text.endsWith(REPLACEMENT)) return false;
    return this.#continuations.some((tokens) => {
      const byte = tokens.find((id) => this.textOf(id) === REPLACEMENT);
      return byte === undefined || this.decode([...ids, byte]) !== text + REPLACEMENT;
    });
  }

  isSpecial(id: number): boolean {
    return this.#special.has(id);
  }

  #makeAnchor(): { readonly ids: readonly number[]; readonly text: string } {
    const { ids } = this.#tokenizer.encode('a', { add_special_tokens: false });
    return { ids, text: this.decode(ids) };
  }
}

/** Largest id of the vocabulary of a `tokenizer.json`: a map of tokens to ids, or a list in the order of ids. */
function largestId(json: object): number {
  const { model } = json as { readonly model?: { readonly vocab?: unknown } };
  if (Array.isArray(model?.vocab)) return model.vocab.length - 1;
  let largest = -1;
  for (const id of Object.values(model?.vocab ?? {})) {
    if (typeof id === 'number' && id > largest) largest = id;
  }
  return largest;
}

function idsOfTokens(json: object, names: readonly string[]): readonly number[] {
  const { model } = json as { readonly model?: { readonly vocab?: unknown } };
  const { vocab } = model ?? {};
  if (Array.isArray(vocab)) {
    return vocab.flatMap((entry: unknown, id) =>
      Array.isArray(entry) && names.includes(String(entry[0])) ? [id] : [],
    );
  }
  const ids = new Map<string, unknown>(Object.entries(vocab ?? {}));
  return names.map((name) => ids.get(name)).filter((id) => typeof id === 'number');
}

/**
 * Turns generated tokens into text piece by piece. A piece is held back while it ends inside a character: the text
 * is always whole characters, and an incomplete one at the very end is no text. After four tokens only the character
 * that may be open is: bytes that are no character are replacement characters.
 */
export class IncrementalText {
  readonly #tokenizer: TextTokenizer;
  /** Tokens since the last piece, after those that give them context. */
  #ids: readonly number[];
  #contextLength: number;
  /** UTF-16 units of the text of these tokens that have been given. */
  #given: number;

  constructor(tokenizer: TextTokenizer, prompt: readonly number[]) {
    this.#tokenizer = tokenizer;
    const last = prompt.filter((id) => !tokenizer.isSpecial(id)).slice(-CONTEXT_TOKENS);
    // Half a character before the text is no part of it.
    this.#ids = tokenizer.isOpen(last) ? [] : last;
    this.#contextLength = this.#ids.length;
    this.#given = tokenizer.decode(this.#ids).length;
  }

  /** The text that this token completes; empty while a character is open. */
  push(id: number): string {
    if (this.#tokenizer.isSpecial(id)) return '';
    this.#ids = [...this.#ids, id];
    const held = this.#ids.slice(this.#contextLength);
    const full = this.#tokenizer.decode(this.#ids);
    const open = this.#tokenizer.isOpen(this.#ids);
    if (held.length < HELD_TOKENS && (open || full.length <= this.#given)) return '';
    const piece = full.slice(this.#given, open ? -REPLACEMENT.length : undefined);
    // An open character has begun in these; what comes before it is given.
    this.#ids = open ? held.slice(1 - HELD_TOKENS) : held;
    this.#contextLength = open ? 0 : held.length;
    this.#given = this.#tokenizer.decode(this.#ids).length - (open ? REPLACEMENT.length : 0);
    return piece;
  }
}
