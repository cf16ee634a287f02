import { EngineError } from '../engine.ts';
import { GrammarBuilder, type Node } from './grammar.ts';
import { Machine, type State } from './machine.ts';
import { SchemaCompiler } from './schema.ts';
import { named } from './schemaLeaves.ts';
import type { ConstraintSpec, ToolSpec } from './spec.ts';
import { callNode, toolCallsNode } from './toolCalls.ts';
import type { Vocabulary } from './vocabulary.ts';

/** What one generation may say, token by token. */
export interface TokenConstraint {
  /** Sets to -Infinity every logit that the constraint forbids, in place. */
  mask(logits: Float32Array): void;
  /** Takes the token that was chosen. */
  accept(id: number): void;
  /** True once nothing but an end token may follow. */
  readonly complete: boolean;
}

/** Masks that are kept of one specification: one bit for each token. */
const MAX_MASKS = 256;
/** Specifications whose automata are kept for one vocabulary. */
const MAX_KEPT = 16;

/** Compiles what is asked for, for one generation. Throws `EngineError` INVALID_INPUT where it cannot be enforced. */
export function compileConstraint(
  spec: ConstraintSpec,
  vocabulary: Vocabulary,
  endTokens: ReadonlySet<number>,
): TokenConstraint {
  const kept = KEPT.get(vocabulary) ?? new Map<string, Masks>();
  KEPT.set(vocabulary, kept);
  const key = JSON.stringify(spec);
  const masks = kept.get(key) ?? new Masks(new Machine(compileGrammar(spec)), vocabulary);
  kept.delete(key);
  kept.set(key, masks);
  for (const oldest of [...kept.keys()].slice(0, -MAX_KEPT)) kept.delete(oldest);
  return new ActiveConstraint(masks, endTokens);
}

/** Several answers to one request, and requests that repeat a schema, share automaton and masks. */
const KEPT = new WeakMap<Vocabulary, Map<string, Masks>>();

/** The grammar of what is asked for. Throws `SchemaError`. */
export function compileGrammar(spec: ConstraintSpec, grammar = new GrammarBuilder()): Node {
  switch (spec.kind) {
    case 'json-schema':
      return new SchemaCompiler(grammar, spec.schema, spec.strict ?? false).compile();
    case 'json-object':
      return new SchemaCompiler(grammar, { type: 'object' }, false).compile();
    case 'tool-calls':
      return named('', 'tools', () => {
        const node = toolCallsNode(grammar, spec);
        grammar.settleHeights();
        return node;
      });
  }
}

/** What the tags of calls may cost besides the calls, in steps. */
const TAG_WORK = 20_000;

/**
 * Checks the schemas of one request. They share what one specification may cost, and what passes does not cost more
 * where it is compiled to be used. Throws `SchemaError` where a schema cannot be enforced.
 */
export class SchemaCheck {
  readonly #grammar = new GrammarBuilder();

  constructor() {
    this.#grammar.work.spend(TAG_WORK);
  }

  requireSchema(schema: unknown, strict: boolean): void {
    compileGrammar({ kind: 'json-schema', schema, strict }, this.#grammar);
  }

  requireTool(tool: ToolSpec): void {
    named('', 'tools', () => callNode(this.#grammar, tool));
  }
}

/** The tokens that may follow each state, one bit for each. */
class Masks {
  readonly machine: Machine;
  readonly vocabulary: Vocabulary;
  readonly #kept = new Map<string, Uint32Array>();

  constructor(machine: Machine, vocabulary: Vocabulary) {
    this.machine = machine;
    this.vocabulary = vocabulary;
  }

  of(state: State): Uint32Array {
    const key = this.#key(state);
    const mask = this.#kept.get(key) ?? this.#walk(state);
    this.#kept.delete(key);
    this.#kept.set(key, mask);
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > MAX_MASKS && oldest !== undefined) this.#kept.delete(oldest);
    return mask;
  }

  /** Counts that no single token can use up make no difference. */
  #key({ cells, accepting }: State): string {
    const parts = cells.map(({ id, node, parent, phase, count }) => {
      if (node.kind !== 'text' || phase < 0) return String(id);
      const needed = Math.min(Math.max(node.least - count, 0), this.vocabulary.longest);
      const left = Math.min(node.most - count, this.vocabulary.longest);
      return `${parent?.id ?? 0}t${node.id}:${phase}:${needed}:${left}`;
    });
    return parts.join() + (accepting ? '.' : '');
  }

  #walk(state: State): Uint32Array {
    const { trie, size, longest } = this.vocabulary;
    const { byte, depth, skip, first, tokens } = trie;
    const mask = new Uint32Array(Math.ceil(size / 32));
    const states = new Array<State>(longest + 1).fill(state);
    for (let node = 0; node < byte.length;) {
      const level = depth[node] ?? 0;
      const next = this.machine.step(states[level - 1] ?? state, byte[node] ?? 0);
      if (!next) {
        node = skip[node] ?? byte.length;
        continue;
      }
      states[level] = next;
      for (let i = first[node] ?? 0; i < (first[node + 1] ?? 0); i++) {
        const id = tokens[i] ?? 0;
        mask[id >>> 5] = (mask[id >>> 5] ?? 0) | (1 << (id & 31));
      }
      node++;
    }
    return mask;
  }
}

class ActiveConstraint implements TokenConstraint {
  readonly #masks: Masks;
  readonly #endTokens: ReadonlySet<number>;
  #state: State;

  constructor(masks: Masks, endTokens: ReadonlySet<number>) {
    this.#masks = masks;
    this.#endTokens = endTokens;
    this.#state = masks.machine.start;
  }

  get complete(): boolean {
    return this.#state.accepting && this.#state.cells.length === 0;
  }

  mask(logits: Float32Array): void {
    const mask = this.#masks.of(this.#state);
    const ends = this.#state.accepting ? this.#endLogits(logits) : [];
    let allowed = ends.length;
    for (let id = 0; id < logits.length; id++) {
      if (((mask[id >>> 5] ?? 0) >>> (id & 31)) & 1) allowed++;
      else logits[id] = -Infinity;
    }
    for (const [id, value] of ends) logits[id] = value;
    if (allowed === 0 && !this.complete) {
      throw new EngineError(
        'INVALID_INPUT',
        'the tokens of the model cannot write what the constraint asks for',
      );
    }
  }

  accept(id: number): void {
    if (this.#endTokens.has(id) && this.#state.accepting) return;
    const bytes = this.#masks.vocabulary.bytes.get(id);
    if (!bytes) throw new Error('the constraint does not allow this token');
    let state: State | undefined = this.#state;
    for (const byte of bytes) {
      state = this.#masks.machine.step(state, byte);
      if (!state) throw new Error('the constraint does not allow this token');
    }
    this.#state = state;
  }

  #endLogits(logits: Float32Array): readonly (readonly [number, number])[] {
    return [...this.#endTokens]
      .filter((id) => id < logits.length)
      .map((id) => [id, logits[id] ?? 0] as const);
  }
}
