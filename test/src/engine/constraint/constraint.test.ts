import { describe, expect, test } from '@jest/globals';
import { compileConstraint, compileGrammar } from '../../../../src/engine/constraint/constraint.ts';
import { SchemaError, type ConstraintSpec } from '../../../../src/engine/constraint/spec.ts';
import { makeVocabulary } from '../../../../src/engine/constraint/vocabulary.ts';
import { EngineError } from '../../../../src/engine/engine.ts';
import { END, judge, VOCABULARY } from './walk.ts';

const of = (schema: unknown): ConstraintSpec => ({ kind: 'json-schema', schema });
const isWhole = (schema: unknown, text: string): boolean => judge(of(schema), text).whole;
const isPrefix = (schema: unknown, text: string): boolean => judge(of(schema), text).prefix;

function refusalOf(schema: unknown, strict = false): SchemaError {
  try {
    compileGrammar({ kind: 'json-schema', schema, strict });
  } catch (error) {
    if (error instanceof SchemaError) return error;
    throw error;
  }
  throw new Error('the schema was taken');
}

describe('a schema takes', () => {
  const person = {
    type: 'object',
    properties: {
      name: { type: 'string' },
      age: { type: 'integer' },
      tags: { type: 'array', items: { type: 'string' } },
    },
    required: ['name', 'tags'],
    additionalProperties: false,
  };
  const node = {
    $defs: {
      'a/b': {
        type: 'object',
        properties: { v: { type: 'integer' }, next: { anyOf: [{ $ref: '#/$defs/a~1b' }, { type: 'null' }] } },
        required: ['v', 'next'],
        additionalProperties: false,
      },
    },
    $ref: '#/$defs/a~1b',
  };

  test.each<[unknown, string, boolean]>([
    [person, '{"name":"x","age":3,"tags":[]}', true],
    [person, '{"name": "x", "tags": ["a", "b"]}', true],
    [person, '{"name":"x","tags":[]', false],
    [person, '{"name":"x"}', false],
    [person, '{"age":1,"name":"x","tags":[]}', false],
    [person, '{"name":"x","tags":[],"more":1}', false],
    [person, '{"name":"x","name":"x","tags":[]}', false],
    [person, '{"name":  "x","tags":[]}', false],
    [person, ' {"name":"x","tags":[]}', false],
    [node, '{"v":1,"next":{"v":2,"next":null}}', true],
    [node, '{"v":1,"next":{"v":2}}', false],
    [{ type: 'object' }, '{}', true],
    [{ type: 'object' }, '{"a":{"b":[1,"c",null,true,{"d":-0.5e-3}]}}', false],
    [{ type: 'object' }, '{"a":{"b":[1,"c",null,true,{"d":-5.1e-3}]}}', true],
    [{ type: 'object' }, '{"a\\n\\"é":1}', true],
    [
      { type: 'object', properties: { a: { type: 'null' } }, additionalProperties: { type: 'integer' } },
      '{"a":null,"b":1,"aa":2}',
      true,
    ],
    [
      { type: 'object', properties: { a: { type: 'null' } }, additionalProperties: { type: 'integer' } },
      '{"b":1,"a":null}',
      false,
    ],
    [
      { type: 'object', properties: { a: { type: 'null' } }, additionalProperties: { type: 'integer' } },
      '{"\\u0061":1}',
      false,
    ],
    [{ type: 'object', properties: { a: { type: 'null' } } }, '{"b":1}', false],
    [{ type: 'object', required: ['a'] }, '{"a":[]}', true],
    [{ type: 'object', required: ['a'] }, '{"b":[]}', false],
    [
      { type: 'array', prefixItems: [{ type: 'integer' }, { type: 'string' }], items: false },
      '[1,"a"]',
      true,
    ],
    [
      { type: 'array', prefixItems: [{ type: 'integer' }, { type: 'string' }], items: false },
      '[1,"a",2]',
      false,
    ],
    [{ type: 'array', items: { type: 'integer' }, minItems: 2, maxItems: 3 }, '[1]', false],
    [{ type: 'array', items: { type: 'integer' }, minItems: 2, maxItems: 3 }, '[1,2,3]', true],
    [{ type: 'array', items: { type: 'integer' }, minItems: 2, maxItems: 3 }, '[1,2,3,4]', false],
    [{ type: 'array', maxItems: 0 }, '[]', true],
    [{ type: 'array', maxItems: 0 }, '[1]', false],
    [{ type: 'string', minLength: 2, maxLength: 3 }, '"😀é"', true],
    [{ type: 'string', minLength: 2, maxLength: 3 }, '"\\ud83d\\uDE00\\u00e9x"', true],
    [{ type: 'string', minLength: 2, maxLength: 3 }, '"\\ud83d\\uDE00"', false],
    [{ type: 'string', minLength: 2, maxLength: 3 }, '"abcd"', false],
    [{ type: 'string' }, '"\\ud83d"', false],
    [{ type: 'string' }, '"a\u0001"', false],
    [{ type: 'string' }, '"\\"\\\\\\/"', true],
    [{ type: 'string', pattern: '^[a-c]{2,3}$' }, '"abc"', true],
    [{ type: 'string', pattern: '^[a-c]{2,3}$' }, '"abd"', false],
    [{ type: 'string', pattern: 'b+' }, '"xbbx"', true],
    [{ type: 'string', pattern: 'b+' }, '"xx"', false],
    [{ type: 'string', pattern: '^a|c$' }, '"abc"', true],
    [{ type: 'string', pattern: '^\\w+\\s\\d$', maxLength: 5 }, '"abc 1"', true],
    [{ type: 'string', pattern: '^\\w+\\s\\d$', maxLength: 5 }, '"abcd 1"', false],
    [{ type: 'string', pattern: '^[^"\\\\]\\n"$' }, '"x\\n\\""', true],
    [{ type: 'string', pattern: '^[^a]$' }, '"😀"', true],
    [{ type: 'string', pattern: '^[é-ü😀-😂]+$' }, '"ëí😁"', true],
    [{ type: 'string', pattern: '^[é-ü😀-😂]+$' }, '"ÿ"', false],
    [{ type: 'string', format: 'date' }, '"2024-02-29"', true],
    [{ type: 'string', format: 'date' }, '"2023-02-29"', false],
    [{ type: 'string', format: 'date' }, '"1900-02-29"', false],
    [{ type: 'string', format: 'date-time' }, '"2024-12-31T23:59:59.5Z"', true],
    [{ type: 'string', format: 'time' }, '"24:00:00Z"', false],
    [{ type: 'string', format: 'uuid' }, '"123e4567-e89b-12d3-a456-426614174000"', true],
    [{ type: 'string', format: 'email' }, '"a.b+c@ex-ample.org"', true],
    [{ type: 'string', format: 'email' }, '"a..b@example.org"', false],
    [{ type: 'string', format: 'ipv4' }, '"255.0.10.1"', true],
    [{ type: 'string', format: 'ipv4' }, '"256.0.0.1"', false],
    [{ enum: ['a', 1, null, { b: [true] }] }, '{"b":[true]}', true],
    [{ enum: ['a', 1, null, { b: [true] }] }, '2', false],
    [{ enum: ['a', 1, null], type: ['string', 'null'] }, '1', false],
    [{ const: 'a"é' }, '"a\\"é"', true],
    [{ type: ['integer', 'null'] }, 'null', true],
    [{ type: 'boolean' }, 'false', true],
    [{ type: 'integer' }, '01', false],
    [{ type: 'integer' }, '-0', false],
    [{ type: 'integer' }, '1.0', false],
    [{ type: 'number' }, '-0.5', true],
    [{ type: 'number' }, '1e307', true],
    [{ type: 'number' }, '9e308', false],
    [{ type: 'number' }, '0.000001234567890123456', true],
    [{ type: 'integer', minimum: -12, maximum: 105 }, '-12', true],
    [{ type: 'integer', minimum: -12, maximum: 105 }, '-13', false],
    [{ type: 'integer', minimum: -12, maximum: 105 }, '105', true],
    [{ type: 'integer', minimum: -12, maximum: 105 }, '106', false],
    [{ type: 'integer', exclusiveMinimum: 0 }, '0', false],
    [{ type: 'integer', exclusiveMinimum: 0 }, '900719925474099', true],
    [{ type: 'number', minimum: 0, maximum: 1 }, '1.00', true],
    [{ type: 'number', minimum: 0, maximum: 1 }, '1.01', false],
    [{ type: 'number', minimum: 0, exclusiveMaximum: 1 }, '1', false],
    [{ type: 'number', exclusiveMaximum: 0 }, '-0.0', false],
    [{ type: 'number', exclusiveMaximum: 0 }, '-0.01', true],
    [
      {
        anyOf: [
          {
            type: 'object',
            properties: { kind: { const: 'a' }, x: { type: 'integer' } },
            required: ['kind', 'x'],
          },
          { type: 'object', properties: { kind: { const: 'ab' } }, required: ['kind'] },
        ],
      },
      '{"kind":"ab"}',
      true,
    ],
    [
      {
        anyOf: [
          {
            type: 'object',
            properties: { kind: { const: 'a' }, x: { type: 'integer' } },
            required: ['kind', 'x'],
          },
          { type: 'object', properties: { kind: { const: 'ab' } }, required: ['kind'] },
        ],
      },
      '{"kind":"ab","x":1}',
      false,
    ],
    [{ oneOf: [{ type: 'string' }, { type: 'integer' }] }, '7', true],
    [{ allOf: [{ type: 'string' }] }, '"a"', true],
    [true, '[[{}]]', true],
    [{ title: 't', description: 'd', default: 1, examples: [], $schema: 'x' }, '"any"', true],
  ])('%j: %s: %s', (schema, text, whole) => {
    expect(isWhole(schema, text)).toBe(whole);
    if (!whole) return;
    const points = Array.from(text);
    for (let i = 0; i < points.length; i++) expect(isPrefix(schema, points.slice(0, i).join(''))).toBe(true);
  });

  test('objects and arrays to a depth that the parser of clients takes, and can always be completed', () => {
    expect(isPrefix({ type: 'array' }, '['.repeat(32))).toBe(true);
    expect(isWhole({ type: 'array' }, '['.repeat(32) + ']'.repeat(32))).toBe(true);
    expect(isPrefix({ type: 'array' }, '['.repeat(33))).toBe(false);
    const tree = {
      type: 'object',
      properties: { l: { type: 'array', items: { $ref: '#' } } },
      required: ['l'],
    };
    // Another object would need an array, which has no room.
    const deepest = '{"l":['.repeat(15) + '{"l":[';
    expect(isPrefix(tree, deepest)).toBe(true);
    expect(isPrefix(tree, `${deepest}{`)).toBe(false);
  });
});

