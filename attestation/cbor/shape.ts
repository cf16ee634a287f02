import { Refusal } from '../errors.ts';
import type { Dc, DcMap } from './deterministic.ts';

/**
 * Reads decoded deterministic CBOR as a closed structure. Each refusal is `MALFORMED` and names the member, so
 * absent and unknown members are never passed over.
 */
export function asMap(value: Dc | undefined, what: string): DcMap {
  if (value instanceof Map) return value as DcMap;
  throw wrong(what, 'a map');
}

/** A map that holds no key outside `known`. */
export function asClosedMap(value: Dc | undefined, what: string, known: readonly (number | string)[]): DcMap {
  const map = asMap(value, what);
  for (const key of map.keys()) {
    if (!known.includes(key)) throw new Refusal('MALFORMED', `${what}: unknown member ${key}`);
  }
  return map;
}

export function asArray(value: Dc | undefined, what: string): readonly Dc[] {
  if (Array.isArray(value)) return value as readonly Dc[];
  throw wrong(what, 'an array');
}

/** An array of exactly `length` items. */
export function asTuple(value: Dc | undefined, what: string, length: number): readonly Dc[] {
  const array = asArray(value, what);
  if (array.length !== length) throw wrong(what, `an array of ${length}`);
  return array;
}

export function asText(value: Dc | undefined, what: string): string {
  if (typeof value === 'string') return value;
  throw wrong(what, 'text');
}

export function asBytes(value: Dc | undefined, what: string): Uint8Array {
  if (value instanceof Uint8Array) return value;
  throw wrong(what, 'a byte string');
}

/** A byte string of exactly `length` bytes. */
export function asFixedBytes(value: Dc | undefined, what: string, length: number): Uint8Array {
  const bytes = asBytes(value, what);
  if (bytes.length !== length) throw wrong(what, `${length} bytes`);
  return bytes;
}

/** A non-negative integer. */
export function asCount(value: Dc | undefined, what: string): number {
  if (typeof value === 'number' && value >= 0) return value;
  throw wrong(what, 'a non-negative integer');
}

export function asInteger(value: Dc | undefined, what: string): number {
  if (typeof value === 'number') return value;
  throw wrong(what, 'an integer');
}

export function asBoolean(value: Dc | undefined, what: string): boolean {
  if (typeof value === 'boolean') return value;
  throw wrong(what, 'a boolean');
}

/** The text must be exactly `expected`, as labels and versions are. */
export function asLabel(value: Dc | undefined, what: string, expected: string): void {
  if (value !== expected) throw wrong(what, `"${expected}"`);
}

function wrong(what: string, expected: string): Refusal {
  return new Refusal('MALFORMED', `${what} is not ${expected}`);
}
