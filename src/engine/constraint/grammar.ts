import type { Dfa } from './dfa.ts';
import { Work } from './work.ts';

/** Objects and arrays within each other in one document: what the strict parser of clients takes. */
export const MAX_DEPTH = 32;

interface Base {
  readonly id: number;
  /** Objects and arrays within each other that the smallest text has; infinite where no text ends. */
  height: number;
}

/** A regular text. */
export interface Leaf extends Base {
  readonly kind: 'leaf';
  readonly dfa: Dfa;
}

/** A JSON string of any characters. */
export interface Text extends Base {
  readonly kind: 'text';
  /** Characters (code points). */
  readonly least: number;
  readonly most: number;
}

export interface Property {
  readonly name: string;
  readonly required: boolean;
  readonly value: Node;
}

/** The declared properties in their order, those not required may be left out, then any others. */
export interface ObjectNode extends Base {
  readonly kind: 'object';
  readonly properties: readonly Property[];
  /** Of properties with other names; undefined where there are none. */
  readonly others: Node | undefined;
  readonly names: NameTrie;
  /** Index of the first required property from each index on; the number of properties where there is none. */
  readonly nextRequired: readonly number[];
}

export interface ArrayNode extends Base {
  readonly kind: 'array';
  /** Of the first items. */
  readonly first: readonly Node[];
  /** Of the items after them; undefined where there are none. */
  readonly rest: Node | undefined;
  readonly least: number;
  readonly most: number;
}

/** One of several. Filled after it was made, so that a schema may refer to itself. */
export interface Choice extends Base {
  readonly kind: 'choice';
  readonly of: Node[];
}

/** One after the other. */
export interface Sequence extends Base {
  readonly kind: 'sequence';
  readonly of: readonly Node[];
}

export type Node = Leaf | Text | ObjectNode | ArrayNode | Choice | Sequence;

/** The names of an object, byte by byte as `JSON.stringify` writes them. */
export interface NameTrie {
  readonly children: readonly ReadonlyMap<number, number>[];
  /** Properties whose names go through each node, in their order. */
  readonly below: readonly (readonly number[])[];
  /** Property whose name ends at each node. */
  readonly ends: readonly (number | undefined)[];
}

const encoder = new TextEncoder();

/** What one byte of a name costs, in steps, and one node. */
const NAME_WORK = 32;
const NODE_WORK = 256;

/** Makes the nodes of one grammar: all that a request asks for, with what it may cost. Throws `DfaError`. */
export class GrammarBuilder {
  readonly work = new Work();
  readonly nodes: Node[] = [];
  readonly #automata = new Set<Dfa>();
  #states = 0;
  /** Nodes whose heights are known. */
  #settled = 0;

  /** States of all automata; one that is there twice counts once. */
  get states(): number {
    return this.#states;
  }

  leaf(dfa: Dfa): Leaf {
    if (!this.#automata.has(dfa)) this.#states += dfa.edges.length;
    this.#automata.add(dfa);
    return this.#add({ kind: 'leaf', dfa, ...this.#base() });
  }

  text(least: number, most: number): Text {
    return this.#add({ kind: 'text', least, most, ...this.#base() });
  }

  object(properties: readonly Property[], others: Node | undefined): ObjectNode {
    const nextRequired = new Array<number>(properties.length + 1).fill(properties.length);
    for (let i = properties.length - 1; i >= 0; i--) {
      nextRequired[i] = properties[i]?.required ? i : (nextRequired[i + 1] ?? i);
    }
    const names = nameTrie(
      properties.map(({ name }) => name),
      this.work,
    );
    return this.#add({ kind: 'object', properties, others, names, nextRequired, ...this.#base() });
  }

  array(first: readonly Node[], rest: Node | undefined, least: number, most: number): ArrayNode {
    return this.#add({ kind: 'array', first, rest, least, most, ...this.#base() });
  }

  choice(...of: Node[]): Choice {
    return this.#add({ kind: 'choice', of, ...this.#base() });
  }

  sequence(...of: readonly Node[]): Sequence {
    return this.#add({ kind: 'sequence', of, ...this.#base() });
  }

  /** Computes the heights of new nodes: again and again, since they may contain themselves. */
  settleHeights(): void {
    const nodes = this.nodes.slice(this.#settled);
    this.#settled = this.nodes.length;
    const round = nodes.reduce((sum, node) => sum + HEIGHT_WORK * (1 + partsOf(node)), 0);
    for (let changed = true; changed;) {
      changed = false;
      this.work.spend(round);
      for (const node of nodes) {
        const height = heightOf(node);
        if (height < node.height) {
          node.height = height;
          changed = true;
        }
      }
    }
  }

  #base(): Base {
    return { id: this.nodes.length + 1, height: Infinity };
  }

  #add<T extends Node>(node: T): T {
    this.work.spend(NODE_WORK);
    this.nodes.push(node);
    return node;
  }
}