describe('a schema is refused, with place and keyword, for', () => {
  test.each<[unknown, string, string]>([
    [
      { type: 'object', properties: { 'a/~': { type: 'string', contentEncoding: 'base64' } } },
      '/properties/a~1~0',
      'contentEncoding',
    ],
    [{ type: 'object', patternProperties: {} }, '', 'patternProperties'],
    [{ type: 'object', minProperties: 1 }, '', 'minProperties'],
    [{ type: 'array', uniqueItems: true }, '', 'uniqueItems'],
    [{ type: 'array', items: { type: 'number', multipleOf: 2 } }, '/items', 'multipleOf'],
    [{ type: 'array', items: [{ type: 'number' }] }, '/items', 'schema'],
    [{ not: {} }, '', 'not'],
    [{ if: {} }, '', 'if'],
    [{ type: 'integer', maxLength: 3 }, '', 'maxLength'],
    [{ type: 'text' }, '', 'type'],
    [{ type: ['string', 'string'] }, '', 'type'],
    [{ type: [] }, '', 'type'],
    [false, '', 'schema'],
    [7, '', 'schema'],
    [{ type: 'string', format: 'uri' }, '', 'format'],
    [{ type: 'string', pattern: '(?=a)' }, '', 'pattern'],
    [{ type: 'string', pattern: '(a)\\1' }, '', 'pattern'],
    [{ type: 'string', pattern: '\\bword' }, '', 'pattern'],
    [{ type: 'string', pattern: '\\p{L}' }, '', 'pattern'],
    [{ type: 'string', pattern: 'a{5000}' }, '', 'pattern'],
    [{ type: 'string', pattern: '(a{1000}){1000}' }, '', 'pattern'],
    [{ type: 'string', pattern: '^(?:a|b)*a(?:a|b){20}$' }, '', 'pattern'],
    [{ type: 'string', pattern: '(' }, '', 'pattern'],
    [{ type: 'string', pattern: '[z-a]' }, '', 'pattern'],
    [{ type: 'string', pattern: '^a$b' }, '', 'pattern'],
    [{ type: 'string', pattern: '('.repeat(100) + ')'.repeat(100) }, '', 'pattern'],
    [{ type: 'string', pattern: 'x'.repeat(2000) }, '', 'pattern'],
    [{ type: 'string', pattern: '^a$', minLength: 2 }, '', 'pattern'],
    [{ type: 'string', pattern: '^a+$', maxLength: 5000 }, '', 'maxLength'],
    [{ type: 'string', minLength: 2, maxLength: 1 }, '', 'maxLength'],
    [{ type: 'string', maxLength: -1 }, '', 'maxLength'],
    [{ type: 'integer', minimum: 2, maximum: 1 }, '', 'minimum'],
    [{ type: 'integer', exclusiveMinimum: 1, exclusiveMaximum: 2 }, '', 'exclusiveMinimum'],
    [{ type: 'integer', minimum: 1e300 }, '', 'minimum'],
    [{ type: 'number', minimum: 1e-7 }, '', 'minimum'],
    [{ type: 'number', minimum: 0.1234567890123456 }, '', 'minimum'],
    [{ enum: [] }, '', 'enum'],
    [{ enum: ['a'], type: 'integer' }, '', 'enum'],
    [{ enum: Array.from({ length: 1001 }, (_, i) => i) }, '', 'enum'],
    [{ enum: ['a'], minLength: 1 }, '', 'minLength'],
    [{ enum: ['a'], const: 'a' }, '', 'enum'],
    [{ anyOf: [] }, '', 'anyOf'],
    [{ anyOf: [{}], type: 'string' }, '', 'type'],
    [{ oneOf: [{ type: 'integer' }, { type: 'number' }] }, '', 'oneOf'],
    [{ allOf: [{}, {}] }, '', 'allOf'],
    [{ $ref: '#/$defs/none' }, '', '$ref'],
    [{ $ref: 'https://example.org/s' }, '', '$ref'],
    [{ $ref: '#/%zz' }, '', '$ref'],
    [{ $ref: '#' }, '', 'schema'],
    [{ type: 'object', properties: { a: { $ref: '#' } }, required: ['a'] }, '', 'schema'],
    [{ type: 'object', required: ['a'], additionalProperties: false }, '', 'required'],
    [{ type: 'array', minItems: 3, maxItems: 2 }, '', 'minItems'],
    [{ type: 'array', items: false, minItems: 1 }, '', 'minItems'],
    [{ description: 'x'.repeat(70_000) }, '', 'schema'],
  ])('%j', (schema, pointer, keyword) => {
    const refusal = refusalOf(schema);
    expect(refusal).toBeInstanceOf(EngineError);
    expect(refusal).toMatchObject({ code: 'INVALID_INPUT', pointer, keyword });
  });

  test('depth', () => {
    let schema: object = { type: 'string' };
    for (let i = 0; i < 40; i++) schema = { type: 'array', items: schema };
    expect(refusalOf(schema).message).toContain('nested too deeply');
  });

  test('size', () => {
    const property = { type: 'string', pattern: '^.{0,300}$' };
    const properties = Object.fromEntries(Array.from({ length: 40 }, (_, i) => [`p${i}`, property]));
    expect(refusalOf({ type: 'object', properties }).message).toContain('too large');
  });

  test('what strict mode asks for', () => {
    const closed = { type: 'object', properties: { a: {} }, required: ['a'], additionalProperties: false };
    expect(() => compileGrammar({ kind: 'json-schema', schema: closed, strict: true })).not.toThrow();
    expect(refusalOf({ ...closed, additionalProperties: true }, true)).toMatchObject({
      keyword: 'additionalProperties',
    });
    const inner = { ...closed, properties: { a: { ...closed, required: [] } } };
    expect(refusalOf(inner, true)).toMatchObject({ pointer: '/properties/a', keyword: 'required' });
    expect(refusalOf({ type: 'array' }, true)).toMatchObject({ keyword: 'type' });
  });
});

