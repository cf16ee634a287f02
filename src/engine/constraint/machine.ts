import { CANONICAL_CHARACTER, CHARACTER } from './characters.ts';
import { follow } from './dfa.ts';
import {
  type ArrayNode,
  type Leaf,
  MAX_DEPTH,
  type Node,
  type ObjectNode,
  type Sequence,
  type Text,
} from './grammar.ts';

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

/** Stacks of one state. Of more alternatives that begin alike the first ones are followed. */
const MAX_CELLS = 256;
/** States, and stacks, that are kept for use again. */
const MAX_KEPT = 16_384;

const OPEN = 0;
const FIRST = 1;
const NAME = 2;
const COLON = 3;
const SPACE = 4;
const AFTER = 5;
const COMMA = 6;
const NEXT = 7;
/** Before the quote that opens a string. */
const UNOPENED = -1;

const QUOTE = 0x22;
const BLANK = 0x20;
const COMMA_BYTE = 0x2c;
const COLON_BYTE = 0x3a;
const CLOSE_OBJECT = 0x7d;

/** A value may begin. */
const VALUE = -2;
/** Phases of an object that follow each byte, where that does not depend on the object. */
const OBJECT_BYTES: readonly (ReadonlyMap<number, number> | undefined)[] = (() => {
  const bytes: Map<number, number>[] = [];
  bytes[OPEN] = new Map([[0x7b, FIRST]]);
  bytes[COLON] = new Map([[COLON_BYTE, SPACE]]);
  bytes[SPACE] = new Map([[BLANK, VALUE]]);
  bytes[COMMA] = new Map([
    [QUOTE, NAME],
    [BLANK, NEXT],
  ]);
  bytes[NEXT] = new Map([[QUOTE, NAME]]);
  return bytes;
})();

/** What one step leads to. */
interface Reached {
  readonly cells: Map<number, Cell>;
  accepting: boolean;
  /** Choices and parents that were entered: a choice of itself ends. */
  readonly entered: Set<string>;
}

/** A pushdown automaton over bytes. Whatever it takes can be completed. */
export class Machine {
  readonly start: State;
  #cells = new Map<string, Cell>();
  #states = new Map<string, State>();
  #lastId = 0;

  /** Heights are settled, and the root has a finite one. */
  constructor(root: Node) {
    const out: Reached = { cells: new Map(), accepting: false, entered: new Set() };
    this.#enter(out, root, undefined);
    this.start = this.#state(out);
  }

  /** The state after this byte; undefined where it cannot follow. */
  step(state: State, byte: number): State | undefined {
    const known = state.next[byte];
    if (known !== undefined) return known ?? undefined;
    const out: Reached = { cells: new Map(), accepting: false, entered: new Set() };
    for (const cell of state.cells) this.#advance(out, cell, byte);
    const next = out.cells.size === 0 && !out.accepting ? null : this.#state(out);
    state.next[byte] = next;
    return next ?? undefined;
  }

  #state({ cells, accepting }: Reached): State {
    const kept = [...cells.values()].slice(0, MAX_CELLS);
    const key = `${kept.map(({ id }) => id).join()}${accepting ? '.' : ''}`;
    const known = this.#states.get(key);
    if (known) return known;
    if (this.#states.size >= MAX_KEPT) this.#states = new Map();
    const state = { cells: kept, accepting, next: new Array<State | null | undefined>(256) };
    this.#states.set(key, state);
    return state;
  }

