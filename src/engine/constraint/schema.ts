import { type Dfa, toDfa } from './dfa.ts';
import { choice, literal } from './expression.ts';
import { type Choice, firstBytes, type GrammarBuilder, type Node, type Property } from './grammar.ts';
import {
  allowOnly,
  childPointer,
  countOf,
  isSchema,
  keywordsOf,
  type Place,
  type Schema,
  type TypeName,
  typesOf,
} from './keywords.ts';
import { NUMBER } from './numbers.ts';
import { named, numberDfa, stringShape, valuesDfa } from './schemaLeaves.ts';
import { SchemaError } from './spec.ts';
import { Work } from './work.ts';

/** Bytes of a schema as JSON. */
const MAX_SCHEMA_UNITS = 65_536;
/** Schemas within schemas. */
const MAX_NESTING = 32;
/** Nodes of the grammar, and states of its automata. */
const MAX_NODES = 8192;
const MAX_STATES = 32_768;
/** What one keyword costs, in steps, and one character of the document or of a reference. */
const KEYWORD_WORK = 32;
const UNIT_WORK = 0.25;
/** Alternatives of one anyOf or oneOf. */
const MAX_ALTERNATIVES = 64;
const MAX_ITEMS = 100_000;

const TRUE_FALSE = toDfa(choice(literal('true'), literal('false')), new Work());
/** UTF-8 cannot write it. */
const HALF_PAIR = /\p{Surrogate}/u;
const NULL = toDfa(literal('null'), new Work());

/** Compiles one schema document into a grammar. Throws `SchemaError`. */
export class SchemaCompiler {
  readonly #grammar: GrammarBuilder;
  readonly #document: unknown;
  readonly #strict: boolean;
  readonly #referred = new Map<string, Choice>();
  /** Alternatives that have to begin differently: known when all references are. */
  readonly #disjoint: { readonly pointer: string; readonly nodes: readonly Node[] }[] = [];
  #anything: Choice | undefined;
  #nesting = 0;

  constructor(grammar: GrammarBuilder, document: unknown, strict: boolean) {
    this.#grammar = grammar;
    this.#document = document;
    this.#strict = strict;
  }

