import { CANONICAL_CHARACTER, CHARACTER } from './characters.ts';
import { follow } from './dfa.ts';
import {
  type ArrayNode,
  type Leaf,
  type Node,
  type ObjectNode,
  type Sequence,
  type Text,
} from './grammar.ts';
import {
  add,
  reached,
  type Reached,
  type Cell,
  fits,
  isCandidate,
  isPending,
  itemOf,
  leads,
  mayAddOthers,
  nearestCount,
  type State,
} from './stack.ts';
import { UNOPENED } from './text.ts';

/**
 * Stacks of one state: two for each of as many tools as there may be. Of more alternatives that begin alike the first
 * ones are followed.
 */
const MAX_CELLS = 256;
/** States, and stacks, after which a machine is to be dropped. */
const MAX_STATES = 1024;
const MAX_STACKS = 16_384;
/** What it costs to find the stack after a byte, to enter a node, and to keep a new state, in steps. */
const STACK_WORK = 32;
const STATE_WORK = 1024;

const OPEN = 0;
const FIRST = 1;
const NAME = 2;
const COLON = 3;
const SPACE = 4;
const AFTER = 5;
const COMMA = 6;
const NEXT = 7;

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

/** Takes what a step costs, and refuses where that is too much. */
export interface Meter {
  spend(steps: number): void;
}

/**
 * A pushdown automaton over bytes. Whatever it takes can be completed. States know what follows them, so that one holds
 * all: a machine that is full is dropped as a whole, and what goes on is adopted by a new one.
 */
export class Machine {
  readonly start: State;
  readonly #cells = new Map<string, Cell>();
  readonly #states = new Map<string, State>();
  readonly #nearest = new Map<Cell, Cell>();
  #lastId = 0;

  /** Heights are settled, and the root has a finite one. */
  constructor(root: Node) {
    const out = reached();
    this.#enter(out, root, undefined);
    this.start = this.#state([...out.cells.values()], out.accepting);
  }

  get states(): number {
    return this.#states.size;
  }

  /** A text of counted characters or items has a state for each, and there is no end of them. */
  get isFull(): boolean {
    return this.#states.size > MAX_STATES || this.#cells.size > MAX_STACKS;
  }

  /** The state after this byte; undefined where it cannot follow. */
  step(state: State, byte: number, meter: Meter): State | undefined {
    const known = state.next[byte];
    if (known !== undefined) return known ?? undefined;
    const out = reached();
    for (const cell of state.cells) this.#advance(out, cell, byte);
    const next = this.#settled(out, meter);
    state.next[byte] = next ?? null;
    return next;
  }

  /** The state after the quote that ends a text; undefined where nothing can follow. */
  closed({ parent }: Cell, meter: Meter): State | undefined {
    const out = reached();
    this.#leave(out, parent);
    return this.#settled(out, meter);
  }

  /** One stack by itself. */
  alone(cell: Cell): State {
    return this.#state([cell], false);
  }

  /** The same state, of another machine of the same grammar. */
  adopt({ cells, accepting }: State): State {
    const copied = new Map<Cell, Cell>();
    const own = cells.map((cell) => this.#rebuilt(cell, copied, ({ count }) => count));
    return this.#state(own, accepting);
  }

  /** One for all stacks that differ in counts that so many bytes cannot use up. */
  canonical(cell: Cell, reach: number): Cell {
    return this.#rebuilt(cell, this.#nearest, (one) => nearestCount(one, reach));
  }

  #rebuilt(cell: Cell, known: Map<Cell, Cell>, countOf: (cell: Cell) => number): Cell {
    const found = known.get(cell);
    if (found) return found;
    const { node, phase, name, character } = cell;
    const parent = cell.parent && this.#rebuilt(cell.parent, known, countOf);
    const rebuilt = this.#cell(node, parent, phase, { count: countOf(cell), name, character });
    known.set(cell, rebuilt);
    return rebuilt;
  }

  #settled({ cells, accepting, seen }: Reached, meter: Meter): State | undefined {
    const before = this.#states.size;
    const nothing = cells.size === 0 && !accepting;
    const state = nothing ? undefined : this.#state([...cells.values()].slice(0, MAX_CELLS), accepting);
    meter.spend(STACK_WORK * (1 + seen + cells.size) + STATE_WORK * (this.#states.size - before));
    return state;
  }

  #state(cells: readonly Cell[], accepting: boolean): State {
    const key = `${cells.map(({ id }) => id).join()}${accepting ? '.' : ''}`;
    const known = this.#states.get(key);
    if (known) return known;
    const state = { cells, accepting, next: new Array<State | null | undefined>(256) };
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
    const depth = (parent?.depth ?? 0) + (node.kind === 'object' || node.kind === 'array' ? 1 : 0);
    const cell = { id: ++this.#lastId, node, parent, phase, count, name, character, depth };
    this.#cells.set(key, cell);
    return cell;
  }

  #enter(out: Reached, node: Node, parent: Cell | undefined): void {
    out.seen++;
    if (out.cells.size >= MAX_CELLS || !fits(node, parent)) return;
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
    out.seen++;
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
    if (byte === opens && (mayAddOthers(cell, node) || leads(out, cell, node, 0)))
      add(out, this.#cell(node, parent, next, { count }));
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
    if (!mayAddOthers(cell, node) && !leads(out, cell, node, next)) return;
    const within = CANONICAL_CHARACTER.accepting[state] ? 0 : state;
    add(out, this.#cell(node, parent, NAME, { count, name: next, character: within }));
  }
}