describe('a constraint', () => {
  test('allows an end token where the text may end, and nothing after it', () => {
    const constraint = compileConstraint(of({ type: 'boolean' }), VOCABULARY, new Set([END]));
    const logits = (): Float32Array => {
      const row = new Float32Array(VOCABULARY.size + 5).fill(2);
      constraint.mask(row);
      return row;
    };
    expect(logits()[END]).toBe(-Infinity);
    expect(logits()['t'.charCodeAt(0) + 1]).toBe(2);
    expect(logits()[VOCABULARY.size + 1]).toBe(-Infinity);
    expect(() => constraint.accept(END)).toThrow('does not allow');
    for (const character of 'true') constraint.accept(character.charCodeAt(0) + 1);
    expect(constraint.complete).toBe(true);
    expect([...logits().keys()].filter((id) => logits()[id] !== -Infinity)).toEqual([END]);
    expect(() => constraint.accept(2)).toThrow('does not allow');
  });

  test('is not complete while more may follow', () => {
    const constraint = compileConstraint(of({ type: 'integer' }), VOCABULARY, new Set([END]));
    constraint.accept('1'.charCodeAt(0) + 1);
    expect(constraint.complete).toBe(false);
    const logits = new Float32Array(VOCABULARY.size);
    constraint.mask(logits);
    expect(logits[END]).toBe(0);
  });

  test('refuses a vocabulary that cannot write it', () => {
    const poor = makeVocabulary(new Map([[1, Uint8Array.of(0x61)]]));
    const constraint = compileConstraint({ kind: 'json-object' }, poor, new Set([END]));
    expect(() => constraint.mask(new Float32Array(2))).toThrow('cannot write');
  });

  test('follows many alternatives that begin alike', () => {
    const properties = (i: number): object => ({ k: { const: `v${i}` }, w: { type: 'integer' } });
    const anyOf = Array.from({ length: 40 }, (_, i) => ({
      type: 'object',
      properties: properties(i),
      required: ['k', 'w'],
    }));
    expect(isWhole({ anyOf }, '{"k":"v39","w":1}')).toBe(true);
    expect(isWhole({ anyOf }, '{"k":"v40","w":1}')).toBe(false);
  });
});

