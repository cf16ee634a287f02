import { type ArrayNode, MAX_DEPTH, type Node, type ObjectNode } from './grammar.ts';

/**
 * One entry of a stack: a node that is under way, and how far it is. What lies below goes on when it ends. Equal
 * stacks are the same object.
 */
export interface Cell {
  readonly id: number;
  readonly node: Exclude<Node, { kind: 'choice' }>;
  readonly parent: Cell | undefined;
  /** Phase of an object or array, state of a leaf or of a character, index of a sequence. */
  readonly phase: number;
  /** Characters, items, or the first property that may come. */
  readonly count: number;
  /** Node in the trie of names while a name is written, then the property; -1: another name. */
  readonly name: number;
  /** State within a character of a name. */
  readonly character: number;
  /** Objects and arrays that are open, this one included. */
  readonly depth: number;
}

/** Where a text may stand: more than one stack where alternatives begin alike. */
export interface State {
  readonly cells: readonly Cell[];
  /** The text may end here. */
  readonly accepting: boolean;
  /** What follows each byte, as far as it is known; null: nothing. */
  readonly next: (State | null | undefined)[];
}

/** Index of the first of these numbers, which are in order, that is not less. */
function firstFrom(sorted: readonly number[], least: number): number {
  let low = 0;
  for (let high = sorted.length; low < high;) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] ?? 0) < least) low = middle + 1;
    else high = middle;
  }
  return low;
}

/**
 * One count for all those between which so many characters or items make no difference: a byte is at most one of them.
 */
export function nearestCount({ node, count }: Cell, reach: number): number {
  if (node.kind !== 'text' && node.kind !== 'array') return count;
  const special = node.kind === 'array' ? node.first.length : 0;
  const { least, most } = node;
  if (count < special) return count;
  if (count <= least - reach) return least - reach;
  return count >= least && count <= most - reach ? Math.max(least, special) : count;
}

/** Whether a text of this node can be completed within the depth that is left. */
export function fits({ height }: Node, parent: Cell | undefined): boolean {
  return (parent?.depth ?? 0) + height <= MAX_DEPTH;
}

export function itemOf(node: ArrayNode, index: number): Node | undefined {
  return index < node.most ? (node.first[index] ?? node.rest) : undefined;
}

/** A required property is still to come. */
export function isPending({ count }: Cell, node: ObjectNode): boolean {
  return node.nextRequired[count] !== node.properties.length;
}

export function mayAddOthers(cell: Cell, node: ObjectNode): boolean {
  return !isPending(cell, node) && node.others !== undefined && fits(node.others, cell);
}

/** A declared property may come that is not before the last one, nor after a required one that is still to come. */
export function isCandidate(cell: Cell, node: ObjectNode, property: number): boolean {
  const last = node.nextRequired[cell.count] ?? 0;
  const value = node.properties[property]?.value;
  return property >= cell.count && property <= last && value !== undefined && fits(value, cell);
}

/** A property that may come has a name that goes through this node of the trie. Counts what it looks at. */
export function leads(out: Reached, cell: Cell, node: ObjectNode, trieNode: number): boolean {
  const properties = node.names.below[trieNode] ?? [];
  const last = node.nextRequired[cell.count] ?? 0;
  for (let i = firstFrom(properties, cell.count); i < properties.length; i++) {
    const property = properties[i] ?? 0;
    if (property > last) return false;
    out.seen++;
    if (isCandidate(cell, node, property)) return true;
  }
  return false;
}

/** What one step leads to. */
export interface Reached {
  readonly cells: Map<number, Cell>;
  accepting: boolean;
  /** Choices and parents that were entered: a choice of itself ends. */
  readonly entered: Set<string>;
  /** Stacks, nodes and properties that were looked at. */
  seen: number;
}

export function reached(): Reached {
  return { cells: new Map(), accepting: false, entered: new Set(), seen: 0 };
}

export function add({ cells }: Reached, cell: Cell): void {
  cells.set(cell.id, cell);
}
