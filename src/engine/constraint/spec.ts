import { EngineError } from '../engine.ts';

/** What the text of a generation has to be. */
export type ConstraintSpec =
  | {
      readonly kind: 'json-schema';
      readonly schema: unknown;
      /** OpenAI's strict mode: the root is an object, all properties are required, and no others are there. */
      readonly strict?: boolean;
    }
  /** Any JSON object. */
  | { readonly kind: 'json-object' }
  | ToolCallsSpec;

/** Calls of tools: {"name": ..., "arguments": {...}}. */
export interface ToolCallsSpec {
  readonly kind: 'tool-calls';
  /** Tools that may be called, at least one. */
  readonly tools: readonly ToolSpec[];
  /** `auto`: text, and calls between tags wherever the model opens one. `required`: a call and nothing else. */
  readonly mode: 'auto' | 'required';
  /** How a required call is written: within `<tool_call>` and `</tool_call>`, or by itself. */
  readonly tagged: boolean;
  /** More than one call may be made; only tagged calls can follow each other. */
  readonly parallel: boolean;
}

export interface ToolSpec {
  readonly name: string;
  /** JSON Schema of the arguments; undefined: any object. */
  readonly parameters: unknown;
  readonly strict?: boolean;
}

/** What a generation is asked besides its other options. */
export interface ConstraintOptions {
  /** The text is this and nothing else; where a limit ends it, it is the beginning of such a text. */
  readonly constraint?: ConstraintSpec | undefined;
}

/** A schema that cannot be enforced. Names the place and the keyword, never a value. */
export class SchemaError extends EngineError {
  /** JSON Pointer (RFC 6901) of the schema within the document; empty for the root. */
  readonly pointer: string;
  readonly keyword: string;
  readonly why: string;

  constructor(pointer: string, keyword: string, why: string) {
    super('INVALID_INPUT', `the schema at "${pointer}": ${keyword} ${why}`);
    this.name = 'SchemaError';
    this.pointer = pointer;
    this.keyword = keyword;
    this.why = why;
  }
}