describe('calls of tools', () => {
  const tools = [
    {
      name: 'look',
      parameters: { type: 'object', properties: { at: { type: 'string' } }, required: ['at'] },
    },
    { name: 'wait', parameters: undefined },
  ];
  const calls = (mode: 'auto' | 'required', tagged: boolean, parallel: boolean): ConstraintSpec => ({
    kind: 'tool-calls', tools, mode, tagged, parallel,
  }); // prettier-ignore
  const look = '{"name": "look", "arguments": {"at": "x"}}';
  const wait = '{"name":"wait","arguments":{}}';
  const tagged = `<tool_call>\n${look}\n</tool_call>`;

  test.each<[ConstraintSpec, string, boolean]>([
    [calls('required', false, true), look, true],
    [calls('required', false, true), wait, true],
    [calls('required', false, true), `${wait}${wait}`, false],
    [calls('required', false, true), '{"name":"look","arguments":{}}', false],
    [calls('required', false, true), '{"name":"other","arguments":{}}', false],
    [calls('required', false, true), 'Hello', false],
    [calls('required', true, true), tagged, true],
    [calls('required', true, true), `${tagged}\n<tool_call>${wait}</tool_call>`, true],
    [calls('required', true, false), `${tagged}\n${tagged}`, false],
    [calls('required', true, false), look, false],
    [calls('auto', true, true), 'Hello <tool_cal é', true],
    [calls('auto', true, true), '', true],
    [calls('auto', true, true), `Let me see.\n${tagged}`, true],
    [calls('auto', true, true), `<<tool_call>${wait}</tool_call>`, true],
    [calls('auto', true, true), '<tool_call>', false],
    [calls('auto', true, true), `<tool_call>${wait}`, false],
    [calls('auto', true, true), '<tool_call>{"name":"none"', false],
  ])('%j: %s: %s', (spec, text, whole) => {
    expect(judge(spec, text).whole).toBe(whole);
  });

  test('are refused without tools, and for a schema that cannot be enforced', () => {
    expect(() => compileGrammar({ ...calls('auto', true, true), tools: [] } as ConstraintSpec)).toThrow(
      'tools',
    );
    const odd = [{ name: 'f', parameters: { type: 'object', minProperties: 1 } }];
    expect(() => compileGrammar({ ...calls('auto', true, true), tools: odd } as ConstraintSpec)).toThrow(
      'minProperties',
    );
  });
});
