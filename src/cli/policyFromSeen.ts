import { toHex } from '../../attestation/bytes/bytes.ts';
import type { Reference } from '../../attestation/policy/shapes.ts';
import { CliError, EXIT } from './exit.ts';

/** One thing of one document. */
export interface Seen<T> {
  /** Of the document, as references name it. */
  readonly name: string;
  readonly value: T;
}

/** What is pinned beside what was launched. */
export interface Narrowing {
  /** Chips, platforms, keys and devices as well: evidence of another machine is refused. */
  readonly thisMachineOnly: boolean;
}

/** What is read of each. */
export function each<S, T>(read: (value: S) => T): (seen: Seen<S>) => Seen<T> {
  return ({ name, value }) => ({ name, value: read(value) });
}

/** Each value once, under the name of the first document that has it. */
export function references<T>(seen: readonly Seen<T>[], read: (value: T) => Uint8Array): Reference[] {
  const found = new Map<string, string>();
  for (const { name, value } of seen) {
    const text = toHex(read(value));
    if (!found.has(text)) found.set(text, name);
  }
  return [...found].map(([value, name]) => ({ name, value }));
}

/** What each document has, each once. */
export function distinct<S, T>(seen: readonly Seen<S>[], read: (value: S) => T): T[] {
  return [...new Set(seen.map(({ value }) => read(value)))];
}

/** Evidence that can be read, and that no policy may accept. */
export function unfit(message: string): CliError {
  return new CliError(EXIT.refused, message, 'No policy can accept such evidence.');
}

/** A machine that `--this-machine-only` cannot tell from others. */
export function notNamed(message: string, advice: string): CliError {
  return new CliError(EXIT.refused, `--this-machine-only: ${message}`, advice);
}
