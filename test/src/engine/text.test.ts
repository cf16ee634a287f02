import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { type EmbeddingPlan, paddedLength, rowsPerRun, widthOf } from '../../../src/engine/embedding.ts';
import { fromHalf } from '../../../src/engine/tensors.ts';
import { IncrementalText } from '../../../src/engine/tokenizer.ts';
import { readTokenizer } from '../../support/decoders.ts';
import { SHIPPED_MODELS } from '../../support/store.ts';

const tokenizer = readTokenizer(join(SHIPPED_MODELS, 'tinygpt-1m'), 4096);

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

describe('tokens in place of a text', () => {
  test('are taken as they are, special ones and one alone too', () => {
    for (const ids of [[0], [1023], [5, 0, 5]]) expect(tokenizer.idsOf(ids, true, 'text')).toEqual(ids);
  });

  test('are those of the text where a text is given', () => {
    expect(tokenizer.idsOf('a house', false, 'text')).toEqual(tokenizer.encode('a house', false, 'text'));
  });

  test.each([
    ['none', []],
    ['more than the context', new Array<number>(4097).fill(1)],
    ['one behind the last', [1, 1024]],
    ['a negative one', [-1]],
    ['a broken one', [1.5]],
    ['one that is no number', [NaN]],
  ])('are refused where there is %s', (_name, ids) => {
    expect(() => tokenizer.idsOf(ids, true, 'text 3')).toThrow(
      expect.objectContaining({ code: 'INVALID_INPUT', message: expect.stringMatching(/^text 3 has/) }),
    );
  });

  test('may fill the context', () => {
    expect(tokenizer.idsOf(new Array<number>(4096).fill(1), true, 'text')).toHaveLength(4096);
  });
});

describe('the width of an embedding run', () => {
  test('grows in steps of 16, then by half, up to the context', () => {
    const widths = [1, 16, 17, 32, 33, 64, 65, 97, 145, 225, 500].map((tokens) => paddedLength(tokens, 512));
    expect(widths).toEqual([16, 16, 32, 32, 48, 64, 96, 144, 224, 336, 512]);
    expect(paddedLength(5, 8)).toBe(8);
  });

  test('is never less than the text, and at most half as large again beyond the narrowest', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 10_000 }), (tokens) => {
        const width = paddedLength(tokens, 10_000);
        expect(width).toBeGreaterThanOrEqual(tokens);
        expect(width).toBeLessThanOrEqual(Math.max(16, tokens * 1.5 + 16));
        expect(paddedLength(width, 10_000)).toBe(width);
      }),
      { seed: 1, numRuns: 300 },
    );
  });

  test('is the text itself without a mask or company', () => {
    const plan = (...inputs: readonly string[]): EmbeddingPlan => ({
      inputs: new Set(inputs),
      output: 'last_hidden_state',
      pooled: true,
      dimensions: 3,
    });
    expect(widthOf(5, plan('input_ids', 'attention_mask'), { rowwise: true, most: 64 })).toBe(16);
    expect(widthOf(5, plan('input_ids', 'attention_mask'), { rowwise: false, most: 64 })).toBe(5);
    expect(widthOf(5, plan('input_ids'), { rowwise: true, most: 64 })).toBe(5);
  });

  test('bounds the rows, of which there is one at least', () => {
    expect([1, 16, 256, 512, 16_384, 100_000].map(rowsPerRun)).toEqual([64, 64, 64, 32, 1, 1]);
  });
});

test('binary16 is read', () => {
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
