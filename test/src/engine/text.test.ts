import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { batchSize } from '../../../src/engine/embedding.ts';
import { fromHalf } from '../../../src/engine/tensors.ts';
import { IncrementalText, TextTokenizer } from '../../../src/engine/tokenizer.ts';
import { SHIPPED_MODELS } from '../../support/store.ts';

const json = (name: string): object =>
  JSON.parse(readFileSync(join(SHIPPED_MODELS, 'tinygpt-1m', name), 'utf8')) as object;
const tokenizer = new TextTokenizer(
  { json: json('tokenizer.json'), config: json('tokenizer_config.json') },
  4096,
);

const pieces = (prompt: readonly number[], ids: readonly number[]): readonly string[] => {
  const text = new IncrementalText(tokenizer, prompt);
  return ids.map((id) => text.push(id));
};

describe('incremental text', () => {
  test('holds a character back until its last byte', () => {
    const ids = tokenizer.encode('a😀é', false, 'text');
    const given = pieces(tokenizer.encode('x', false, 'text'), ids);
    expect(given.join('')).toBe('a😀é');
    expect(given).toContain('😀');
    expect(given.every((piece) => !piece.includes('\uFFFD'))).toBe(true);
  });

  test('gives special tokens no text', () => {
    expect(pieces([40], [0, 40, 0])).toEqual(['', tokenizer.decode([40]), '']);
  });

  test('joins to the whole text, after any prompt', () => {
    const text = fc
      .string({ unit: 'grapheme', minLength: 1, maxLength: 30 })
      .filter((value) => !value.includes('\uFFFD'));
    fc.assert(
      fc.property(text, text, (prompt, rest) => {
        const start = tokenizer.encode(prompt, false, 'prompt');
        const ids = tokenizer.encode(rest, false, 'rest');
        expect(pieces(start, ids).join('')).toBe(tokenizer.decode(ids));
      }),
      { seed: 1, numRuns: 300 },
    );
  });

  test('never gives half a character, whatever tokens come', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 1023 }), { maxLength: 40 }), (ids) => {
        const joined = pieces([40], ids).join('');
        expect(
          tokenizer
            .decode([40, ...ids])
            .slice(tokenizer.decode([40]).length)
            .startsWith(joined),
        ).toBe(true);
        expect(joined).not.toMatch(/\p{Surrogate}/u);
      }),
      { seed: 1, numRuns: 300 },
    );
  });
});

describe('a run', () => {
  test('takes rows while they fit, and one at least', () => {
    const row = (length: number): readonly number[] => new Array<number>(length).fill(1);
    expect(batchSize([row(100_000), row(1)])).toBe(1);
    expect(batchSize(new Array(500).fill(row(4)))).toBe(64);
    expect(batchSize([row(8), row(8000), row(8000)])).toBe(2);
    expect(batchSize([])).toBe(0);
  });

  test('reads binary16', () => {
    const cases = [
      [0x0000, 0],
      [0x3c00, 1],
      [0xc000, -2],
      [0x7bff, 65504],
      [0x0001, 2 ** -24],
      [0x7c00, Infinity],
      [0x7e00, NaN],
    ] as const;
    for (const [bits, value] of cases) expect(fromHalf(bits)).toBe(value);
  });
});
