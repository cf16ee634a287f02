import { describe, expect, test } from '@jest/globals';
import type { Prefix } from '../../../../src/engine/decoder/decoder.ts';
import { cutPrompt, PrefixStore } from '../../../../src/engine/decoder/prefixes.ts';

/** Counts its owners, and refuses to be released once too often. */
class CountedPrefix implements Prefix {
  readonly length = 1;
  readonly logits = new Float32Array(0);
  readonly bytes: number;
  owners = 1;

  constructor(bytes: number) {
    this.bytes = bytes;
  }

  retain(): Prefix {
    this.owners += 1;
    return this;
  }

  release(): void {
    this.owners -= 1;
    if (this.owners < 0) throw new Error('released once too often');
  }
}

const ids = (count: number, first = 0): readonly number[] =>
  Array.from({ length: count }, (_, i) => first + i);

describe('a prompt in pieces', () => {
  test('is all of the prompt, in its order', () => {
    const { pieces, keys } = cutPrompt(ids(10), 4, 'a');
    expect(pieces).toEqual([ids(4), ids(4, 4), ids(2, 8)]);
    expect(new Set(keys).size).toBe(3);
  });

  test('shares the keys of an equal beginning and no others', () => {
    const one = cutPrompt(ids(12), 4, 'a').keys;
    const other = cutPrompt([...ids(8), 99, 99, 99, 99], 4, 'a').keys;
    expect(other.slice(0, 2)).toEqual(one.slice(0, 2));
    expect(other[2]).not.toBe(one[2]);
    expect(cutPrompt(ids(6), 4, 'a').keys[1]).not.toBe(one[1]);
    expect(cutPrompt([9, ...ids(11, 1)], 4, 'a').keys.some((key) => one.includes(key))).toBe(false);
  });

  test('has other keys for every tenant', () => {
    const one = cutPrompt(ids(12), 4, 'a').keys;
    expect(cutPrompt(ids(12), 4, 'b').keys.some((key) => one.includes(key))).toBe(false);
  });
});

describe('the prefix store', () => {
  const single = (id: number, scope = 'a') => cutPrompt([id], 4, scope);

  test('gives back what an equal prompt left, with one more owner', () => {
    const store = new PrefixStore(100);
    const prefix = new CountedPrefix(10);
    store.keep(single(1), 1, prefix);
    expect([prefix.owners, store.bytes]).toEqual([2, 10]);
    expect(store.find(single(1))).toEqual({ prefix, pieces: 1 });
    expect(prefix.owners).toBe(3);
  });

  test('never gives a tenant what another left', () => {
    const store = new PrefixStore(100);
    store.keep(single(1, 'a'), 1, new CountedPrefix(10));
    expect(store.find(single(1, 'b'))).toEqual({ prefix: undefined, pieces: 0 });
    expect(store.find(single(1, ''))).toEqual({ prefix: undefined, pieces: 0 });
  });

  test('finds the longest beginning', () => {
    const store = new PrefixStore(1000);
    const prompt = cutPrompt(ids(20), 4, 'a');
    const kept = [1, 2, 4].map((pieces) => {
      const prefix = new CountedPrefix(pieces);
      store.keep(prompt, pieces, prefix);
      return prefix;
    });
    expect(store.find(prompt)).toEqual({ prefix: kept[2], pieces: 4 });
    expect(store.find(cutPrompt(ids(15), 4, 'a'))).toEqual({ prefix: kept[1], pieces: 2 });
  });

  test('keeps the whole prompt and powers of two of its pieces', () => {
    const store = new PrefixStore(1000);
    const prompt = cutPrompt(ids(11), 1, 'a');
    const prefixes = prompt.keys.map(() => new CountedPrefix(1));
    prefixes.forEach((prefix, i) => {
      store.keep(prompt, i + 1, prefix);
    });
    const kept = prefixes.flatMap(({ owners }, i) => (owners === 2 ? [i + 1] : []));
    expect(kept).toEqual([1, 2, 4, 8, 11]);
  });

  test('gives up the least recently used where the bytes do not suffice', () => {
    const store = new PrefixStore(30);
    const [a, b, c, d] = [1, 2, 3, 4].map(() => new CountedPrefix(10)) as [
      CountedPrefix,
      CountedPrefix,
      CountedPrefix,
      CountedPrefix,
    ];
    store.keep(single(1), 1, a);
    store.keep(single(2), 1, b);
    store.keep(single(3), 1, c);
    store.find(single(1)).prefix?.release();
    store.keep(single(4), 1, d);
    expect([a, b, c, d].map(({ owners }) => owners)).toEqual([2, 1, 2, 2]);
    expect(store.bytes).toBe(30);
    store.keep(single(5), 1, new CountedPrefix(25));
    expect([a, b, c, d].map(({ owners }) => owners)).toEqual([1, 1, 1, 1]);
    expect(store.bytes).toBe(25);
  });

  test('does not give up all others for what is too large, nor keep anything within nothing', () => {
    const store = new PrefixStore(30);
    const [small, large] = [new CountedPrefix(10), new CountedPrefix(31)];
    store.keep(single(1), 1, small);
    store.keep(single(2), 1, large);
    expect([small.owners, large.owners, store.bytes]).toEqual([2, 1, 10]);
    const none = new PrefixStore(0);
    none.keep(single(1), 1, small);
    expect([small.owners, none.bytes]).toEqual([2, 0]);
  });

  test('keeps an equal prompt once', () => {
    const store = new PrefixStore(100);
    const [first, second] = [new CountedPrefix(10), new CountedPrefix(10)];
    store.keep(single(1), 1, first);
    store.keep(single(1), 1, second);
    expect([first.owners, second.owners, store.bytes]).toEqual([2, 1, 10]);
  });

  test('releases each exactly once when it is cleared', () => {
    const store = new PrefixStore(100);
    const prefixes = [1, 2, 3].map((id) => {
      const prefix = new CountedPrefix(10);
      store.keep(single(id), 1, prefix);
      return prefix;
    });
    store.clear();
    store.clear();
    expect(prefixes.map(({ owners }) => owners)).toEqual([1, 1, 1]);
    expect(store.bytes).toBe(0);
  });
});
