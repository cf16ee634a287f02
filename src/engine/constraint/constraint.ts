import { EngineError } from '../engine.ts';
import { GrammarBuilder, type Node } from './grammar.ts';
import type { Machine } from './machine.ts';
import { Masks, RunWork } from './masks.ts';
import { SchemaCompiler } from './schema.ts';
import { named } from './schemaLeaves.ts';
import type { State } from './stack.ts';
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

/** Requesters whose automata are kept for one vocabulary, and specifications that are kept for each. */
const MAX_SCOPES = 16;
const MAX_KEPT = 4;

/**
 * Compiles what is asked for, for one generation. Throws `EngineError` INVALID_INPUT where it cannot be enforced. Only
 * requests of the same scope share an automaton and masks: time would tell others that a schema was used before.
 */
export function compileConstraint(
  spec: ConstraintSpec,
  vocabulary: Vocabulary,
  endTokens: ReadonlySet<number>,
  scope = '',
): TokenConstraint {
  const scopes = KEPT.get(vocabulary) ?? new Map<string, Map<string, Masks>>();
  KEPT.set(vocabulary, scopes);
  const kept = scopes.get(scope) ?? new Map<string, Masks>();
  const key = JSON.stringify(spec);
  const masks = kept.get(key) ?? new Masks(compileGrammar(spec), vocabulary);
  keepLatest(kept, key, masks, MAX_KEPT);
  keepLatest(scopes, scope, kept, MAX_SCOPES);
  return new ActiveConstraint(masks, endTokens);
}

/** Of each scope, by what was asked for. */
const KEPT = new WeakMap<Vocabulary, Map<string, Map<string, Masks>>>();

/** Makes this the latest of a map, and drops the oldest one where there are too many. */
function keepLatest<T>(map: Map<string, T>, key: string, value: T, most: number): void {
  map.delete(key);
  map.set(key, value);
  const [oldest] = map.keys();
  if (map.size > most && oldest !== undefined) map.delete(oldest);
}

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

class ActiveConstraint implements TokenConstraint {
  readonly #masks: Masks;
  readonly #endTokens: ReadonlySet<number>;
  readonly #work = new RunWork();
  /** The one that the state is of. */
  #machine: Machine;
  #state: State;

  constructor(masks: Masks, endTokens: ReadonlySet<number>) {
    this.#masks = masks;
    this.#endTokens = endTokens;
    this.#machine = masks.machine;
    this.#state = this.#machine.start;
  }

  get complete(): boolean {
    return this.#state.accepting && this.#state.cells.length === 0;
  }

  mask(logits: Float32Array): void {
    this.#begin();
    const mask = this.#masks.of(this.#state, this.#work);
    const ends = this.#endLogits(logits);
    let allowed = ends.length;
    for (let id = 0; id < logits.length; id++) {
      if (((mask[id >>> 5] ?? 0) >>> (id & 31)) & 1) allowed++;
      else logits[id] = -Infinity;
    }
    for (const id of this.#endTokens) {
      if (id >= logits.length) continue;
      // One that has bytes is not to be written as text.
      if (((mask[id >>> 5] ?? 0) >>> (id & 31)) & 1) allowed--;
      logits[id] = -Infinity;
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
    // An end token ends the text even if it has bytes, so it has no other use.
    if (this.#endTokens.has(id)) {
      if (this.#state.accepting) return;
      throw new Error('the constraint does not allow this token');
    }
    const bytes = this.#masks.vocabulary.bytes.get(id);
    if (!bytes) throw new Error('the constraint does not allow this token');
    this.#begin();
    let state: State | undefined = this.#state;
    for (const byte of bytes) {
      state = this.#machine.step(state, byte, this.#work);
      if (!state) throw new Error('the constraint does not allow this token');
    }
    this.#state = state;
  }

  /** Another generation may have filled the machine. */
  #begin(): void {
    this.#work.beginToken();
    const { machine } = this.#masks;
    if (machine === this.#machine) return;
    this.#machine = machine;
    this.#state = machine.adopt(this.#state);
  }

  /** Where the text may not end there is none that may be chosen. */
  #endLogits(logits: Float32Array): readonly (readonly [number, number])[] {
    if (!this.#state.accepting) return [];
    return [...this.#endTokens]
      .filter((id) => id < logits.length)
      .map((id) => [id, logits[id] ?? 0] as const);
  }
}