  /** The root of the document. */
  compile(): Node {
    return named('', 'schema', () => this.#root());
  }

  #root(): Node {
    const { work } = this.#grammar;
    const units = JSON.stringify([this.#document]).length;
    if (units > MAX_SCHEMA_UNITS) {
      throw new SchemaError('', 'schema', `has more than ${MAX_SCHEMA_UNITS} characters`);
    }
    work.spend(UNIT_WORK * units);
    if (this.#strict && (!isSchema(this.#document) || this.#document['type'] !== 'object')) {
      throw new SchemaError('', 'type', 'is object at the root in strict mode');
    }
    const root = this.#node(this.#document, '');
    this.#grammar.settleHeights();
    if (root.height === Infinity) throw new SchemaError('', 'schema', 'has no text that ends');
    for (const { pointer, nodes } of this.#disjoint) requireDisjoint(pointer, nodes, work);
    return root;
  }

  #node(schema: unknown, pointer: string): Node {
    if (this.#nesting === MAX_NESTING) throw new SchemaError(pointer, 'schema', 'is nested too deeply');
    if (this.#grammar.nodes.length > MAX_NODES) throw new SchemaError(pointer, 'schema', 'is too large');
    if (schema === true) return this.anything();
    if (!isSchema(schema)) throw new SchemaError(pointer, 'schema', 'is neither an object nor true');
    this.#nesting++;
    const node = named(pointer, 'schema', () => {
      this.#grammar.work.spend(KEYWORD_WORK * sizeOf(schema));
      return this.#combined({ schema, pointer }) ?? this.#typed({ schema, pointer });
    });
    this.#nesting--;
    return node;
  }

  #combined(place: Place): Node | undefined {
    const { schema, pointer } = place;
    const keyword = ['$ref', 'anyOf', 'oneOf', 'allOf'].find((name) => Object.hasOwn(schema, name));
    if (keyword === undefined) return undefined;
    allowOnly(place, [keyword], `is not supported beside ${keyword}`);
    if (keyword === '$ref') return this.#reference(schema['$ref'], pointer);
    const listed = schema[keyword];
    if (!Array.isArray(listed) || listed.length === 0 || listed.length > MAX_ALTERNATIVES) {
      throw new SchemaError(pointer, keyword, `is no list of 1 to ${MAX_ALTERNATIVES} schemas`);
    }
    if (keyword === 'allOf' && listed.length > 1) {
      throw new SchemaError(pointer, keyword, 'of more than one schema is not supported');
    }
    const nodes = listed.map((one: unknown, i) => this.#node(one, childPointer(pointer, keyword, i)));
    if (keyword === 'oneOf') this.#disjoint.push({ pointer, nodes });
    return this.#grammar.choice(...nodes);
  }

  #reference(reference: unknown, pointer: string): Node {
    if (typeof reference !== 'string' || !/^#(?:\/|$)/.test(reference)) {
      throw new SchemaError(pointer, '$ref', 'names nothing within the document by a JSON Pointer');
    }
    const known = this.#referred.get(reference);
    if (known) return known;
    const node = this.#grammar.choice();
    this.#referred.set(reference, node);
    const target = this.#resolve(reference, pointer);
    node.of.push(this.#node(target, reference.slice(1)));
    return node;
  }

  #resolve(reference: string, pointer: string): unknown {
    let target = this.#document;
    for (const part of reference.split('/').slice(1)) {
      const name = decode(part, pointer).replaceAll('~1', '/').replaceAll('~0', '~');
      const inside = typeof target === 'object' && target !== null && Object.hasOwn(target, name);
      if (!inside) throw new SchemaError(pointer, '$ref', 'names nothing within the document');
      target = (target as Schema)[name];
    }
    return target;
  }

  #typed(place: Place): Node {
    const { schema } = place;
    const types = typesOf(place);
    if (Object.hasOwn(schema, 'enum') || Object.hasOwn(schema, 'const')) {
      allowOnly(place, ['type', 'enum', 'const'], 'is not supported beside enum or const');
      return this.#leaf(valuesDfa(place, types, this.#grammar.work), place.pointer);
    }
    const why = types ? 'is not supported, or not for this type' : 'is not supported';
    allowOnly(place, keywordsOf(types ?? []), why);
    if (!types) return this.anything();
    const nodes = types.map((name) => this.#ofType(place, name));
    const [only] = nodes;
    return only && nodes.length === 1 ? only : this.#grammar.choice(...nodes);
  }

  #ofType(place: Place, name: TypeName): Node {
    switch (name) {
      case 'object':
        return this.#object(place);
      case 'array':
        return this.#array(place);
      case 'string': {
        const shape = stringShape(place, this.#grammar.work);
        if ('least' in shape) return this.#grammar.text(shape.least, shape.most);
        return this.#leaf(shape, place.pointer);
      }
      case 'number':
      case 'integer':
        return this.#leaf(numberDfa(place, name === 'integer', this.#grammar.work), place.pointer);
      case 'boolean':
        return this.#grammar.leaf(TRUE_FALSE);
      case 'null':
        return this.#grammar.leaf(NULL);
    }
  }

  #leaf(dfa: Dfa, pointer: string): Node {
    const leaf = this.#grammar.leaf(dfa);
    if (this.#grammar.states > MAX_STATES) throw new SchemaError(pointer, 'schema', 'is too large');
    return leaf;
  }

  #object(place: Place): Node {
    const { schema, pointer } = place;
    const declared = schema['properties'] ?? {};
    if (!isSchema(declared)) throw new SchemaError(pointer, 'properties', 'is no object');
    const required = requiredNames(place);
    const additional = schema['additionalProperties'];
    if (this.#strict) requireStrict(pointer, Object.keys(declared), required, additional);
    const silent = additional === undefined && Object.hasOwn(schema, 'properties');
    const at = childPointer(pointer, 'additionalProperties');
    const others = additional === false || silent ? undefined : this.#node(additional ?? true, at);
    const properties = Object.entries(declared).map(([name, value]): Property => {
      const node = this.#node(value, childPointer(pointer, 'properties', name));
      return { name, required: required.has(name), value: node };
    });
    for (const name of required) {
      if (Object.hasOwn(declared, name)) continue;
      const value = silent ? this.anything() : others;
      if (!value) throw new SchemaError(pointer, 'required', 'names a property that may not be there');
      properties.push({ name, required: true, value });
    }
    if (properties.some(({ name }) => HALF_PAIR.test(name))) {
      throw new SchemaError(pointer, 'properties', 'has a name with half a surrogate pair');
    }
    return this.#grammar.object(properties, others);
  }

  #array(place: Place): Node {
    const { schema, pointer } = place;
    const listed = schema['prefixItems'] ?? [];
    if (!Array.isArray(listed)) throw new SchemaError(pointer, 'prefixItems', 'is no list');
    const first = listed.map((one: unknown, i) => this.#node(one, childPointer(pointer, 'prefixItems', i)));
    const items = schema['items'] ?? true;
    const rest = items === false ? undefined : this.#node(items, childPointer(pointer, 'items'));
    const least = countOf(place, 'minItems', MAX_ITEMS) ?? 0;
    const stated = countOf(place, 'maxItems', Number.MAX_SAFE_INTEGER) ?? Infinity;
    const most = rest ? stated : Math.min(stated, first.length);
    if (most < least) throw new SchemaError(pointer, 'minItems', 'is more than there can be');
    return this.#grammar.array(first, rest, least, most);
  }

  /** Any JSON value. */
  anything(): Node {
    if (this.#anything) return this.#anything;
    const node = this.#grammar.choice();
    this.#anything = node;
    const scalars = [NUMBER, TRUE_FALSE, NULL].map((dfa) => this.#grammar.leaf(dfa));
    const containers = [this.#grammar.object([], node), this.#grammar.array([], node, 0, Infinity)];
    node.of.push(...containers, this.#grammar.text(0, Infinity), ...scalars);
    return node;
  }
}

/** Keywords of a schema, with the names and values that they list. */
function sizeOf(schema: Schema): number {
  const sizes = Object.values(schema).map((value) => {
    if (typeof value === 'string') return value.length / 64;
    return Array.isArray(value) ? value.length : 0;
  });
  const { properties } = schema;
  const names = isSchema(properties) ? Object.keys(properties).length : 0;
  return sizes.reduce((sum, size) => sum + 1 + size, 1 + names);
}

function decode(part: string, pointer: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    throw new SchemaError(pointer, '$ref', 'is no URI fragment');
  }
}

function requiredNames({ schema, pointer }: Place): ReadonlySet<string> {
  const names = schema['required'] ?? [];
  if (!Array.isArray(names) || !names.every((name): name is string => typeof name === 'string')) {
    throw new SchemaError(pointer, 'required', 'is no list of names');
  }
  return new Set(names);
}

function requireStrict(
  pointer: string,
  declared: readonly string[],
  required: ReadonlySet<string>,
  additional: unknown,
): void {
  if (additional !== false) {
    throw new SchemaError(pointer, 'additionalProperties', 'is false in strict mode');
  }
  if (!declared.every((name) => required.has(name))) {
    throw new SchemaError(pointer, 'required', 'names every property in strict mode');
  }
}

function requireDisjoint(pointer: string, nodes: readonly Node[], work: Work): void {
  const taken = new Set<number>();
  for (const node of nodes) {
    const first = firstBytes(node, work);
    if ([...first].some((byte) => taken.has(byte))) {
      throw new SchemaError(pointer, 'oneOf', 'has alternatives that begin alike; anyOf is supported');
    }
    for (const byte of first) taken.add(byte);
  }
}
