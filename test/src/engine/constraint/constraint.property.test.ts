import { describe, expect, test } from '@jest/globals';
import { Ajv2020 } from 'ajv/dist/2020.js';
import fc from 'fast-check';
import { compileGrammar } from '../../../../src/engine/constraint/constraint.ts';
import { SchemaError, type ConstraintSpec } from '../../../../src/engine/constraint/spec.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../../support/runs.ts';
import { judge, walk } from './walk.ts';

/** An independent judge of schemas, with independent judges of formats. */
const ajv = new Ajv2020({ strict: false, allErrors: false });
const DAY = /^\d{4}-\d\d-\d\d$/;
ajv.addFormat(
  'date',
  (text) => DAY.test(text) && new Date(`${text}T00:00:00Z`).toISOString().startsWith(text),
);
ajv.addFormat('date-time', (text) => !Number.isNaN(Date.parse(text)) && DAY.test(text.slice(0, 10)));
ajv.addFormat('time', (text) => !Number.isNaN(Date.parse(`2024-01-01T${text}`)));
ajv.addFormat('uuid', (text) => /^[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12}$/i.test(text));
ajv.addFormat(
  'ipv4',
  (text) =>
    text.split('.').length === 4 &&
    text.split('.').every((part) => String(Number(part)) === part && Number(part) < 256),
);
ajv.addFormat('email', (text) => text.split('@').length === 2 && !/\s|\.\./.test(text));

const PATTERNS = [
  '^[a-z]{1,4}$',
  'x',
  '^(?:ab|cd)*$',
  '^\\d{3}-\\d{4}$',
  '^[^a-y]+$',
  '^.{2,5}$',
  '\\s',
  '^é?"\\\\$',
  '^-?\\d+(?:\\.\\d+)?$',
];
const NAMES = ['a', 'ab', 'b', 'é', 'q"uote', '', 'kind', 'a\\b', '\n'];

interface Tree {
  readonly schema: object;
}

const text = fc.oneof(
  fc.record({ least: fc.nat(4), more: fc.nat(4) }).map(({ least, more }) => ({ minLength: least, maxLength: least + more })),
  fc.constant({}),
  fc.constantFrom(...PATTERNS).map((pattern) => ({ pattern })),
  fc.constantFrom('date', 'time', 'date-time', 'uuid', 'email', 'ipv4').map((format) => ({ format })),
  fc.constant({ pattern: '^[a-zé]*$', minLength: 2, maxLength: 6 }),
).map((rest): object => ({ type: 'string', ...rest })); // prettier-ignore

const bound = fc.oneof(fc.integer({ min: -2000, max: 2000 }), fc.integer({ min: -30_000, max: 30_000 }).map((n) => n / 1000), fc.constantFrom(0, 1, -1, 9, 10, 99.5)); // prettier-ignore
const numeric = fc
  .record({ type: fc.constantFrom('integer', 'number'), low: fc.option(bound), span: fc.option(fc.integer({ min: 1, max: 5000 })), open: fc.boolean() })
  .map(({ type, low, span, open }): object => ({
    type,
    ...(low !== null && { [open ? 'exclusiveMinimum' : 'minimum']: low }),
    ...(span !== null && { [open ? 'exclusiveMaximum' : 'maximum']: Math.floor((low ?? -20) + span + 1) }),
  })); // prettier-ignore

const values = fc.oneof(
  fc
    .array(fc.jsonValue({ maxDepth: 2 }), { minLength: 1, maxLength: 4 })
    .map((listed): object => ({ enum: listed })),
  fc.jsonValue({ maxDepth: 2 }).map((value): object => ({ const: value })),
);

const schemas = fc.letrec<{ schema: object; object: object; array: object; leaf: object }>((tie) => ({
  leaf: fc.oneof(
    text,
    numeric,
    values,
    fc.constantFrom<object>({ type: 'null' }, { type: 'boolean' }, {}, { type: ['string', 'null'] }),
  ),
  object: fc
    .record({
      names: fc.uniqueArray(fc.constantFrom(...NAMES), { maxLength: 4 }),
      schemas: fc.array(tie('schema'), { minLength: 4, maxLength: 4 }),
      required: fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }),
      additional: fc.oneof(fc.boolean(), tie('leaf'), fc.constant(undefined)),
    })
    .map(({ names, schemas: own, required, additional }) => ({
      type: 'object',
      properties: Object.fromEntries(names.map((name, i) => [name, own[i]!])),
      required: names.filter((_, i) => required[i]),
      ...(additional !== undefined && { additionalProperties: additional }),
    })),
  array: fc
    .record({ first: fc.array(tie('schema'), { maxLength: 2 }), items: fc.oneof(tie('schema'), fc.boolean()), least: fc.nat(2), more: fc.option(fc.nat(2)) })
    .map(({ first, items, least, more }) => ({
      type: 'array',
      ...(first.length > 0 && { prefixItems: first }),
      items,
      minItems: items === false ? Math.min(least, first.length) : least,
      ...(more !== null && { maxItems: least + more }),
    })),
  schema: fc.oneof(
    { maxDepth: 3, depthIdentifier: 'schema' },
    tie('leaf'),
    tie('object'),
    tie('array'),
    fc.array(tie('schema'), { minLength: 1, maxLength: 3 }).map((anyOf): object => ({ anyOf })),
  ),
})).schema; // prettier-ignore

/** With a place to refer to: lists and trees of itself. */
const documents = schemas.chain((schema) =>
  fc.constantFrom<Tree>(
    { schema },
    { schema: { $defs: { s: schema }, type: 'array', items: { $ref: '#/$defs/s' }, maxItems: 2 } },
    {
      schema: {
        $defs: { t: { type: 'object', properties: { v: schema, next: { anyOf: [{ type: 'null' }, { $ref: '#/$defs/t' }] } }, required: ['v', 'next'], additionalProperties: false } },
        $ref: '#/$defs/t',
      },
    },
  ),
); // prettier-ignore

