import { describe, expect, test } from '@jest/globals';
import { fakeTokens } from '../../support/fakeDecoder.ts';
import { Generations, promptOf, sequenceOf } from '../../support/generations.ts';

describe.each(['rows', 'alone'] as const)('generations that are computed as %s', (batching) => {
  test('say what each would say alone, whenever they join and leave', async () => {
    const all = new Generations({ batching });
    const asked = [
      [promptOf(5, 1), 20],
      [promptOf(60, 2), 12],
      [promptOf(62, 3), 90],
      [promptOf(200, 4), 1],
      [promptOf(130, 5), 7],
      [promptOf(300, 6), 30],
    ] as const;
    for (const [id, [prompt, maxTokens]] of asked.entries()) {
      all.submit(id, prompt, maxTokens);
      await all.advance(2);
    }
    await all.finish();
    asked.forEach(([prompt, maxTokens], id) => {
      expect(all.tokens.get(id)).toEqual(fakeTokens(prompt, maxTokens));
      expect(all.ends.get(id)).toEqual({
        promptTokens: prompt.length,
        completionTokens: maxTokens,
        finishReason: 'length',
      });
    });
    expect([all.decoder.prefixes, all.decoder.slabs, all.failures.size]).toEqual([0, 0, 0]);
  });

  test('are free of whom they were cancelled with, in every turn of their lives', async () => {
    for (let turns = 0; turns < 12; turns++) {
      const all = new Generations({ batching, limits: { sequences: 3 } });
      const prompts = [promptOf(5, 1), promptOf(600, 2), promptOf(62, 3), promptOf(7, 4), promptOf(9, 5)];
      prompts.forEach((prompt, id) => {
        all.submit(id, prompt, 8);
      });
      await all.advance(turns);
      const before = all.tokens.get(2)?.length ?? 0;
      for (const id of [1, 2, 4]) all.batch.cancel(id);
      await all.finish();
      for (const id of [0, 3]) expect(all.tokens.get(id)).toEqual(fakeTokens(prompts[id]!, 8));
      expect([...all.ends.keys()]).toEqual(expect.arrayContaining([0, 3]));
      expect(all.tokens.get(2)?.length ?? 0).toBe(before);
      expect([all.decoder.prefixes, all.decoder.slabs, all.failures.size]).toEqual([0, 0, 0]);
    }
  });

  test.each(['extend', 'step'] as const)('are not heard of when they are cancelled in %s', async (kind) => {
    const all = new Generations({ batching });
    all.submit(1, promptOf(5, 1), 8);
    all.submit(2, promptOf(6, 2), 8);
    if (batching === 'alone' && kind === 'step') await all.advance(1);
    all.decoder.before = (call) => {
      if (call.kind === (batching === 'alone' ? 'extend' : kind)) all.batch.cancel(1);
    };
    await all.finish();
    expect(all.ends.has(1)).toBe(false);
    expect(all.tokens.get(1)?.length ?? 0).toBeLessThan(3);
    expect(all.tokens.get(2)).toEqual(fakeTokens(promptOf(6, 2), 8));
    expect([all.decoder.prefixes, all.decoder.slabs, all.failures.size]).toEqual([0, 0, 0]);
  });

  test('free all that they hold on release, though cancelled ones had no turn since', async () => {
    const all = new Generations({ batching, prefixBytes: 100_000 });
    all.submit(1, promptOf(5, 1), 50);
    all.submit(2, promptOf(1000, 2), 50);
    await all.advance(2);
    expect(all.decoder.prefixes + all.decoder.slabs).toBeGreaterThan(1);
    all.batch.cancel(1);
    all.batch.cancel(2);
    all.batch.release();
    expect([all.decoder.prefixes, all.decoder.slabs]).toEqual([0, 0]);
    await all.advance(1);
    expect(all.batch.isIdle).toBe(true);
  });

  test('that fail take nobody with them, and later ones work', async () => {
    const all = new Generations({ batching });
    all.decoder.before = (call, history) => {
      if (call.kind === 'extend' && history[0] === 2) throw new Error('extend');
    };
    for (const id of [1, 2, 3]) all.submit(id, promptOf(5, id), 6);
    await all.finish();
    expect([...all.failures.keys()]).toEqual([2]);
    expect(all.tokens.has(2)).toBe(false);
    for (const id of [1, 3]) expect(all.tokens.get(id)).toEqual(fakeTokens(promptOf(5, id), 6));
    all.decoder.before = () => undefined;
    all.submit(4, promptOf(5, 2), 6);
    await all.finish();
    expect(all.tokens.get(4)).toEqual(fakeTokens(promptOf(5, 2), 6));
    expect([all.decoder.prefixes, all.decoder.slabs]).toEqual([0, 0]);
  });
});

