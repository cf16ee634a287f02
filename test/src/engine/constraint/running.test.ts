import { describe, expect, test } from '@jest/globals';
import { compileConstraint, compileGrammar } from '../../../../src/engine/constraint/constraint.ts';
import type { TokenConstraint } from '../../../../src/engine/constraint/constraint.ts';
import {
  Masks,
  MAX_GENERATION_WORK,
  MAX_TOKEN_WORK,
  RunWork,
} from '../../../../src/engine/constraint/masks.ts';
import type { ConstraintSpec } from '../../../../src/engine/constraint/spec.ts';
import type { State } from '../../../../src/engine/constraint/stack.ts';
import { makeVocabulary, type Vocabulary } from '../../../../src/engine/constraint/vocabulary.ts';
import { uniform } from '../../../../src/engine/sampling.ts';
import { END, testVocabulary, VOCABULARY } from './walk.ts';

const of = (schema: unknown): ConstraintSpec => ({ kind: 'json-schema', schema });
const ENDS = new Set([END]);
const LETTERS = 'abcdefghijklmnopqrstuvwxyz';
/** Strings with an even number of this letter: all alternatives stay open, and together have a state for each set. */
const even = (letter: string): object => ({
  type: 'string',
  pattern: `^[^${letter}]*(?:${letter}[^${letter}]*${letter}[^${letter}]*)*$`,
});

/** Words of random letters, with punctuation before some and blanks before others. */
function words(count: number): Vocabulary {
  const made = new Set<string>();
  for (let i = 0; made.size < count; i++) {
    const at = (k: number): number => uniform(i, 0, k);
    const letters = Array.from({ length: 2 + Math.floor(at(0) * 8) }, (_, k) => LETTERS[Math.floor(at(k + 2) * 26)]);
    made.add((['', ' ', '", "', '": "', '"}'][Math.floor(at(1) * 5)] ?? '') + letters.join(''));
  } // prettier-ignore
  return testVocabulary([...made]);
}

const WORDS = words(30_000);

/** What it costs to choose each of these tokens, the last by the mask that ends it. */
function worksOf(spec: ConstraintSpec, vocabulary: Vocabulary, text: string): readonly number[] {
  const masks = new Masks(compileGrammar(spec), vocabulary);
  const works: number[] = [];
  let state: State | undefined = masks.machine.start;
  let machine = masks.machine;
  for (const byte of new TextEncoder().encode(text)) {
    let spent = 0;
    const meter = { spend: (steps: number): void => void (spent += steps) };
    if (masks.machine !== machine && state) state = masks.machine.adopt(state);
    machine = masks.machine;
    if (!state) throw new Error('nothing may follow');
    masks.of(state, meter);
    if (masks.machine !== machine) state = masks.machine.adopt(state);
    machine = masks.machine;
    state = machine.step(state, byte, meter);
    works.push(spent);
  }
  return works;
}

function say(constraint: TokenConstraint, vocabulary: Vocabulary, text: string): void {
  for (const byte of new TextEncoder().encode(text)) {
    constraint.mask(new Float32Array(vocabulary.size));
    constraint.accept(byte + 1);
  }
}

