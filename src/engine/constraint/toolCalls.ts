import { type Dfa, toDfa } from './dfa.ts';
import { literal, optional } from './expression.ts';
import type { GrammarBuilder, Node } from './grammar.ts';
import { SchemaCompiler } from './schema.ts';
import { SchemaError, type ToolCallsSpec, type ToolSpec } from './spec.ts';
import { Work } from './work.ts';

export const CALL_OPENS = '<tool_call>';
export const CALL_CLOSES = '</tool_call>';
const MAX_TOOLS = 128;

/** `{"name": ..., "arguments": {...}}` for one of the tools, in the form that the mode asks for. */
export function toolCallsNode(grammar: GrammarBuilder, spec: ToolCallsSpec): Node {
  const { tools, mode, tagged, parallel } = spec;
  if (tools.length === 0 || tools.length > MAX_TOOLS) {
    throw new SchemaError('', 'tools', `are not from 1 to ${MAX_TOOLS}`);
  }
  const calls = tools.map((tool) => callNode(grammar, tool));
  const call = grammar.choice(...calls);
  if (mode === 'required' && !tagged) return call;
  const after = grammar.choice();
  const open = toDfa(literal(CALL_OPENS), grammar.work);
  const within = [
    grammar.leaf(LINE),
    call,
    grammar.leaf(LINE),
    grammar.leaf(toDfa(literal(CALL_CLOSES), grammar.work)),
  ];
  after.of.push(grammar.leaf(toDfa(literal(''), grammar.work)));
  if (parallel) after.of.push(grammar.sequence(grammar.leaf(LINE), grammar.leaf(open), ...within, after));
  const first = mode === 'auto' ? textBefore() : open;
  const marked = grammar.sequence(grammar.leaf(first), ...within, after);
  return mode === 'auto' ? grammar.choice(grammar.leaf(textWithout()), marked) : marked;
}

/** One line break, or none. */
const LINE = toDfa(optional(literal('\n')), new Work());

/** A call of one tool by itself. */
export function callNode(grammar: GrammarBuilder, { name, parameters, strict = false }: ToolSpec): Node {
  const schema = parameters ?? { type: 'object' };
  const value = new SchemaCompiler(grammar, schema, strict).compile();
  return grammar.object(
    [
      {
        name: 'name',
        required: true,
        value: grammar.leaf(toDfa(literal(JSON.stringify(name)), grammar.work)),
      },
      { name: 'arguments', required: true, value },
    ],
    undefined,
  );
}

/** Any bytes up to the first opening tag, with it. */
function textBefore(): Dfa {
  const { edges } = searcher();
  return { accepting: [...edges.keys()].map((state) => state === CALL_OPENS.length), edges };
}

/** Any bytes without the opening tag. */
function textWithout(): Dfa {
  const { edges } = searcher();
  const last = CALL_OPENS.length;
  return {
    accepting: [...edges.keys()].map((state) => state < last),
    edges: edges.slice(0, last).map((own) => own.filter(({ target }) => target !== last)),
  };
}

/** Finds the opening tag: a state is the number of its characters that the text ends with. */
function searcher(): Pick<Dfa, 'edges'> {
  const states = Array.from(CALL_OPENS, (_, state) => {
    const targets = Array.from({ length: 256 }, (_, byte) => {
      const text = CALL_OPENS.slice(0, state) + String.fromCharCode(byte);
      let length = state + 1;
      while (!text.endsWith(CALL_OPENS.slice(0, length))) length--;
      return length;
    });
    return targets.map((target, byte) => ({ low: byte, high: byte, target }));
  });
  return { edges: [...states, []] };
}