  #cell(
    node: Cell['node'],
    parent: Cell | undefined,
    phase: number,
    { count = 0, name = 0, character = 0 }: Partial<Pick<Cell, 'count' | 'name' | 'character'>> = {},
  ): Cell {
    const key = `${parent?.id ?? 0}:${node.id}:${phase}:${count}:${name}:${character}`;
    const known = this.#cells.get(key);
    if (known) return known;
    if (this.#cells.size >= MAX_KEPT) this.#cells = new Map();
    const depth = (parent?.depth ?? 0) + (node.kind === 'object' || node.kind === 'array' ? 1 : 0);
    const cell = { id: ++this.#lastId, node, parent, phase, count, name, character, depth };
    this.#cells.set(key, cell);
    return cell;
  }

  #enter(out: Reached, node: Node, parent: Cell | undefined): void {
    if (!fits(node, parent)) return;
    switch (node.kind) {
      case 'leaf': {
        this.#settle(out, node, parent, 0);
        return;
      }
      case 'text': {
        add(out, this.#cell(node, parent, UNOPENED));
        return;
      }
      case 'object':
      case 'array': {
        add(out, this.#cell(node, parent, OPEN));
        return;
      }
      case 'sequence': {
        this.#continue(out, node, 0, parent);
        return;
      }
      case 'choice': {
        const key = `${node.id}:${parent?.id ?? 0}`;
        if (out.entered.has(key)) return;
        out.entered.add(key);
        for (const one of node.of) this.#enter(out, one, parent);
      }
    }
  }

  /** The last of a sequence leaves nothing of it on the stack. */
  #continue(out: Reached, node: Sequence, index: number, parent: Cell | undefined): void {
    const part = node.of[index];
    if (!part) {
      this.#leave(out, parent);
      return;
    }
    const rest = index + 1 < node.of.length ? this.#cell(node, parent, index + 1) : parent;
    this.#enter(out, part, rest);
  }

  #settle(out: Reached, node: Leaf, parent: Cell | undefined, state: number): void {
    if (node.dfa.accepting[state]) this.#leave(out, parent);
    if (node.dfa.edges[state]?.length) add(out, this.#cell(node, parent, state));
  }

  #leave(out: Reached, parent: Cell | undefined): void {
    if (!parent) out.accepting = true;
    else if (parent.node.kind === 'sequence') this.#continue(out, parent.node, parent.phase, parent.parent);
    else add(out, parent);
  }

  #advance(out: Reached, cell: Cell, byte: number): void {
    const { node } = cell;
    switch (node.kind) {
      case 'leaf': {
        const state = follow(node.dfa, cell.phase, byte);
        if (state !== undefined) this.#settle(out, node, cell.parent, state);
        return;
      }
      case 'text': {
        this.#advanceText(out, cell, node, byte);
        return;
      }
      case 'array': {
        this.#advanceArray(out, cell, node, byte);
        return;
      }
      case 'object': {
        this.#advanceObject(out, cell, node, byte);
        return;
      }
      case 'sequence':
        throw new Error('a sequence takes no bytes');
    }
  }

  #advanceText(out: Reached, cell: Cell, node: Text, byte: number): void {
    const { parent, phase, count } = cell;
    if (phase === UNOPENED) {
      if (byte === QUOTE) add(out, this.#cell(node, parent, 0));
      return;
    }
    if (phase === 0 && byte === QUOTE) {
      if (count >= node.least) this.#leave(out, parent);
      return;
    }
    if (phase === 0 && count >= node.most) return;
    const state = follow(CHARACTER, phase, byte);
    if (state === undefined) return;
    // Without a limit, characters beyond those needed make no difference.
    const begun = phase === 0 ? count + 1 : count;
    const counted = node.most === Infinity ? Math.min(begun, node.least) : begun;
    add(out, this.#cell(node, parent, CHARACTER.accepting[state] ? 0 : state, { count: counted }));
  }

  #advanceArray(out: Reached, cell: Cell, node: ArrayNode, byte: number): void {
    const { parent, phase, count } = cell;
    const closes = byte === 0x5d && phase !== OPEN && phase !== SPACE && count >= node.least;
    if (closes) this.#leave(out, parent);
    else if (phase === OPEN && byte === 0x5b) {
      if (node.least === 0) add(out, this.#cell(node, parent, FIRST));
      this.#item(out, cell, node);
    } else if (phase === AFTER && byte === COMMA_BYTE) {
      const item = itemOf(node, count);
      if (!item || !fits(item, cell)) return;
      add(out, this.#cell(node, parent, SPACE, { count }));
      this.#item(out, cell, node);
    } else if (phase === SPACE && byte === BLANK) this.#item(out, cell, node);
  }

  #item(out: Reached, { parent, count }: Cell, node: ArrayNode): void {
    const item = itemOf(node, count);
    if (!item) return;
    const most = node.most === Infinity ? Math.max(node.least, node.first.length) : Infinity;
    this.#enter(out, item, this.#cell(node, parent, AFTER, { count: Math.min(count + 1, most) }));
  }

  #advanceObject(out: Reached, cell: Cell, node: ObjectNode, byte: number): void {
    const { parent, phase, count, name } = cell;
    if (phase === NAME) {
      this.#advanceName(out, cell, node, byte);
      return;
    }
    if (phase === AFTER || phase === FIRST) {
      this.#advanceBetween(out, cell, node, byte);
      return;
    }
    const follows = OBJECT_BYTES[phase]?.get(byte);
    if (follows === undefined) return;
    if (follows !== VALUE) add(out, this.#cell(node, parent, follows, { count, name }));
    if (phase === COLON || phase === SPACE) this.#value(out, cell, node);
  }

  /** Before the first property, or after one. */
  #advanceBetween(out: Reached, cell: Cell, node: ObjectNode, byte: number): void {
    const { parent, phase, count } = cell;
    if (byte === CLOSE_OBJECT && !isPending(cell, node)) {
      this.#leave(out, parent);
      return;
    }
    const [opens, next] = phase === FIRST ? [QUOTE, NAME] : [COMMA_BYTE, COMMA];
    if (byte === opens && mayAdd(cell, node)) add(out, this.#cell(node, parent, next, { count }));
  }

  #value(out: Reached, { parent, count, name }: Cell, node: ObjectNode): void {
    const value = name < 0 ? node.others : node.properties[name]?.value;
    if (value) this.#enter(out, value, this.#cell(node, parent, AFTER, { count }));
  }

  #advanceName(out: Reached, cell: Cell, node: ObjectNode, byte: number): void {
    const { parent, count, name, character } = cell;
    if (character === 0 && byte === QUOTE) {
      const property = node.names.ends[name];
      if (property === undefined) {
        // Others come after all that are declared.
        const ended = { count: node.properties.length, name: -1 };
        if (mayAddOthers(cell, node)) add(out, this.#cell(node, parent, COLON, ended));
      } else if (isCandidate(cell, node, property)) {
        add(out, this.#cell(node, parent, COLON, { count: property + 1, name: property }));
      }
      return;
    }
    const state = follow(CANONICAL_CHARACTER, character, byte);
    if (state === undefined) return;
    const next = node.names.children[name]?.get(byte) ?? -1;
    const leads = node.names.below[next]?.some((property) => isCandidate(cell, node, property)) ?? false;
    if (!leads && !mayAddOthers(cell, node)) return;
    const within = CANONICAL_CHARACTER.accepting[state] ? 0 : state;
    add(out, this.#cell(node, parent, NAME, { count, name: next, character: within }));
  }
}

function add({ cells }: Reached, cell: Cell): void {
  cells.set(cell.id, cell);
}

/** Whether a text of this node can be completed within the depth that is left. */
function fits({ height }: Node, parent: Cell | undefined): boolean {
  return (parent?.depth ?? 0) + height <= MAX_DEPTH;
}

function itemOf(node: ArrayNode, index: number): Node | undefined {
  return index < node.most ? (node.first[index] ?? node.rest) : undefined;
}

/** A required property is still to come. */
function isPending({ count }: Cell, node: ObjectNode): boolean {
  return node.nextRequired[count] !== node.properties.length;
}

function mayAddOthers(cell: Cell, node: ObjectNode): boolean {
  return !isPending(cell, node) && node.others !== undefined && fits(node.others, cell);
}

/** A declared property may come that is not before the last one, nor after a required one that is still to come. */
function isCandidate(cell: Cell, node: ObjectNode, property: number): boolean {
  const last = node.nextRequired[cell.count] ?? 0;
  const value = node.properties[property]?.value;
  return property >= cell.count && property <= last && value !== undefined && fits(value, cell);
}

function mayAdd(cell: Cell, node: ObjectNode): boolean {
  const candidates = node.names.below[0] ?? [];
  return mayAddOthers(cell, node) || candidates.some((property) => isCandidate(cell, node, property));
}