describe('the work of one token is bounded', () => {
  test('for alternatives that together have a state for each set of letters', () => {
    const masks = new Masks(compileGrammar(of({ anyOf: Array.from(LETTERS, even) })), WORDS);
    const { machine } = masks;
    const state = machine.step(machine.start, 0x22, new RunWork())!;
    let spent = 0;
    masks.of(state, { spend: (steps) => void (spent += steps) });
    // Each by itself: the tree of the tokens once, and few states.
    expect(spent).toBeLessThan(LETTERS.length * 2 * WORDS.trie.byte.length);
    expect(machine.states).toBeLessThan(LETTERS.length * 32);
  });

  test('and what is above it is refused by its code, and forgotten', () => {
    const masks = new Masks(compileGrammar(of({ type: 'object' })), WORDS);
    const { machine } = masks;
    const work = new RunWork();
    work.spend(MAX_TOKEN_WORK);
    expect(() => masks.of(machine.start, work)).toThrow(
      expect.objectContaining({
        code: 'INVALID_INPUT',
        message: 'the schema takes more work than choosing one token may',
      }),
    );
    expect(masks.machine).not.toBe(machine);
  });

  test('of one generation, too', () => {
    const work = new RunWork();
    for (let spent = 0; spent < MAX_GENERATION_WORK; spent += MAX_TOKEN_WORK) {
      work.beginToken();
      work.spend(MAX_TOKEN_WORK);
    }
    work.beginToken();
    expect(() => {
      work.spend(1);
    }).toThrow(
      expect.objectContaining({
        code: 'INVALID_INPUT',
        message: 'the schema takes more work than one generation may',
      }),
    );
  });

  test('far above what ordinary schemas take', () => {
    const properties = {
      name: { type: 'string', minLength: 1, maxLength: 80 },
      tags: { type: 'array', items: { type: 'string' }, maxItems: 5 },
      day: { type: 'string', format: 'date' },
      size: { type: 'number', minimum: 0, maximum: 99.5 },
      code: { type: 'string', pattern: '^[A-Z][\\w .-]{2,60}$' },
      more: true,
    };
    const spec = of({ type: 'object', properties, required: Object.keys(properties) });
    const text =
      '{"name": "plain text, é","tags":["a","b"],"day":"2024-02-29","size":12.5,"code":"Ab cd","more":{"x":[1]}}';
    const works = worksOf(spec, WORDS, text);
    expect(Math.max(...works)).toBeLessThan(MAX_TOKEN_WORK / 10);
    expect(works.reduce((sum, one) => sum + one, 0)).toBeLessThan(MAX_GENERATION_WORK / 30);
  });
});

describe('a machine', () => {
  test('keeps a bounded number of states, however long a counted text is', () => {
    for (const schema of [
      { type: 'string', minLength: 1e15 },
      { type: 'string', minLength: 1e15, maxLength: 2e15 },
      { type: 'array', minItems: 90_000, items: { type: 'string' } },
    ]) {
      const masks = new Masks(compileGrammar(of(schema)), VOCABULARY);
      const work = new RunWork();
      let { machine } = masks;
      let state = machine.start;
      let dropped = 0;
      let most = 0;
      const begin = schema.type === 'string' ? '"' : '[""';
      for (let i = 0; i < 4000; i++) {
        work.beginToken();
        if (masks.machine !== machine) {
          dropped++;
          machine = masks.machine;
          state = machine.adopt(state);
        }
        masks.of(state, work);
        const text = i === 0 ? begin : schema.type === 'string' ? 'é' : ',""';
        for (const byte of new TextEncoder().encode(text)) {
          if (masks.machine !== machine) state = masks.machine.adopt(state);
          machine = masks.machine;
          state = machine.step(state, byte, work)!;
        }
        most = Math.max(most, machine.states);
      }
      expect(most).toBeLessThan(3000);
      expect(dropped).toBeGreaterThan(1);
    }
  });

  test('that was dropped leaves what is under way as it was', () => {
    const spec = of({ type: 'array', minItems: 1500, maxItems: 1500, items: { enum: ['a', 1] } });
    const constraint = compileConstraint(spec, VOCABULARY, ENDS);
    const other = compileConstraint(spec, VOCABULARY, ENDS);
    say(other, VOCABULARY, '["a"');
    say(constraint, VOCABULARY, `[${Array.from({ length: 1499 }, () => '"a"').join()}`);
    say(constraint, VOCABULARY, ',1');
    expect(() => {
      constraint.accept(','.charCodeAt(0) + 1);
    }).toThrow('does not allow');
    say(constraint, VOCABULARY, ']');
    expect(constraint.complete).toBe(true);
    expect(() => {
      say(other, VOCABULARY, ']');
    }).toThrow('does not allow');
    say(other, VOCABULARY, `${',1'.repeat(1499)}]`);
    expect(other.complete).toBe(true);
  });
});

