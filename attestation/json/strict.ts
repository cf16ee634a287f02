import { Refusal } from '../errors.ts';

/** Nesting that a document of ours or of a client needs at most; tensors have sixteen dimensions. */
const MAX_DEPTH = 32;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COLON = 0x3a;
const OPEN = { object: 0x7b, array: 0x5b } as const;
const CLOSE = { object: 0x7d, array: 0x5d } as const;

/** What is wrong with a JSON text. No message holds text of the document. */
export class JsonError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'JsonError';
  }
}

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * JSON as RFC 8259 with what I-JSON (RFC 7493) adds: UTF-8, no name twice in an object, no lone surrogates. Two
 * parsers that take different ones of two equal names would read two requests out of one that was signed.
 * `__proto__` is no name here, and nesting is bounded.
 */
export function parseStrictJson(bytes: Uint8Array): unknown {
  let text: string;
  try {
    text = decoder.decode(bytes);
  } catch {
    throw new JsonError('is not UTF-8');
  }
  return parseStrictJsonText(text);
}

/** The same for evidence and for what vendors say of it: refused as `MALFORMED`, where `what` names the text. */
export function parseJson(bytes: Uint8Array, what: string): unknown {
  try {
    return parseStrictJson(bytes);
  } catch (error) {
    if (error instanceof JsonError) throw new Refusal('MALFORMED', `${what} ${error.message}`);
    throw error;
  }
}

export function parseStrictJsonText(text: string): unknown {
  let value: unknown;
  try {
    // Keeps no stack per nesting level: a deep document costs memory in proportion to its bytes only.
    value = JSON.parse(text);
  } catch {
    throw new JsonError('is not JSON');
  }
  scanNames(text);
  return value;
}

/** Walks a text that is known to be JSON. Between strings, only brackets and colons matter. */
function scanNames(text: string): void {
  // One entry for each open bracket: the names of an object, undefined for an array.
  const open: (Set<string> | undefined)[] = [];
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === QUOTE) {
      const end = endOfString(text, i);
      readString(text, i, end, open.at(-1));
      i = end;
    } else if (code === OPEN.object || code === OPEN.array) {
      if (open.length === MAX_DEPTH) throw new JsonError(`is nested deeper than ${MAX_DEPTH} levels`);
      open.push(code === OPEN.object ? new Set() : undefined);
    } else if (code === CLOSE.object || code === CLOSE.array) {
      open.pop();
    }
  }
}

/** Position of the closing quote. */
function endOfString(text: string, start: number): number {
  let end = text.indexOf('"', start + 1);
  for (; isEscaped(text, end); end = text.indexOf('"', end + 1));
  return end;
}

function isEscaped(text: string, position: number): boolean {
  let backslashes = 0;
  while (text.charCodeAt(position - 1 - backslashes) === BACKSLASH) backslashes++;
  return backslashes % 2 === 1;
}

const LONE_SURROGATE = /\p{Surrogate}/u;

function readString(text: string, start: number, end: number, names: Set<string> | undefined): void {
  const raw = text.slice(start + 1, end);
  const escaped = raw.includes('\\');
  const value = escaped ? (JSON.parse(`"${raw}"`) as string) : raw;
  if (escaped && LONE_SURROGATE.test(value)) throw new JsonError('holds half a surrogate pair');
  if (names === undefined || !followedByColon(text, end + 1)) return;
  if (value === '__proto__') throw new JsonError('holds the name __proto__');
  if (names.has(value)) throw new JsonError('holds a name twice in one object');
  names.add(value);
}

function followedByColon(text: string, position: number): boolean {
  let next = position;
  while (text.charCodeAt(next) <= 0x20) next++;
  return text.charCodeAt(next) === COLON;
}
