import type { Text } from '../engine/engine.ts';
import { invalid } from './generationSettings.ts';

/** What OpenAI's API takes as text: one, or a list; token ids, or a list of such lists. Never a mixture. */
export function readTexts(value: unknown, param: string): readonly Text[] {
  const isText = (text: unknown): text is string => typeof text === 'string';
  if (isText(value)) return [value];
  if (isTokens(value)) return [value];
  if (Array.isArray(value) && value.length > 0) {
    if (value.every(isText)) return value;
    if (value.every(isTokens)) return value;
  }
  throw invalid(param, `${param} is a text, a list of texts, a list of token ids or a list of such lists`);
}

/** Whether the vocabulary has them, the engine says. */
function isTokens(value: unknown): value is readonly number[] {
  const isToken = (id: unknown): boolean => Number.isSafeInteger(id) && Number(id) >= 0;
  return Array.isArray(value) && value.length > 0 && value.every(isToken);
}