describe('generations side by side', () => {
  test('share a step where their lengths are alike, and no other', async () => {
    const all = new Generations();
    all.submit(1, promptOf(5, 1), 4);
    all.submit(2, promptOf(40, 2), 4);
    all.submit(3, promptOf(100, 3), 4);
    await all.advance(1);
    expect(all.decoder.steps).toEqual([
      { kind: 'step', columns: 64, rows: 2 },
      { kind: 'step', columns: 128, rows: 1 },
    ]);
    await all.finish();
  });

  test('go on in wider slabs when they fill their columns', async () => {
    const all = new Generations();
    all.submit(1, promptOf(60, 1), 100);
    all.submit(2, promptOf(58, 2), 100);
    await all.finish();
    for (const id of [1, 2]) expect(all.tokens.get(id)).toEqual(fakeTokens(promptOf(62 - 2 * id, id), 100));
    expect(new Set(all.decoder.steps.map(({ columns }) => columns))).toEqual(new Set([64, 128, 192]));
  });

  test.each(['step', 'add', 'adopt'] as const)(
    'fail with a failure of %s, and those of other lengths do not',
    async (kind) => {
      const all = new Generations();
      all.submit(1, promptOf(62, 1), 9);
      all.submit(2, promptOf(5, 2), 9);
      all.submit(3, promptOf(200, 3), 9);
      all.decoder.before = (call, history) => {
        if (call.kind === kind && history[0] === 1) throw new Error(kind);
      };
      await all.finish();
      // A failed step is of all its rows.
      expect([...all.failures.keys()]).toEqual(kind === 'step' ? [1, 2] : [1]);
      expect(all.tokens.get(3)).toEqual(fakeTokens(promptOf(200, 3), 9));
      if (kind !== 'step') expect(all.tokens.get(2)).toEqual(fakeTokens(promptOf(5, 2), 9));
      all.decoder.before = () => undefined;
      all.submit(4, promptOf(62, 1), 9);
      await all.finish();
      expect(all.tokens.get(4)).toEqual(fakeTokens(promptOf(62, 1), 9));
      expect([all.decoder.prefixes, all.decoder.slabs]).toEqual([0, 0]);
    },
  );

  test('go on between the pieces of a long prompt', async () => {
    const all = new Generations();
    all.submit(1, promptOf(5, 1), 50);
    await all.advance(1);
    all.decoder.calls.length = 0;
    all.submit(2, promptOf(1000, 2), 3);
    await all.advance(4);
    const kinds = all.decoder.calls.filter(({ kind }) => kind !== 'add').map(({ kind }) => kind);
    expect(kinds.slice(0, 8)).toEqual([
      'extend',
      'step',
      'extend',
      'step',
      'extend',
      'step',
      'extend',
      'step',
    ]);
    expect(all.decoder.extensions.map(({ ids }) => ids.length)).toEqual([256, 256, 256, 232]);
    expect(all.tokens.get(1)).toHaveLength(2 + 4);
    await all.finish();
    expect(all.tokens.get(2)).toEqual(fakeTokens(promptOf(1000, 2), 3));
  });

  test('begin together where their prompts are short', async () => {
    const all = new Generations();
    for (let id = 1; id <= 10; id++) all.submit(id, promptOf(20, id), 5);
    await all.advance(1);
    expect(all.decoder.steps).toEqual([{ kind: 'step', columns: 64, rows: 10 }]);
    await all.finish();
  });
});