function compiled(schema: object): ConstraintSpec | undefined {
  const spec = { kind: 'json-schema', schema } as const;
  try {
    compileGrammar(spec);
    return spec;
  } catch (error) {
    if (error instanceof SchemaError) return undefined;
    throw error;
  }
}

describe('for random schemas', () => {
  test(
    'every random walk ends in JSON that the schema validates',
    () => {
      let taken = 0;
      let ended = 0;
      fc.assert(
        fc.property(documents, fc.nat(1_000_000), ({ schema }, seed) => {
          const spec = compiled(schema);
          if (!spec) return;
          taken++;
          const written = walk(spec, seed);
          if (written === undefined) return;
          ended++;
          const value: unknown = JSON.parse(written);
          const validate = ajv.compile(schema);
          if (!validate(value)) throw new Error(`${written}: ${ajv.errorsText(validate.errors)}`);
        }),
        { ...propertyRuns(50), endOnFailure: true },
      );
      expect(taken).toBeGreaterThan(30);
      expect(ended / taken).toBeGreaterThan(0.9);
    },
    PROPERTY_TIMEOUT,
  );

  test(
    'every compact text that an object validates is taken, and each of its prefixes',
    () => {
      fc.assert(
        fc.property(fc.jsonValue({ maxDepth: 4 }).filter(isWritable), (value) => {
          const text = JSON.stringify(value);
          const bytes = new TextEncoder().encode(text).length;
          for (const schema of [true, { const: value }, loose(value)]) {
            const { whole } = judge({ kind: 'json-schema', schema }, text);
            if (!whole) throw new Error(`${JSON.stringify(schema)} does not take ${text} of ${bytes} bytes`);
          }
        }),
        propertyRuns(50),
      );
    },
    PROPERTY_TIMEOUT,
  );

  test(
    'anything that is no schema is refused by its code',
    () => {
      fc.assert(
        fc.property(fc.oneof(fc.jsonValue(), fc.record({ type: fc.jsonValue(), properties: fc.jsonValue(), items: fc.jsonValue(), pattern: fc.string(), $ref: fc.string(), enum: fc.jsonValue(), minimum: fc.double() }, { requiredKeys: [] })), (schema) => {
          compiled(schema as object);
        }),
        propertyRuns(150),
      );
    },
    PROPERTY_TIMEOUT,
  ); // prettier-ignore

  test(
    'a pattern is a refusal, or finds what it takes',
    () => {
      const part = fc.constantFrom('a', 'b', '\\d', '[a-c]', '[^b]', '.', '(?:a|bc)', '\\.', 'é', '\\s', '"', '\\W');
      const count = fc.constantFrom('', '', '*', '+', '?', '{2}', '{1,3}', '{2,}', '+?');
      const patterns = fc
        .tuple(fc.boolean(), fc.array(fc.tuple(part, count).map(([one, times]) => one + times), { maxLength: 4 }), fc.boolean(), fc.boolean())
        .map(([begins, parts, ends, branches]) => (begins ? '^' : '') + parts.join(branches ? '|' : '') + (ends ? '$' : ''));
      fc.assert(
        fc.property(fc.oneof(patterns, fc.string()), fc.nat(1000), fc.string({ maxLength: 6 }), (pattern, seed, other) => {
          const spec = compiled({ type: 'string', pattern });
          if (!spec) return;
          const expression = new RegExp(pattern, 'u');
          const written = walk(spec, seed);
          if (written !== undefined) expect(JSON.parse(written)).toMatch(expression);
          expect(judge(spec, JSON.stringify(other)).whole).toBe(expression.test(other));
        }),
        propertyRuns(20),
      );
    },
    PROPERTY_TIMEOUT,
  ); // prettier-ignore

  test(
    'bounds of numbers are those of the decimals',
    () => {
      const decimals = fc.tuple(fc.integer({ min: -2000, max: 2000 }), fc.constantFrom(1, 10, 100)).map(([n, by]) => n / by);
      fc.assert(
        fc.property(decimals, decimals, decimals, fc.boolean(), (a, b, value, exclusive) => {
          const [low, high] = a < b ? [a, b] : [b, a];
          const schema = exclusive ? { type: 'number', exclusiveMinimum: low, exclusiveMaximum: high } : { type: 'number', minimum: low, maximum: high };
          const spec = compiled(schema);
          if (!spec) { expect(exclusive && low === high).toBe(true); return; }
          for (const number of [value, low, high]) {
            const inside = exclusive ? number > low && number < high : number >= low && number <= high;
            expect([number, judge(spec, JSON.stringify(number)).whole]).toEqual([number, inside]);
          }
        }),
        propertyRuns(50),
      );
    },
    PROPERTY_TIMEOUT,
  ); // prettier-ignore
});

/** Numbers of the last bit of the range have no text here. */
function isWritable(value: unknown): boolean {
  return !/e\+308/.test(JSON.stringify(value));
}

/** The schema that says the types of a value, and no more. */
function loose(value: unknown): object {
  if (Array.isArray(value)) return { type: 'array', prefixItems: value.map(loose), items: false };
  if (value === null) return { type: 'null' };
  if (typeof value !== 'object') return { type: typeof value };
  const entries = Object.entries(value).map(([name, own]) => [name, loose(own)] as const);
  return { type: 'object', properties: Object.fromEntries(entries), required: Object.keys(value), additionalProperties: false };
} // prettier-ignore
