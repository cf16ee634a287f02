import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { type InferenceSession, Tensor } from 'onnxruntime-node';
import type { GeneratedToken, Generation } from '../../../src/engine/engine.ts';
import {
  type GenerationPlan,
  GenerationRun,
  type GenerationSettings,
} from '../../../src/engine/generation.ts';
import { TextTokenizer } from '../../../src/engine/tokenizer.ts';
import { SHIPPED_MODELS } from '../../support/store.ts';

const json = (name: string): object =>
  JSON.parse(readFileSync(join(SHIPPED_MODELS, 'tinygpt-1m', name), 'utf8')) as object;
const tokenizer = new TextTokenizer(
  { json: json('tokenizer.json'), config: json('tokenizer_config.json') },
  64,
);
const END = 0;
const VOCABULARY = 1024;
const PLAN: GenerationPlan = {
  usesMask: false,
  usesPositions: false,
  caches: [],
  endTokens: new Set([END]),
};

/** A model that wants to say these tokens, whatever it is told. */
function saying(ids: readonly number[]): InferenceSession {
  let step = 0;
  const run = (feeds: Record<string, Tensor>): Promise<object> => {
    const rows = feeds['input_ids']!.dims[1]!;
    const data = new Float32Array(rows * VOCABULARY);
    data[(rows - 1) * VOCABULARY + ids[step++]!] = 5;
    return Promise.resolve({ logits: new Tensor('float32', data, [1, rows, VOCABULARY]) });
  };
  return { run } as unknown as InferenceSession;
}

interface Said {
  readonly texts: readonly string[];
  readonly tokens: readonly GeneratedToken[];
  readonly end: Generation;
}

async function generate(ids: readonly number[], settings: Partial<GenerationSettings> = {}): Promise<Said> {
  const model = { session: saying(ids), plan: PLAN, tokenizer };
  const asked = { maxTokens: 50, sampling: undefined, stop: [], logprobs: undefined, ...settings };
  const run = new GenerationRun(model, tokenizer.encode('Say:', false, 'prompt'), asked);
  const tokens: GeneratedToken[] = [];
  for (;;) {
    const { token, end } = await run.step();
    if (token) tokens.push(token);
    if (end) return { texts: tokens.map(({ text }) => text), tokens, end };
  }
}

const words = (text: string): readonly number[] => tokenizer.encode(text, false, 'text');

describe('a generation', () => {
  test('ends with the end token, which is neither text nor counted', async () => {
    const ids = words(' one two');
    const { texts, end } = await generate([...ids, END]);
    expect(texts.join('')).toBe(' one two');
    expect(end).toMatchObject({ completionTokens: ids.length, finishReason: 'stop' });
    expect(end).not.toHaveProperty('rest');
  });

  test('gives what it held back for a stop text when the model ends', async () => {
    const { texts, end } = await generate([...words(' one two'), END], { stop: [' two three'] });
    expect(texts.join('')).toBe(' one');
    expect(end).toMatchObject({ finishReason: 'stop', rest: ' two' });
  });

  test('gives what it held back with the last token when the limit ends it', async () => {
    const ids = words(' one two');
    const { texts, end } = await generate([...ids, END], { stop: [' two three'], maxTokens: ids.length });
    expect(texts.join('')).toBe(' one two');
    expect(end).toMatchObject({ finishReason: 'length', completionTokens: ids.length });
    expect(end).not.toHaveProperty('rest');
  });

  test('ends at a stop text that begins in one token and ends in another', async () => {
    const ids = words(' one two three four');
    const { texts, end } = await generate([...ids, END], { stop: ['wo thr'] });
    expect(texts.join('')).toBe(' one t');
    expect(end.finishReason).toBe('stop');
    expect(end.completionTokens).toBeLessThan(ids.length);
    expect(texts).toHaveLength(end.completionTokens);
  });

  test('prefers the stop text where the limit comes with it', async () => {
    const ids = words(' one two');
    const { texts, end } = await generate(ids, { stop: [' two'], maxTokens: ids.length });
    expect([texts.join(''), end.finishReason]).toEqual([' one', 'stop']);
  });

  test('tells log-probabilities by texts, special tokens by name, parts of a character as such', async () => {
    const [part = -1] = words('😀');
    const { tokens } = await generate([...words(' the'), part], { logprobs: 1, maxTokens: 2 });
    const expected = 5 - Math.log(Math.exp(5) + VOCABULARY - 1);
    expect(tokens[0]!.logprobs!.own.text).toBe(' the');
    expect(tokens[0]!.logprobs!.own.logprob).toBeCloseTo(expected, 6);
    expect(tokens[0]!.logprobs!.top).toEqual([tokens[0]!.logprobs!.own]);
    expect(tokens[1]!.logprobs!.own.text).toContain('\uFFFD');
    expect(tokenizer.textOf(END)).toBe('<|endoftext|>');
    expect((await generate([5, END])).tokens[0]).not.toHaveProperty('logprobs');
  });
});
