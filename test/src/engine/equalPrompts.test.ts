import { describe, expect, test } from '@jest/globals';
import { fakeTokens } from '../../support/fakeDecoder.ts';
import { Generations, promptOf } from '../../support/generations.ts';

describe('equal prompts', () => {
  const prompt = promptOf(700, 1);

  test('of one tenant are read once', async () => {
    const all = new Generations({ prefixBytes: 100_000 });
    all.submit(1, prompt, 5);
    await all.finish();
    expect(all.decoder.extensions).toHaveLength(3);
    all.submit(2, prompt, 9);
    all.submit(3, prompt, 2);
    await all.finish();
    expect(all.decoder.extensions).toHaveLength(3);
    for (const [id, count] of [
      [1, 5],
      [2, 9],
      [3, 2],
    ] as const)
      expect(all.tokens.get(id)).toEqual(fakeTokens(prompt, count));
    expect(all.decoder.prefixes).toBe(3);
    all.batch.release();
    expect(all.decoder.prefixes).toBe(0);
  });

  test('of other tenants are read anew', async () => {
    const all = new Generations({ prefixBytes: 100_000 });
    all.submit(1, prompt, 5, 'one');
    all.submit(2, prompt, 5, 'other');
    await all.finish();
    expect(all.decoder.extensions).toHaveLength(6);
    expect(all.tokens.get(2)).toEqual(all.tokens.get(1));
  });

  test('are read from where they begin to differ', async () => {
    const all = new Generations({ prefixBytes: 100_000 });
    all.submit(1, prompt, 5);
    await all.finish();
    const longer = [...prompt.slice(0, 600), 7, 8, 9];
    all.submit(2, longer, 5);
    await all.finish();
    expect(all.decoder.extensions.slice(3).map(({ seen, ids }) => [seen, ids.length])).toEqual([[512, 91]]);
    expect(all.tokens.get(2)).toEqual(fakeTokens(longer, 5));
  });

  test('are read anew where nothing is kept', async () => {
    const all = new Generations();
    all.submit(1, prompt, 5);
    await all.finish();
    all.submit(2, prompt, 5);
    await all.finish();
    expect(all.decoder.extensions).toHaveLength(6);
    expect(all.decoder.prefixes).toBe(0);
  });
});
