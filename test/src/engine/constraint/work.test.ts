import { describe, expect, test } from '@jest/globals';
import { compileGrammar, SchemaCheck } from '../../../../src/engine/constraint/constraint.ts';
import { GrammarBuilder } from '../../../../src/engine/constraint/grammar.ts';
import { SchemaError } from '../../../../src/engine/constraint/spec.ts';
import { MAX_WORK } from '../../../../src/engine/constraint/work.ts';

/** What one step of the largest automaton may add to what is spent, beyond the bound. */
const LAST_STEP = 500_000;
const TOO_MUCH = 'takes more work than all schemas of a request may';

interface Compiled {
  readonly spent: number;
  readonly refusal: SchemaError | undefined;
}

function compile(schema: unknown): Compiled {
  const grammar = new GrammarBuilder();
  try {
    compileGrammar({ kind: 'json-schema', schema }, grammar);
  } catch (error) {
    if (error instanceof SchemaError) return { spent: grammar.work.spent, refusal: error };
    throw error;
  }
  return { spent: grammar.work.spent, refusal: undefined };
}

const entries = (count: number, make: (i: number) => unknown): object =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`p${i}`, make(i)]));
const many = (count: number, make: (i: number) => unknown): object => ({
  type: 'object',
  properties: entries(count, make),
});

/** Many references to one large schema, none written as another. */
function referred(large: object, count: number): object {
  const name = (i: number): string =>
    Array.from('abcdefghijk', (letter, bit) =>
      (i >> bit) & 1 ? `%${letter.charCodeAt(0).toString(16)}` : letter,
    ).join('');
  const group = (k: number): object => ({
    anyOf: Array.from({ length: 64 }, (_, j) => ({ $ref: `#/$defs/${name(64 * k + j)}` })),
  });
  return { $defs: { abcdefghijk: large }, anyOf: Array.from({ length: count / 64 }, (_, k) => group(k)) };
}

const letters = (count: number, step: number): string =>
  String.fromCodePoint(...Array.from({ length: count }, (_, i) => 0x4e00 + step * i));
const chained = (i: number): object =>
  i === 0 ? { type: 'string' } : { anyOf: [{ $ref: `#/$defs/p${i - 1}` }] };

const HOSTILE: readonly (readonly [string, object])[] = [
  ['a pattern of a thousand equal letters, searched for', { type: 'string', pattern: 'x'.repeat(1024) }],
  ['an automaton that doubles with each letter', { type: 'string', pattern: '^(?:a|b)*a(?:a|b){20}$' }],
  ['repetitions within repetitions', { type: 'string', pattern: '^(?:(?:a{0,99}){99}){99}$' }],
  ['stars of stars', { type: 'string', pattern: '(?:a*)*'.repeat(140) }],
  ['many alternatives that go on', { type: 'string', pattern: 'x.*|'.repeat(250) + 'y' }],
  ['classes of many ranges', { type: 'string', pattern: `[^${letters(40, 2)}]`.repeat(20) }],
  ['many patterns', many(60, (i) => ({ type: 'string', pattern: `${'ab'.repeat(480)}${i}` }))],
  ['many classes', many(50, (i) => ({ type: 'string', pattern: `[^${letters(500 + i, 2)}]` }))],
  ['many escapes', many(30, (i) => ({ type: 'string', pattern: `${'\\W'.repeat(490)}${i}` }))],
  ['products of automata', many(20, (i) => ({ type: 'string', pattern: `^(?:[${letters(5, 2)}]{0,3}){40}${i}*$`, maxLength: 40 }))],
  ['many bounds', many(600, (i) => ({ type: 'number', minimum: -123_456.789 - i, maximum: 9_876_543.21 + i }))],
  ['many large bounds', many(600, (i) => ({ type: 'integer', minimum: -9_007_199_254_740_000 + i }))],
  ['references to one enum', referred({ enum: Array.from({ length: 300 }, (_, i) => `${i}`) }, 896)],
  ['references to long names', referred(many(60, () => true), 896)],
  ['references to many names', referred({ type: 'object', properties: entries(60, () => true), required: Array.from({ length: 5000 }, () => 'p1') }, 896)],
  ['references to a long pattern', referred({ type: 'string', pattern: '^' + 'ab'.repeat(480) }, 896)],
  ['references to alternatives', referred({ anyOf: Array.from({ length: 64 }, () => ({ type: 'string' })) }, 896)],
  ['references each to the one before', { $defs: entries(800, chained), ...many(800, (i) => ({ $ref: `#/$defs/p${i}` })) }],
  ['oneOf of all that there is', { $defs: { a: { anyOf: Array.from({ length: 60 }, () => ({ anyOf: Array.from({ length: 30 }, () => ({ type: 'null' })) })) } }, ...many(300, () => ({ oneOf: [{ type: 'string' }, { $ref: '#/$defs/a' }] })) }],
  ['many types', many(900, () => ({ type: ['string', 'null', 'array', 'object', 'boolean'] }))],
  ['many properties', many(5000, () => true)],
]; // prettier-ignore

describe('the work of one specification is bounded for', () => {
  test.each(HOSTILE)('%s', (_name, schema) => {
    const { spent, refusal } = compile(schema);
    expect(spent).toBeGreaterThan(0);
    expect(spent).toBeLessThanOrEqual(MAX_WORK + LAST_STEP);
    if (spent > MAX_WORK) expect(refusal?.message).toContain(TOO_MUCH);
  });
});

describe('the work of one request', () => {
  const tool = (i: number): object =>
    many(6, (j) => ({ type: 'string', pattern: `^[a-z]{1,${90 + j}}-${i}$` }));

  test('is that of all its schemas together', () => {
    const one = compile(tool(0));
    expect(one.refusal).toBeUndefined();
    expect(one.spent).toBeLessThan(MAX_WORK / 10);
    const check = new SchemaCheck();
    const tools = Array.from({ length: 128 }, (_, i) => ({ name: `t${i}`, parameters: tool(i) }));
    const all = (): void => {
      for (const one of tools) check.requireTool(one);
    };
    expect(all).toThrow(
      expect.objectContaining({ code: 'INVALID_INPUT', message: expect.stringContaining(TOO_MUCH) }),
    );
    expect(() =>
      compileGrammar({ kind: 'tool-calls', tools, mode: 'required', tagged: false, parallel: false }),
    ).toThrow(TOO_MUCH);
  });

  test('is enough for as many tools as there may be, each of twelve parameters', () => {
    const parameters = {
      ...many(12, (i) => {
        const kinds = [
          { type: 'string', description: 'a place' },
          { type: 'integer', minimum: 0, maximum: 100 },
          { type: 'string', format: 'date-time' },
          { enum: ['celsius', 'fahrenheit', 'kelvin'] },
        ];
        return kinds[i % kinds.length];
      }),
      required: ['p0'],
    };
    const tools = Array.from({ length: 128 }, (_, i) => ({ name: `tool_${i}`, parameters }));
    const grammar = new GrammarBuilder();
    compileGrammar({ kind: 'tool-calls', tools, mode: 'auto', tagged: true, parallel: true }, grammar);
    expect(grammar.work.spent).toBeLessThan(MAX_WORK / 2);
    const check = new SchemaCheck();
    for (const tool of tools) check.requireTool(tool);
  });

  test('does not grow with what is said again', () => {
    const bounded = (count: number): number =>
      compile(many(count, () => ({ type: 'number', minimum: -1.5, maximum: 99.5 }))).spent;
    expect(bounded(100) - bounded(99)).toBeLessThan(bounded(1) / 10);
  });
});