/** What looking at one part of a node costs, in steps. */
const HEIGHT_WORK = 2;

/** Nodes within a node. */
function partsOf(node: Node): number {
  switch (node.kind) {
    case 'object':
      return node.properties.length;
    case 'array':
      return node.first.length;
    case 'choice':
    case 'sequence':
      return node.of.length;
    case 'leaf':
    case 'text':
      return 0;
  }
}

function heightOf(node: Node): number {
  switch (node.kind) {
    case 'leaf':
    case 'text':
      return 0;
    case 'object':
      return 1 + highest(node.properties.filter(({ required }) => required).map(({ value }) => value));
    case 'array': {
      const needed = node.first.slice(0, node.least);
      return 1 + highest(node.least > node.first.length && node.rest ? [...needed, node.rest] : needed);
    }
    case 'choice':
      return Math.min(...node.of.map(({ height }) => height));
    case 'sequence':
      return highest(node.of);
  }
}

function highest(nodes: readonly Node[]): number {
  return Math.max(0, ...nodes.map(({ height }) => height));
}

function nameTrie(names: readonly string[], work: Work): NameTrie {
  const children = [new Map<number, number>()];
  const below: number[][] = [[]];
  const ends: (number | undefined)[] = [undefined];
  for (const [index, name] of names.entries()) {
    let node = 0;
    below[0]?.push(index);
    const bytes = encoder.encode(JSON.stringify(name).slice(1, -1));
    work.spend(NAME_WORK * (bytes.length + 1));
    for (const byte of bytes) {
      let child = children[node]?.get(byte);
      if (child === undefined) {
        child = children.push(new Map()) - 1;
        below.push([]);
        ends.push(undefined);
        children[node]?.set(byte, child);
      }
      node = child;
      below[node]?.push(index);
    }
    ends[node] = index;
  }
  return { children, below, ends };
}

/** Bytes that a text of this node may begin with. */
export function firstBytes(node: Node, work: Work): ReadonlySet<number> {
  const bytes = new Set<number>();
  const seen = new Set<Node>();
  const open = [node];
  for (let next = open.pop(); next; next = open.pop()) {
    if (seen.has(next)) continue;
    seen.add(next);
    if (next.kind === 'choice') open.push(...next.of);
    else if (next.kind === 'sequence') open.push(...next.of.slice(0, 1));
    else for (const byte of firstOf(next)) bytes.add(byte);
    work.spend(FIRST_WORK * (1 + partsOf(next)));
  }
  return bytes;
}

/** What the first bytes of one node cost, in steps. */
const FIRST_WORK = 32;

function firstOf(node: Exclude<Node, Choice | Sequence>): readonly number[] {
  switch (node.kind) {
    case 'leaf':
      return (node.dfa.edges[0] ?? []).flatMap(({ low, high }) => bytesBetween(low, high));
    case 'text':
      return [0x22];
    case 'object':
      return [0x7b];
    case 'array':
      return [0x5b];
  }
}

function bytesBetween(low: number, high: number): readonly number[] {
  return Array.from({ length: high - low + 1 }, (_, i) => low + i);
}
