import { fromUtf8, utf8 } from '../bytes/bytes.ts';
import { decodeDc, encodeDc, type Dc } from '../cbor/deterministic.ts';
import { asArray, asBytes, asClosedMap, asFixedBytes, asLabel, asTuple } from '../cbor/shape.ts';
import type { Collateral } from '../collateral.ts';
import { Refusal } from '../errors.ts';
import { encodeCollateral, parseCollateral } from './collateral.ts';

const LABEL = 'vouchsafe/bundle/1';
const MEMBERS = ['format', 'receipt', 'cited', 'covering', 'collateral', 'policy', 'verdict'] as const;
/** Largest bundle, in bytes: two documents with eight GPUs each, RIMs and proofs stay below. */
export const MAX_BUNDLE_BYTES = 32 * 1024 * 1024;
/** RFC 9162 paths of a tree of 2^53 leaves. */
const MAX_PATH = 2 * 53;

/** What shows that a later hardware report covers the receipt (DESIGN section 6). */
export interface Covering {
  readonly document: Uint8Array;
  /** Signed checkpoint at the document's log size. */
  readonly checkpoint: Uint8Array;
  /** Path of the receipt in the tree of the document. */
  readonly inclusion: readonly Uint8Array[];
  /** Path from the tree of the cited document to that of this one. */
  readonly consistency: readonly Uint8Array[];
}

/** One file with everything that a verifier needs, offline. */
export interface Bundle {
  readonly receipt: Uint8Array;
  /** The evidence document that the receipt cites. */
  readonly cited: Uint8Array;
  /** Undefined while no later document covers the receipt. */
  readonly covering: Covering | undefined;
  readonly collateral: Collateral;
  /** The issuer's own policy and verdict, JSON: shown, never used. */
  readonly policy: string | undefined;
  readonly verdict: string | undefined;
}

export function encodeBundle(bundle: Bundle): Uint8Array {
  const map = new Map<string, Dc>([
    ['format', LABEL],
    ['receipt', bundle.receipt],
    ['cited', bundle.cited],
    ['collateral', encodeCollateral(bundle.collateral)],
  ]);
  const { covering } = bundle;
  if (covering) {
    map.set('covering', [covering.document, covering.checkpoint, covering.inclusion, covering.consistency]);
  }
  if (bundle.policy !== undefined) map.set('policy', utf8(bundle.policy));
  if (bundle.verdict !== undefined) map.set('verdict', utf8(bundle.verdict));
  return encodeDc(map);
}

/** Parses a bundle: closed and canonical. Its parts stay bytes. */
export function parseBundle(encoded: Uint8Array): Bundle {
  const decoded = decodeDc(encoded, { maxDepth: 8, maxBytes: MAX_BUNDLE_BYTES });
  const map = asClosedMap(decoded, 'bundle', MEMBERS);
  asLabel(map.get('format'), 'bundle format', LABEL);
  return {
    receipt: asBytes(map.get('receipt'), 'bundle receipt'),
    cited: asBytes(map.get('cited'), 'cited document'),
    covering: map.has('covering') ? parseCovering(map.get('covering')) : undefined,
    collateral: parseCollateral(map.get('collateral')),
    policy: map.has('policy') ? fromUtf8(asBytes(map.get('policy'), 'bundle policy')) : undefined,
    verdict: map.has('verdict') ? fromUtf8(asBytes(map.get('verdict'), 'bundle verdict')) : undefined,
  };
}

function parseCovering(value: Dc | undefined): Covering {
  const [document, checkpoint, inclusion, consistency] = asTuple(value, 'covering', 4);
  return {
    document: asBytes(document, 'covering document'),
    checkpoint: asBytes(checkpoint, 'checkpoint'),
    inclusion: asPath(inclusion, 'inclusion path'),
    consistency: asPath(consistency, 'consistency path'),
  };
}

export function asPath(value: Dc | undefined, what: string): readonly Uint8Array[] {
  const path = asArray(value, what);
  if (path.length > MAX_PATH) throw new Refusal('MALFORMED', `${what} has more than ${MAX_PATH} hashes`);
  return path.map((hash) => asFixedBytes(hash, what, 32));
}
