import { EngineError, type GenerateOptions, type Text } from './engine.ts';
import type { RunPayload } from './protocol.ts';

const MAX_TEXTS = 2048;

/** What the child is asked for texts to embed. */
export function embedPayload(model: string, texts: readonly Text[]): RunPayload {
  if (texts.length < 1 || texts.length > MAX_TEXTS) {
    throw new EngineError(
      'INVALID_INPUT',
      `${texts.length} texts given, from 1 to ${MAX_TEXTS} are accepted`,
    );
  }
  return { kind: 'embed', model, texts };
}

/** What the child is asked for a prompt to continue. */
export function generatePayload(model: string, prompt: Text, options: GenerateOptions): RunPayload {
  const { maxTokens, templated = false, sampling, stop = [], logprobs, constraint } = options;
  if (!Number.isSafeInteger(maxTokens) || maxTokens < 1) {
    throw new EngineError('INVALID_INPUT', 'the number of tokens to generate is a whole number from 1 up');
  }
  return { kind: 'generate', model, prompt, maxTokens, templated, sampling, stop, logprobs, constraint };
}
