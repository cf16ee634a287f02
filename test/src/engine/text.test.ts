import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { type EmbeddingPlan, paddedLength, rowsPerRun, widthOf } from '../../../src/engine/embedding.ts';
import { fromHalf } from '../../../src/engine/tensors.ts';
import { IncrementalText, TextTokenizer } from '../../../src/engine/tokenizer.ts';
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
      .array(fc.oneof(fc.string({ unit: 'grapheme', minLength: 1 }), fc.constant('\uFFFD')), { minLength: 1 })
      .map((parts) => parts.join('').slice(0, 40))
      .filter((value) => !/\p{Surrogate}/u.test(value));
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

  test('gives the replacement character that a model writes, also at the end', () => {
    const ids = tokenizer.encode('a\uFFFD', false, 'text');
    expect(pieces([40], ids).join('')).toBe('a\uFFFD');
  });

  /** Tokens of the bytes of a text, one by one. */
  const bytes = (text: string): readonly number[] => {
    const ids = tokenizer.encode(text, false, 'text');
    expect(ids).toHaveLength(Buffer.from(text).length);
    return ids;
  };

  test('gives bytes that are no character as they come, whatever their number', () => {
    const [lead, ...rest] = bytes('😀');
    const follow = rest[0]!;
    expect(pieces([40], new Array<number>(1800).fill(follow)).join('')).toBe('\uFFFD'.repeat(1800));
    const leads = pieces([40], new Array<number>(1800).fill(lead!)).join('');
    // The last is an open character.
    expect(leads).toBe('\uFFFD'.repeat(1799));
    expect(pieces([40], [follow, follow, lead!, ...rest, follow]).join('')).toBe('\uFFFD\uFFFD😀\uFFFD');
  });

  test('is whole characters behind a prompt that ends inside one', () => {
    const [lead, ...rest] = bytes('😀');
    const joined = pieces([40, lead!], [...rest, ...tokenizer.encode('x', false, 'text')]).join('');
    expect(joined).toBe('\uFFFD\uFFFD\uFFFDx');
  });

  test('holds at most four tokens where the tokenizer has no bytes that could follow', () => {
    const json = {
      added_tokens: [],
      normalizer: null,
      pre_tokenizer: { type: 'ByteLevel', add_prefix_space: false, trim_offsets: true, use_regex: true },
      post_processor: null,
      decoder: { type: 'ByteLevel' },
      // The bytes 61, F0, 9F, 98 and BF.
      model: { type: 'BPE', vocab: { a: 0, ð: 1, Ł: 2, ĺ: 3, '¿': 4 }, merges: [] },
    };
    const text = new IncrementalText(new TextTokenizer({ json, config: {} }, 16), [0]);
    expect([1, 2, 3, 4, 0].map((id) => text.push(id))).toEqual(['', '', '', '😿', 'a']);
    const [, , , ...late] = [4, 4, 4, 4, 4, 0].map((id) => text.push(id));
    expect(late).toEqual(['\uFFFD'.repeat(3), '\uFFFD', '\uFFFDa']);
    expect([1, 1, 1, 1, 2, 3, 4, 0].map((id) => text.push(id)).join('')).toBe('\uFFFD\uFFFD\uFFFD😿a');
  });
});

describe('a text that is encoded', () => {
  const fresh = (): TextTokenizer => readTokenizer(join(SHIPPED_MODELS, 'tinygpt-1m'), 64);
  const refusal = (begin: string): unknown =>
    expect.objectContaining({
      code: 'INVALID_INPUT',
      message: expect.stringMatching(new RegExp(`^${begin}`)),
    });

  test('may have 16 characters for each token and 4,096 more', () => {
    const most = 64 * 16 + 4096;
    expect(() => fresh().encode(' '.repeat(most + 1), false, 'it')).toThrow(
      refusal(`it has ${most + 1} characters, at most ${most}`),
    );
    expect(() => fresh().encode('ab '.repeat(most / 3), false, 'it')).toThrow(refusal('it has \\d+ tokens'));
  });

  test('is tokenized once for all choices, refused or not', () => {
    const own = fresh();
    const first = own.encode('a house', false, 'it');
    expect(own.encode('a house', false, 'that')).toBe(first);
    expect(own.idsOf('a house', false, 'that')).toBe(first);
    const long = 'ab '.repeat(1000);
    for (const what of ['it', 'that']) {
      expect(() => own.encode(long, false, what)).toThrow(refusal(`${what} has \\d+ tokens`));
    }
    expect(own.encode('a house', true, 'it')).not.toBe(first);
  });

  test('of another scope is not known', () => {
    const own = fresh();
    const first = own.encode('a house', false, 'it', 'one');
    expect(own.encode('a house', false, 'it', 'other')).not.toBe(first);
    expect(own.encode('a house', false, 'it', 'one')).toEqual(first);
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
