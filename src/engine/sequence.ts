import type { TokenConstraint } from './constraint/constraint.ts';
import type { Alternative, GeneratedToken, Generation, Sampling } from './engine.ts';
import { chooseToken, GREEDY, logprobsOf, type TokenLogprob } from './sampling.ts';
import { StopText } from './stop.ts';
import { IncrementalText, type TextTokenizer } from './tokenizer.ts';

/** What one step gave: a token, or the end, or both. */
export interface SequenceStep {
  readonly token: GeneratedToken | undefined;
  readonly end: Generation | undefined;
}

/** What a request asks of a generation. */
export interface SequenceSettings {
  readonly maxTokens: number;
  /** Greedy where undefined. */
  readonly sampling: Sampling | undefined;
  readonly stop: readonly string[];
  readonly logprobs: number | undefined;
  /** What alone may be said; undefined where everything may. */
  readonly constraint: TokenConstraint | undefined;
}

/** One generation: from logits to tokens to text. It does not know how logits are made. */
export class Sequence {
  readonly prompt: readonly number[];
  /** Most tokens that it generates. */
  readonly limit: number;
  readonly #endTokens: ReadonlySet<number>;
  readonly #tokenizer: TextTokenizer;
  readonly #text: IncrementalText;
  readonly #stop: StopText;
  readonly #sampling: Sampling;
  readonly #logprobs: number | undefined;
  readonly #constraint: TokenConstraint | undefined;
  #made = 0;
  #last = 0;
  /** How often each token was generated. */
  readonly #counts = new Map<number, number>();

  /** `prompt` is shorter than the tokenizer's longest sequence. */
  constructor(
    tokenizer: TextTokenizer,
    endTokens: ReadonlySet<number>,
    prompt: readonly number[],
    { maxTokens, sampling = GREEDY, stop, logprobs, constraint }: SequenceSettings,
  ) {
    this.prompt = prompt;
    this.limit = Math.min(maxTokens, tokenizer.maxTokens - prompt.length);
    this.#endTokens = endTokens;
    this.#tokenizer = tokenizer;
    this.#text = new IncrementalText(tokenizer, prompt);
    this.#stop = new StopText(stop);
    this.#sampling = sampling;
    this.#logprobs = logprobs;
    this.#constraint = constraint;
  }

  /** Tokens of the prompt and those made, but for the last, which the model has not seen. */
  get seen(): number {
    return this.prompt.length + Math.max(0, this.#made - 1);
  }

  /** The token that the model is given next. */
  get last(): number {
    return this.#last;
  }

  /** Chooses the next token. */
  take(logits: Float32Array): SequenceStep {
    const id = chooseToken(this.#allowed(logits), this.#sampling, this.#counts, this.#made);
    if (this.#endTokens.has(id)) return { token: undefined, end: this.#end('stop', this.#stop.flush()) };
    this.#constraint?.accept(id);
    this.#last = id;
    this.#made += 1;
    this.#counts.set(id, (this.#counts.get(id) ?? 0) + 1);
    return this.#advance(id, logits);
  }

  /** The logits may be another sequence's, too: what forbids tokens works on a copy. */
  #allowed(logits: Float32Array): Float32Array {
    if (!this.#constraint) return logits;
    const allowed = logits.slice();
    this.#constraint.mask(allowed);
    return allowed;
  }

  #advance(id: number, row: Float32Array): SequenceStep {
    const text = this.#stop.push(this.#text.push(id));
    const logprobs =
      this.#logprobs === undefined ? {} : { logprobs: this.#describe(row, id, this.#logprobs) };
    if (this.#stop.found) return { token: { id, text, ...logprobs }, end: this.#end('stop') };
    const complete = this.#constraint?.complete === true;
    if (!complete && this.#made < this.limit) return { token: { id, text, ...logprobs }, end: undefined };
    const whole = text + this.#stop.flush();
    return { token: { id, text: whole, ...logprobs }, end: this.#end(complete ? 'stop' : 'length') };
  }

  #end(finishReason: Generation['finishReason'], rest = ''): Generation {
    const counts = { promptTokens: this.prompt.length, completionTokens: this.#made };
    return { ...counts, finishReason, ...(rest !== '' && { rest }) };
  }

  #describe(row: Float32Array, id: number, count: number): NonNullable<GeneratedToken['logprobs']> {
    const { own, top } = logprobsOf(row, id, count);
    const named = ({ id: token, logprob }: TokenLogprob): Alternative => ({
      id: token,
      text: this.#tokenizer.textOf(token),
      logprob,
    });
    return { own: named(own), top: top.map(named) };
  }
}
