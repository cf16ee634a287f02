import { SchemaError } from './spec.ts';

export type Schema = Readonly<Record<string, unknown>>;

/** Says nothing of what is valid. */
const ANNOTATIONS = [
  '$schema',
  '$id',
  '$comment',
  '$defs',
  'definitions',
  'title',
  'description',
  'default',
  'examples',
  'deprecated',
  'readOnly',
  'writeOnly',
];

export const TYPES = ['object', 'array', 'string', 'number', 'integer', 'boolean', 'null'] as const;
export type TypeName = (typeof TYPES)[number];

/** Keywords that are enforced, by the types that they speak of. */
const OF_TYPE: Readonly<Record<TypeName, readonly string[]>> = {
  object: ['properties', 'required', 'additionalProperties'],
  array: ['items', 'prefixItems', 'minItems', 'maxItems'],
  string: ['minLength', 'maxLength', 'pattern', 'format'],
  number: ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum'],
  integer: ['minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum'],
  boolean: [],
  null: [],
};

/** One schema with its place in the document. */
export interface Place {
  readonly schema: Schema;
  readonly pointer: string;
}

export function childPointer(pointer: string, ...names: readonly (string | number)[]): string {
  const parts = names.map((name) => `/${String(name).replaceAll('~', '~0').replaceAll('/', '~1')}`);
  return pointer + parts.join('');
}

/** A schema that is an object; true, false and all else is not. */
export function isSchema(value: unknown): value is Schema {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Refuses every keyword that is neither an annotation nor among those named. */
export function allowOnly({ schema, pointer }: Place, allowed: readonly string[], why: string): void {
  for (const keyword of Object.keys(schema)) {
    if (!ANNOTATIONS.includes(keyword) && !allowed.includes(keyword)) {
      throw new SchemaError(pointer, keyword.slice(0, 64), why);
    }
  }
}

/** The types of a schema; where it names none, those whose keywords it has. Undefined: it says nothing of them. */
export function typesOf({ schema, pointer }: Place): readonly TypeName[] | undefined {
  const { type } = schema;
  if (type === undefined) {
    const implied = TYPES.filter((name) => OF_TYPE[name].some((keyword) => Object.hasOwn(schema, keyword)));
    return implied.length === 0 ? undefined : implied.filter((name) => name !== 'integer');
  }
  const named: readonly unknown[] = Array.isArray(type) ? type : [type];
  const known = TYPES.filter((name) => named.includes(name));
  if (known.length !== named.length || known.length === 0) {
    throw new SchemaError(pointer, 'type', 'names something that is no type, or one twice');
  }
  // A whole number is a number.
  return known.includes('number') ? known.filter((name) => name !== 'integer') : known;
}

export function keywordsOf(types: readonly TypeName[]): readonly string[] {
  return ['type', ...types.flatMap((name) => OF_TYPE[name])];
}

/** A count; undefined where the keyword is absent. */
export function countOf({ schema, pointer }: Place, keyword: string, most: number): number | undefined {
  const value = schema[keyword];
  if (value === undefined) return undefined;
  if (typeof value === 'number' && Number.isInteger(value) && value >= 0 && value <= most) return value;
  throw new SchemaError(pointer, keyword, `is no whole number from 0 to ${most}`);
}
