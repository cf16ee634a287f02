import { decodeDc, encodeDc, type Dc } from '../../attestation/cbor/deterministic.ts';

/** One place of a nested structure of deterministic CBOR, and a way to write something else there. */
export interface Alterable {
  /** Member names and positions, such as `cited/statement/6`. */
  readonly path: string;
  readonly value: number | string | boolean | Uint8Array;
  /** The whole structure with another value here, encoded again canonically on every level. */
  replace(value: Dc): Uint8Array;
}

const SIGN1_TAG = 0xd2;

/** Every leaf of an encoded structure, looking into byte strings that hold deterministic CBOR or a COSE_Sign1. */
export function alterables(encoded: Uint8Array): readonly Alterable[] {
  return leaves(decodeDc(encoded), '', encodeDc);
}

function leaves(value: Dc, path: string, rebuild: (value: Dc) => Uint8Array): readonly Alterable[] {
  if (value instanceof Uint8Array) return inBytes(value, path, rebuild);
  if (value instanceof Map) {
    const map = value as ReadonlyMap<number | string, Dc>;
    return [...map].flatMap(([key, item]) =>
      leaves(item, join(path, key), (changed) => rebuild(new Map(map).set(key, changed))),
    );
  }
  if (Array.isArray(value)) {
    const array = value as readonly Dc[];
    return array.flatMap((item, i) =>
      leaves(item, join(path, i), (changed) => rebuild(array.with(i, changed))),
    );
  }
  return [{ path, value: value as number | string | boolean, replace: rebuild }];
}

function inBytes(bytes: Uint8Array, path: string, rebuild: (value: Dc) => Uint8Array): readonly Alterable[] {
  const tagged = bytes[0] === SIGN1_TAG;
  const inner = nested(tagged ? bytes.subarray(1) : bytes);
  if (inner === undefined) return [{ path, value: bytes, replace: rebuild }];
  return leaves(inner, path, (changed) => {
    const encoded = encodeDc(changed);
    return rebuild(tagged ? Buffer.concat([Uint8Array.of(SIGN1_TAG), encoded]) : encoded);
  });
}

function nested(bytes: Uint8Array): Dc | undefined {
  const major = (bytes[0] ?? 0) >> 5;
  if (bytes.length < 8 || (major !== 4 && major !== 5)) return undefined;
  try {
    return decodeDc(bytes);
  } catch {
    return undefined;
  }
}

function join(path: string, key: number | string): string {
  return path === '' ? String(key) : `${path}/${key}`;
}

/** Another value of the same type: `bit` chooses what changes. */
export function altered(value: Alterable['value'], bit: number): Dc {
  if (typeof value === 'boolean') return !value;
  if (typeof value === 'number') return value + 1;
  if (typeof value === 'string') {
    const at = bit % Math.max(1, value.length);
    return `${value.slice(0, at)}${value[at] === 'x' ? 'y' : 'x'}${value.slice(at + 1)}`;
  }
  if (value.length === 0) return Uint8Array.of(1);
  const copy = Uint8Array.from(value);
  const at = Math.floor(bit / 8) % copy.length;
  copy[at] = (copy[at] ?? 0) ^ (1 << (bit % 8));
  return copy;
}
