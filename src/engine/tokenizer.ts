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

/** UTF-16 units for each token that a text may have: longer ones are refused before they cost a tokenization. */
const UNITS_PER_TOKEN = 64;
/** Tokens of the prompt that give the first generated token its context, such as whether a space leads it. */
const CONTEXT_TOKENS = 5;
const REPLACEMENT = '\uFFFD';

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

  constructor(files: NonNullable<ModelConfig['tokenizer']>, maxTokens: number) {
    this.maxTokens = maxTokens;
    try {
      this.#tokenizer = new Tokenizer(files.json, files.config);
    } catch {
      throw new FileRefused('FILE_MALFORMED', 'is of a kind that is not supported here');
    }
    const added = [...this.#tokenizer.get_added_tokens_decoder()];
    this.#size = 1 + Math.max(largestId(files.json), ...added.map(([id]) => id));
    const special = added.filter(([, token]) => token.special);
    this.#special = new Map(special.map(([id, token]) => [id, token.content]));
  }

  /** Token ids of a text. A text that is empty or too long is refused, never cut. `what` names it in refusals. */
  encode(text: string, addSpecialTokens: boolean, what: string): readonly number[] {
    const units = this.maxTokens * UNITS_PER_TOKEN;
    if (text.length > units) {
      throw new EngineError('INVALID_INPUT', `${what} has ${text.length} characters, at most ${units}`);
    }
    const { ids } = this.#tokenizer.encode(text, { add_special_tokens: addSpecialTokens });
    if (ids.length === 0) throw new EngineError('INVALID_INPUT', `${what} has no tokens`);
    if (ids.length > this.maxTokens) {
      throw new EngineError('INVALID_INPUT', `${what} has ${ids.length} tokens, at most ${this.maxTokens}`);
    }
    if (!ids.every(Number.isSafeInteger)) {
      throw new EngineError('INVALID_INPUT', `${what} has characters that the tokenizer does not know`);
    }
    return ids;
  }

  /** Token ids of a text, or those that were given, if each is one. `what` names it in refusals. */
  idsOf(text: Text, addSpecialTokens: boolean, what: string): readonly number[] {
    if (typeof text === 'string') return this.encode(text, addSpecialTokens, what);
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

/**
 * Turns generated tokens into text piece by piece. A piece is held back while it ends inside a character: the text
 * is always whole characters, and an incomplete one at the very end is no text.
 */
export class IncrementalText {
  readonly #tokenizer: TextTokenizer;
  /** Tokens since the last piece, after those that give them context. */
  #ids: number[];
  #contextLength: number;

  constructor(tokenizer: TextTokenizer, prompt: readonly number[]) {
    this.#tokenizer = tokenizer;
    this.#ids = prompt.filter((id) => !tokenizer.isSpecial(id)).slice(-CONTEXT_TOKENS);
    this.#contextLength = this.#ids.length;
  }

  /** The text that this token completes; empty while a character is open. */
  push(id: number): string {
    if (this.#tokenizer.isSpecial(id)) return '';
    this.#ids.push(id);
    const context = this.#tokenizer.decode(this.#ids.slice(0, this.#contextLength));
    const full = this.#tokenizer.decode(this.#ids);
    if (full.length <= context.length || full.endsWith(REPLACEMENT)) return '';
    this.#ids = this.#ids.slice(this.#contextLength);
    this.#contextLength = this.#ids.length;
    return full.slice(context.length);
  }
}
