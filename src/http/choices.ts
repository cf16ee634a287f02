import type { GeneratedToken, Generation } from '../engine/engine.ts';
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
  readonly text: string;
  /** The chat template has written the special tokens. */
  readonly templated: boolean;
}

/**
 * Generates all choices of a request side by side; each ends by itself. Where one fails, the others are cancelled
 * before the failure is told. Nothing is told to the listener once the client is gone.
 */
export async function generateChoices(
  call: Call<unknown>,
  prompt: Prompt,
  settings: GenerationSettings,
  listener: ChoiceListener,
): Promise<readonly Generation[]> {
  const failed = new AbortController();
  const signal = settings.choices === 1 ? call.signal : AbortSignal.any([call.signal, failed.signal]);
  const runs = Array.from({ length: settings.choices }, (_, choice) =>
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
  { maxTokens, sampling, stop, logprobs }: GenerationSettings,
  choice: number,
  listener: ChoiceListener,
): Promise<Generation> {
  const options = { maxTokens, templated, sampling: { ...sampling, choice }, stop, logprobs, signal };
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

/** Counts tokens for answer and receipt: the prompt once, whatever the number of choices. */
export function countUsage({ usage }: Call<unknown>, generations: readonly Generation[]): object {
  const promptTokens = generations[0]?.promptTokens ?? 0;
  const completionTokens = generations.reduce((sum, generation) => sum + generation.completionTokens, 0);
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
}

/** Answers with one body or with a stream, in the form of the API. */
export async function answerChoices(
  call: Call<unknown>,
  prompt: Prompt,
  settings: GenerationSettings,
  form: AnswerForm,
): Promise<Uint8Array | undefined> {
  return settings.stream
    ? streamChoices(call, prompt, settings, form)
    : collectChoices(call, prompt, settings, form);
}

async function collectChoices(
  call: Call<unknown>,
  prompt: Prompt,
  settings: GenerationSettings,
  form: AnswerForm,
): Promise<Uint8Array> {
  const pieces: Piece[][] = Array.from({ length: settings.choices }, () => []);
  const generations = await generateChoices(call, prompt, settings, {
    piece: (choice, piece) => pieces[choice]?.push(piece),
    end: () => undefined,
  });
  const usage = countUsage(call, generations);
  const choices = generations.map(({ finishReason }, i) => form.whole(i, pieces[i] ?? [], finishReason));
  return Buffer.from(JSON.stringify({ ...form.frame, choices, usage }));
}

async function streamChoices(
  call: Call<unknown>,
  prompt: Prompt,
  settings: GenerationSettings,
  form: AnswerForm,
): Promise<undefined> {
  const shared = { ...form.frame, ...(settings.includeUsage && { usage: null }) };
  const send = (choice: object): void => {
    call.stream.data(JSON.stringify({ ...shared, choices: [choice] }));
  };
  const generations = await generateChoices(call, prompt, settings, {
    piece: (choice, piece) => send(form.chunk(choice, piece, null)),
    end: (choice, finishReason) => send(form.chunk(choice, undefined, finishReason)),
  });
  const usage = countUsage(call, generations);
  if (settings.includeUsage) call.stream.data(JSON.stringify({ ...form.frame, choices: [], usage }));
  return undefined;
}

/** What JSON has for the logarithm of 0, as OpenAI's API does. */
const IMPOSSIBLE = -9999;

export function logprobText(logprob: number): number {
  return Number.isFinite(logprob) ? logprob : IMPOSSIBLE;
}