describe('admission', () => {
  test('bounds the sequences under way', async () => {
    const all = new Generations({ limits: { sequences: 3 } });
    for (let id = 1; id <= 10; id++) all.submit(id, promptOf(5, id), 6);
    await all.finish();
    expect(Math.max(...all.decoder.steps.map(({ rows }) => rows))).toBe(3);
    expect(all.ends.size).toBe(10);
  });

  test('bounds the memory that they may come to need, and refuses what never has room', async () => {
    const sequence = sequenceOf(promptOf(5, 1), 40);
    let one = 1;
    while (!new Generations({ limits: { tokens: one } }).batch.holds(sequence)) one += 1;
    expect(one).toBeGreaterThanOrEqual(45);
    const all = new Generations({ limits: { tokens: 2 * one } });
    expect(all.batch.holds(sequenceOf(promptOf(500, 1), 500))).toBe(false);
    for (let id = 1; id <= 5; id++) all.submit(id, promptOf(5, id), 40);
    await all.finish();
    expect(Math.max(...all.decoder.steps.map(({ rows }) => rows))).toBe(2);
    expect(all.ends.size).toBe(5);
  });

  test('gives room again that a cancelled sequence had', async () => {
    const all = new Generations({ limits: { sequences: 1 } });
    all.submit(1, promptOf(5, 1), 1000);
    all.submit(2, promptOf(5, 2), 5);
    await all.advance(3);
    expect(all.begun).toEqual([1]);
    all.batch.cancel(1);
    await all.finish();
    expect(all.tokens.get(2)).toEqual(fakeTokens(promptOf(5, 2), 5));
  });

  test('leave a place for another tenant, once there is more than one', async () => {
    const all = new Generations({ limits: { sequences: 4 } });
    all.submit(99, promptOf(3, 99), 1, 'other');
    await all.finish();
    for (let id = 1; id <= 6; id++) all.submit(id, promptOf(3, id), 50, 'many');
    await all.advance(3);
    expect(all.begun).toHaveLength(4);
    all.submit(7, promptOf(3, 7), 2, 'other');
    await all.advance(1);
    expect(all.begun.at(-1)).toBe(7);
    await all.finish();
    expect(all.failures.size).toBe(0);
  });

  test('read the prompts of several tenants in turns', async () => {
    const all = new Generations();
    all.submit(1, promptOf(3000, 1), 1, 'long');
    await all.advance(1);
    all.submit(2, promptOf(3, 2), 1, 'short');
    await all.advance(2);
    expect(all.begun).toEqual([2]);
    await all.finish();
    expect(all.begun).toEqual([2, 1]);
  });

  test('are all told of a fault that nobody foresaw, and leave nothing behind', async () => {
    const all = new Generations({ limits: { sequences: 2 } });
    for (let id = 1; id <= 3; id++) all.submit(id, promptOf(3, id), 50);
    await all.advance(2);
    all.batch.abandon(new Error('fault'));
    expect([...all.failures.keys()].sort()).toEqual([1, 2, 3]);
    expect(all.batch.isIdle).toBe(true);
    expect(all.decoder).toMatchObject({ prefixes: 0, slabs: 0 });
  });

  test('gives a tenant its turn before the many requests of another', async () => {
    const all = new Generations({ limits: { sequences: 2 } });
    for (let id = 1; id <= 50; id++) all.submit(id, promptOf(5, id), 4, 'many');
    await all.advance(1);
    all.submit(100, promptOf(5, 100), 4, 'one');
    all.submit(101, promptOf(5, 101), 4, 'other');
    await all.finish();
    // Two were under way, and one turn of the first tenant came before.
    expect(all.begun.indexOf(100)).toBeLessThanOrEqual(3);
    expect(all.begun.indexOf(101)).toBeLessThanOrEqual(4);
    expect(all.ends.size).toBe(52);
  });
});
