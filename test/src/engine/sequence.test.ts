import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import type { TokenConstraint } from '../../../src/engine/constraint/constraint.ts';
import type { GeneratedToken, Generation } from '../../../src/engine/engine.ts';
import { Sequence, type SequenceSettings } from '../../../src/engine/sequence.ts';
import { readTokenizer } from '../../support/decoders.ts';
import { SHIPPED_MODELS } from '../../support/store.ts';

const tokenizer = readTokenizer(join(SHIPPED_MODELS, 'tinygpt-1m'), 64);
const END = 0;
const VOCABULARY = 1024;
const PROMPT = tokenizer.encode('Say:', false, 'prompt');

interface Said {
  readonly texts: readonly string[];
  readonly tokens: readonly GeneratedToken[];
  readonly end: Generation;
}

function start(settings: Partial<SequenceSettings> = {}, prompt = PROMPT): Sequence {
  const asked = { maxTokens: 50, sampling: undefined, stop: [], logprobs: undefined, constraint: undefined };
  return new Sequence(tokenizer, new Set([END]), prompt, { ...asked, ...settings });
}

/** Logits of a model that wants to say this token. */
function wanting(id: number): Float32Array {
  const logits = new Float32Array(VOCABULARY);
  logits[id] = 5;
  return logits;
}

/** What comes of a model that wants to say these tokens, whatever it is told. */
function say(ids: readonly number[], settings: Partial<SequenceSettings> = {}): Said {
  const sequence = start(settings);
  const tokens: GeneratedToken[] = [];
  for (const id of ids) {
    const { token, end } = sequence.take(wanting(id));
    if (token) tokens.push(token);
    if (end) return { texts: tokens.map(({ text }) => text), tokens, end };
  }
  throw new Error('the sequence goes on');
}

const words = (text: string): readonly number[] => tokenizer.encode(text, false, 'text');

describe('a sequence', () => {
  test('ends with the end token, which is neither text nor counted', () => {
    const ids = words(' one two');
    const { texts, end } = say([...ids, END]);
    expect(texts.join('')).toBe(' one two');
    expect(end).toEqual({
      promptTokens: PROMPT.length,
      completionTokens: ids.length,
      finishReason: 'stop',
    });
  });

  test('gives what it held back for a stop text when the model ends', () => {
    const { texts, end } = say([...words(' one two'), END], { stop: [' two three'] });
    expect(texts.join('')).toBe(' one');
    expect(end).toMatchObject({ finishReason: 'stop', rest: ' two' });
  });

  test('gives what it held back with the last token when the limit ends it', () => {
    const ids = words(' one two');
    const { texts, end } = say([...ids, END], { stop: [' two three'], maxTokens: ids.length });
    expect(texts.join('')).toBe(' one two');
    expect(end).toMatchObject({ finishReason: 'length', completionTokens: ids.length });
    expect(end).not.toHaveProperty('rest');
  });

  test('ends at a stop text that begins in one token and ends in another', () => {
    const ids = words(' one two three four');
    const { texts, end } = say([...ids, END], { stop: ['wo thr'] });
    expect(texts.join('')).toBe(' one t');
    expect(end.finishReason).toBe('stop');
    expect(end.completionTokens).toBeLessThan(ids.length);
    expect(texts).toHaveLength(end.completionTokens);
  });

  test('prefers the stop text where the limit comes with it', () => {
    const ids = words(' one two');
    const { texts, end } = say(ids, { stop: [' two'], maxTokens: ids.length });
    expect([texts.join(''), end.finishReason]).toEqual([' one', 'stop']);
  });

  test('tells log-probabilities by texts, special tokens by name, parts of a character as such', () => {
    const [part = -1] = words('😀');
    const { tokens } = say([...words(' the'), part], { logprobs: 1, maxTokens: 2 });
    const expected = 5 - Math.log(Math.exp(5) + VOCABULARY - 1);
    expect(tokens[0]!.logprobs!.own.text).toBe(' the');
    expect(tokens[0]!.logprobs!.own.logprob).toBeCloseTo(expected, 6);
    expect(tokens[0]!.logprobs!.top).toEqual([tokens[0]!.logprobs!.own]);
    expect(tokens[1]!.logprobs!.own.text).toContain('\uFFFD');
    expect(tokenizer.textOf(END)).toBe('<|endoftext|>');
    expect(say([5, END]).tokens[0]).not.toHaveProperty('logprobs');
  });

  test('makes as many tokens as the context has room for, where more are asked', () => {
    const sequence = start({ maxTokens: 1000 });
    expect(sequence.limit).toBe(64 - PROMPT.length);
    for (let i = 1; i < sequence.limit; i++) expect(sequence.take(wanting(7)).end).toBeUndefined();
    expect(sequence.take(wanting(7)).end).toMatchObject({ finishReason: 'length' });
  });

  test('has seen the prompt and all that it made but the last token', () => {
    const sequence = start();
    expect(sequence.seen).toBe(PROMPT.length);
    sequence.take(wanting(7));
    expect([sequence.seen, sequence.last]).toEqual([PROMPT.length, 7]);
    sequence.take(wanting(8));
    expect([sequence.seen, sequence.last]).toEqual([PROMPT.length + 1, 8]);
  });

  test('leaves the logits as they were, for another sequence may take them, too', () => {
    const constraint: TokenConstraint = {
      mask: (logits: Float32Array) => {
        logits[7] = -Infinity;
      },
      accept: () => undefined,
      complete: false,
    };
    const logits = wanting(7);
    const draws = { temperature: 1, topP: 0.9, topK: 5, frequencyPenalty: 1, presencePenalty: 1 };
    const sampling = { ...draws, seed: 1, choice: 0 };
    const sequence = start({ constraint, sampling, logprobs: 3 });
    for (let i = 0; i < 5; i++) expect(sequence.take(logits).token?.id).not.toBe(7);
    expect(logits).toEqual(wanting(7));
  });

  test('ends as soon as its constraint is fulfilled', () => {
    const accepted: number[] = [];
    const constraint = {
      mask: () => undefined,
      accept: (id: number) => accepted.push(id),
      get complete() {
        return accepted.length === 2;
      },
    } as unknown as TokenConstraint;
    const { end } = say([7, 8, 9], { constraint });
    expect(accepted).toEqual([7, 8]);
    expect(end).toMatchObject({ finishReason: 'stop', completionTokens: 2 });
  });
});
