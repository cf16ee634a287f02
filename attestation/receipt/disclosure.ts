import { MAX_BUNDLE_BYTES } from '../bundle/bundle.ts';
import { decodeDc, encodeDc, type Dc } from '../cbor/deterministic.ts';
import {
  asArray,
  asBytes,
  asClosedMap,
  asCount,
  asFixedBytes,
  asLabel,
  asText,
  asTuple,
} from '../cbor/shape.ts';
import { Refusal } from '../errors.ts';
import { MAX_RANGE_PATH } from '../log/rangeProof.ts';
import { PARAMETER_ITEMS, type CommittedParameter } from './commitment.ts';

const LABEL = 'vouchsafe/disclosure/1';
const MEMBERS = ['format', 'receipt', 'bundle', 'items', 'chunks'] as const;
const MAX_DISCLOSURE_BYTES = 2 * MAX_BUNDLE_BYTES;
/** Chunks of one range: one encoding holds at most 65,536 items. */
export const MAX_OPENED_CHUNKS = 60_000;
/** HMAC-SHA-256. */
export const ITEM_KEY_BYTES = 32;

/** Fields of one item each, in the order of the file. */
const FIELDS = ['request', 'response', 'parameter', 'tenant'] as const;
export type DisclosedField = (typeof FIELDS)[number];

/** One item with the key that opens it and nothing else. */
export interface OpenedItem {
  readonly field: DisclosedField;
  /** 0, or the number of a parameter. */
  readonly item: number;
  /** `k_i`, 32 bytes. */
  readonly key: Uint8Array;
  readonly bytes: Uint8Array;
}

/** Adjacent chunks of a stream from `start` on, and what ties them to the signed root. */
export interface OpenedChunks {
  readonly start: number;
  /** `k_i` of each chunk, 32 bytes each. */
  readonly keys: readonly Uint8Array[];
  readonly chunks: readonly Uint8Array[];
  /** Range proof against the signed chunk root; see `log/rangeProof.ts`. */
  readonly path: readonly Uint8Array[];
}

export interface Openings {
  readonly items: readonly OpenedItem[];
  readonly chunks: OpenedChunks | undefined;
}

/**
 * What someone shows a third party of one receipt: the receipt, or the bundle that it lies in, and items that it
 * commits to, each with its own key. `k` is not in it, so that nothing else opens.
 */
export interface Disclosure extends Openings {
  readonly source: { readonly kind: 'receipt' | 'bundle'; readonly bytes: Uint8Array };
}

export function encodeDisclosure({ source, items, chunks }: Disclosure): Uint8Array {
  const map = new Map<string, Dc>([
    ['format', LABEL],
    [source.kind, source.bytes],
  ]);
  if (items.length > 0) {
    const ordered = items.toSorted((a, b) => placeOf(a) - placeOf(b));
    map.set(
      'items',
      ordered.map(({ field, item, key, bytes }) => [field, item, key, bytes]),
    );
  }
  if (chunks) {
    const keys = new Uint8Array(ITEM_KEY_BYTES * chunks.keys.length);
    for (const [i, key] of chunks.keys.entries()) keys.set(key, ITEM_KEY_BYTES * i);
    map.set('chunks', [chunks.start, keys, chunks.chunks, chunks.path]);
  }
  return encodeDc(map);
}

/** Order of items in the file: one encoding for each set of them. */
function placeOf({ field, item }: OpenedItem): number {
  return FIELDS.indexOf(field) * Object.keys(PARAMETER_ITEMS).length + item;
}

/** Parses a disclosure: closed and canonical; it opens something, and no item twice. Nothing is compared yet. */
export function parseDisclosure(encoded: Uint8Array): Disclosure {
  const decoded = decodeDc(encoded, { maxDepth: 6, maxBytes: MAX_DISCLOSURE_BYTES });
  const map = asClosedMap(decoded, 'disclosure', MEMBERS);
  asLabel(map.get('format'), 'disclosure format', LABEL);
  if (map.has('receipt') === map.has('bundle')) {
    throw new Refusal('MALFORMED', 'a disclosure holds either a receipt or a bundle');
  }
  if (!map.has('items') && !map.has('chunks')) throw new Refusal('MALFORMED', 'the disclosure opens nothing');
  const kind = map.has('receipt') ? 'receipt' : 'bundle';
  return {
    source: { kind, bytes: asBytes(map.get(kind), `disclosed ${kind}`) },
    items: map.has('items') ? parseItems(map.get('items')) : [],
    chunks: map.has('chunks') ? parseChunks(map.get('chunks')) : undefined,
  };
}

function parseItems(value: Dc | undefined): readonly OpenedItem[] {
  const items = asArray(value, 'opened items').map(parseItem);
  if (items.length === 0) throw new Refusal('MALFORMED', 'opened items are empty, not absent');
  const places = items.map(placeOf);
  if (places.some((place, i) => i > 0 && place <= (places[i - 1] ?? 0))) {
    throw new Refusal('MALFORMED', 'opened items are not in order, or one is there twice');
  }
  return items;
}

function parseItem(value: Dc): OpenedItem {
  const [name, item, key, bytes] = asTuple(value, 'opened item', 4);
  const named = asText(name, 'opened field');
  const field = FIELDS.find((known) => known === named);
  if (field === undefined) throw new Refusal('MALFORMED', 'an opened field is not known');
  const number = asCount(item, 'opened item number');
  if (field === 'parameter' ? parameterOf(number) === undefined : number !== 0) {
    throw new Refusal('UNSUPPORTED', `the ${field} number ${number} is not known`);
  }
  return {
    field,
    item: number,
    key: asFixedBytes(key, `key of the ${field}`, ITEM_KEY_BYTES),
    bytes: asBytes(bytes, `opened ${field}`),
  };
}

/** Name of a parameter by its item number; undefined for one that is not known. */
export function parameterOf(item: number): CommittedParameter | undefined {
  const names = Object.keys(PARAMETER_ITEMS) as CommittedParameter[];
  return names.find((name) => PARAMETER_ITEMS[name] === item);
}

function parseChunks(value: Dc | undefined): OpenedChunks {
  const [start, keyBytes, list, path] = asTuple(value, 'opened chunks', 4);
  const chunks = asArray(list, 'opened chunks').map((chunk) => asBytes(chunk, 'opened chunk'));
  if (chunks.length === 0 || chunks.length > MAX_OPENED_CHUNKS) {
    throw new Refusal('MALFORMED', `${chunks.length} chunks are opened, not 1 to ${MAX_OPENED_CHUNKS}`);
  }
  const joined = asFixedBytes(keyBytes, 'keys of the chunks', ITEM_KEY_BYTES * chunks.length);
  const hashes = asArray(path, 'range proof');
  if (hashes.length > MAX_RANGE_PATH) {
    throw new Refusal('MALFORMED', `the range proof has more than ${MAX_RANGE_PATH} hashes`);
  }
  return {
    start: asCount(start, 'first opened chunk'),
    keys: chunks.map((_, i) => joined.subarray(ITEM_KEY_BYTES * i, ITEM_KEY_BYTES * (i + 1))),
    chunks,
    path: hashes.map((hash) => asFixedBytes(hash, 'range proof', 32)),
  };
}