describe('the tokens that may follow within a string are those that end in one that fits', () => {
  const pieces = ['"', '",', '"}', 'ab"', 'abc"}', 'é"', '\\"', '\\u00e9"', '""', '"a"', '"ab', 'aaaaaaaa', '😀😀', '", "'];
  const vocabulary = testVocabulary(pieces);
  test.each<[number, number | undefined]>([[0, undefined], [2, undefined], [0, 3], [2, 4], [3, 3], [40, 60], [0, 0]])('%d to %p characters', (minLength, maxLength) => {
    const schema = { type: 'array', items: { type: 'string', minLength, ...(maxLength !== undefined && { maxLength }) } };
    for (const begin of ['[', '["', '["a', '["é', '["ab', '["abc', `["${'a'.repeat(39)}`, `["${'a'.repeat(58)}`, '["\\', '["\\u00']) {
      const taken = (text: string): boolean => {
        const fresh = compileConstraint(of(schema), vocabulary, ENDS);
        try {
          for (const byte of new TextEncoder().encode(text)) fresh.accept(byte + 1);
          return true;
        } catch {
          return false;
        }
      };
      if (!taken(begin)) continue;
      const constraint = compileConstraint(of(schema), vocabulary, ENDS);
      for (const byte of new TextEncoder().encode(begin)) constraint.accept(byte + 1);
      const logits = new Float32Array(vocabulary.size);
      constraint.mask(logits);
      for (const [i, piece] of pieces.entries()) {
        expect([begin, piece, logits[257 + i] === 0]).toEqual([begin, piece, taken(begin + piece)]);
      }
    }
  });
}); // prettier-ignore

describe('what is compiled', () => {
  /** Whether the schema is read once more than for the key. */
  const compiles = (scope: string, vocabulary: Vocabulary): boolean => {
    let reads = 0;
    const watched: ConstraintSpec = {
      kind: 'json-schema',
      get schema(): unknown {
        reads++;
        return { type: 'string', pattern: '^(?:ab|cd){1,40}$' };
      },
    };
    compileConstraint(watched, vocabulary, ENDS, scope);
    return reads > 1;
  };

  test('is shared within a scope and with no other, so that time tells nothing', () => {
    const vocabulary = testVocabulary();
    expect(compiles('a', vocabulary)).toBe(true);
    expect(compiles('a', vocabulary)).toBe(false);
    expect(compiles('b', vocabulary)).toBe(true);
    expect(compiles('', vocabulary)).toBe(true);
    expect(compiles('a', vocabulary)).toBe(false);
  });

  test('is kept for some scopes only, the latest ones', () => {
    const vocabulary = testVocabulary();
    expect(compiles('first', vocabulary)).toBe(true);
    for (let i = 0; i < 15; i++) expect(compiles(`s${i}`, vocabulary)).toBe(true);
    expect(compiles('first', vocabulary)).toBe(false);
    expect(compiles('s15', vocabulary)).toBe(true);
    expect(compiles('first', vocabulary)).toBe(false);
    expect(compiles('s0', vocabulary)).toBe(true);
  });
});

describe('an end token that has bytes', () => {
  const A = 'a'.charCodeAt(0) + 1;
  const ends = new Set([END, A]);
  const allowed = (text: string): readonly number[] => {
    const constraint = compileConstraint(of({ type: 'string' }), VOCABULARY, ends);
    say(constraint, VOCABULARY, text);
    const logits = new Float32Array(VOCABULARY.size);
    constraint.mask(logits);
    return [...logits.keys()].filter((id) => logits[id] === 0);
  };

  test('is not chosen where the text may not end, though its bytes fit', () => {
    expect(allowed('"b')).not.toContain(A);
    expect(allowed('"b')).toContain(A + 1);
    expect(allowed('"b"')).toEqual([END, A]);
    const constraint = compileConstraint(of({ type: 'string' }), VOCABULARY, ends);
    expect(() => {
      say(constraint, VOCABULARY, '"a');
    }).toThrow('does not allow');
  });

  test('does not count as one that can write what is asked for', () => {
    const poor = makeVocabulary(new Map([[1, Uint8Array.of(0x7b)]]));
    const constraint = compileConstraint({ kind: 'json-object' }, poor, new Set([1]));
    expect(() => {
      constraint.mask(new Float32Array(2));
    }).toThrow('cannot write');
  });
});
