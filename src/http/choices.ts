import type { GeneratedToken, Generation, Text } from '../engine/engine.ts';
import type { GenerationSettings } from './generationSettings.ts';
import type { Call } from './inference.ts';

/** What a choice gives next. */
export interface Piece {
  readonly text: string;
  readonly logprobs: GeneratedToken['logprobs'] | undefined;
}

export interface ChoiceListener {
  piece(choice: number, piece: Piece): void;
  end(choice: number, finishReason: Generation['finishReason']): void;
}

/** What an API asks the model to continue. */
export interface Prompt {
  readonly text: Text;
  /** The chat template has written the special tokens. */
  readonly templated: boolean;
}

/**
 * Generates all choices of a request side by side; each ends by itself. The choices of prompt `p` are `p * n` and those
 * after it: each prompt is answered as it would be alone. Where one fails, the others are cancelled before the failure
 * is told. Nothing is told to the listener once the client is gone.
 */
export async function generateChoices(
  call: Call<unknown>,
  prompts: readonly Prompt[],
  settings: GenerationSettings,
  listener: ChoiceListener,
): Promise<readonly Generation[]> {
  const wanted = prompts.flatMap((prompt) => new Array<Prompt>(settings.choices).fill(prompt));
  const failed = new AbortController();
  const signal = wanted.length === 1 ? call.signal : AbortSignal.any([call.signal, failed.signal]);
  const runs = wanted.map((prompt, choice) =>
    generate({ ...call, signal }, prompt, settings, choice, listener),
  );
  try {
    return await Promise.all(runs);
  } catch (error) {
    failed.abort();
    await Promise.allSettled(runs);
    throw error;
  }
}

async function generate(
  { engine, model, signal }: Call<unknown>,
  { text: prompt, templated }: Prompt,
  { maxTokens, choices, sampling, stop, logprobs, constraint }: GenerationSettings,
  choice: number,
  listener: ChoiceListener,
): Promise<Generation> {
  const drawn = { ...sampling, choice: choice % choices };
  const options = { maxTokens, templated, sampling: drawn, stop, logprobs, signal, constraint };
  const tell = (text: string, about: Piece['logprobs']): void => {
    // A character of several tokens comes with its last; so does what might have been a stop text.
    if (!signal.aborted && (text !== '' || about)) listener.piece(choice, { text, logprobs: about });
  };
  const generation = await engine.generate(model.id, prompt, options, (token) =>
    tell(token.text, token.logprobs),
  );
  if (generation.rest !== undefined) tell(generation.rest, undefined);
  if (!signal.aborted) listener.end(choice, generation.finishReason);
  return generation;
}

/** Counts tokens for answer and receipt: each prompt once, whatever the number of choices. */
export function countUsage(
  { usage }: Call<unknown>,
  generations: readonly Generation[],
  { choices }: GenerationSettings,
): object {
  const sum = (counts: readonly number[]): number => counts.reduce((total, count) => total + count, 0);
  const firsts = generations.filter((_, i) => i % choices === 0);
  const promptTokens = sum(firsts.map((generation) => generation.promptTokens));
  const completionTokens = sum(generations.map((generation) => generation.completionTokens));
  const counts = {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
  };
  for (const [name, value] of Object.entries(counts)) usage.set(name, value);
  return counts;
}

/** How an API writes an answer. */
export interface AnswerForm {
  /** Members before the choices: id, object, time, model. */
  readonly frame: object;
  /** One choice of a whole answer. */
  whole(choice: number, pieces: readonly Piece[], finishReason: Generation['finishReason']): object;
  /** One choice of a chunk; the piece is undefined where only the reason follows. */
  chunk(choice: number, piece: Piece | undefined, finishReason: Generation['finishReason'] | null): object;
  /** A chunk that says nothing, since its text is held back, is not sent. */
  readonly isSilent?: (chunk: object) => boolean;
}

/** Answers with one body or with a stream, in the form of the API. */
export async function answerChoices(
  call: Call<unknown>,
  prompts: readonly Prompt[],
  settings: GenerationSettings,
  form: AnswerForm,
): Promise<Uint8Array | undefined> {
  return settings.stream
    ? streamChoices(call, prompts, settings, form)
    : collectChoices(call, prompts, settings, form);
}

async function collectChoices(
  call: Call<unknown>,
  prompts: readonly Prompt[],
  settings: GenerationSettings,
  form: AnswerForm,
): Promise<Uint8Array> {
  const pieces: Piece[][] = Array.from({ length: prompts.length * settings.choices }, () => []);
  const generations = await generateChoices(call, prompts, settings, {
    piece: (choice, piece) => pieces[choice]?.push(piece),
    end: () => undefined,
  });
  const usage = countUsage(call, generations, settings);
  const choices = generations.map(({ finishReason }, i) => form.whole(i, pieces[i] ?? [], finishReason));
  return Buffer.from(JSON.stringify({ ...form.frame, choices, usage }));
}

async function streamChoices(
  call: Call<unknown>,
  prompts: readonly Prompt[],
  settings: GenerationSettings,
  form: AnswerForm,
): Promise<undefined> {
  const shared = { ...form.frame, ...(settings.includeUsage && { usage: null }) };
  const send = (choice: object): void => {
    if (form.isSilent?.(choice)) return;
    call.stream.data(JSON.stringify({ ...shared, choices: [choice] }));
  };
  const generations = await generateChoices(call, prompts, settings, {
    piece: (choice, piece) => send(form.chunk(choice, piece, null)),
    end: (choice, finishReason) => send(form.chunk(choice, undefined, finishReason)),
  });
  const usage = countUsage(call, generations, settings);
  if (settings.includeUsage) call.stream.data(JSON.stringify({ ...form.frame, choices: [], usage }));
  return undefined;
}

/** What JSON has for the logarithm of 0, as OpenAI's API does. */
const IMPOSSIBLE = -9999;

export function logprobText(logprob: number): number {
  return Number.isFinite(logprob) ? logprob : IMPOSSIBLE;
}
