import { fromUtf8, utf8 } from '../bytes/bytes.ts';
import { decodeDc, encodeDc, type Dc } from '../cbor/deterministic.ts';
import { asArray, asBytes, asClosedMap, asCount, asFixedBytes, asLabel, asTuple } from '../cbor/shape.ts';
import type { Collateral } from '../collateral.ts';
import { Refusal } from '../errors.ts';
import { anchorItems, readAnchorItems, type LogAnchor } from '../log/anchor.ts';
import { encodeCollateral, parseCollateral } from './collateral.ts';

const LABEL = 'vouchsafe/bundle/1';
const MEMBERS = [
  'format',
  'receipt',
  'cited',
  'covering',
  'witnessed',
  'collateral',
  'policy',
  'verdict',
] as const;
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

/** Where a tree holds the `epoch` record that names the covering document. */
export interface EpochEntry {
  /** The record as it stands in the log. */
  readonly entry: Uint8Array;
  readonly index: number;
  /** Inclusion path in the tree of the anchored checkpoint. */
  readonly path: readonly Uint8Array[];
}

/** What outsiders said of a tree that holds the receipt, and how that follows by hashes alone (DESIGN section 7). */
export interface Witnessed extends LogAnchor {
  /** Path from the tree of the covering document to that of the anchored checkpoint. */
  readonly consistency: readonly Uint8Array[];
  readonly epoch: EpochEntry;
}

/** One file with everything that a verifier needs, offline. */
export interface Bundle {
  readonly receipt: Uint8Array;
  /** The evidence document that the receipt cites. */
  readonly cited: Uint8Array;
  /** Undefined while no later document covers the receipt. */
  readonly covering: Covering | undefined;
  /** Undefined while no outsider has confirmed a tree over the covering document, and wherever that is missing. */
  readonly witnessed?: Witnessed | undefined;
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
  const { covering, witnessed } = bundle;
  if (covering) {
    map.set('covering', [covering.document, covering.checkpoint, covering.inclusion, covering.consistency]);
  }
  if (witnessed) {
    if (!covering) throw new TypeError('a bundle without a covering document has no witnessed tree');
    const { entry, index, path } = witnessed.epoch;
    map.set('witnessed', [...anchorItems(witnessed), witnessed.consistency, [entry, index, path]]);
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
  if (map.has('witnessed') && !map.has('covering')) {
    throw new Refusal('MALFORMED', 'bundle: a witnessed tree without a covering document');
  }
  return {
    receipt: asBytes(map.get('receipt'), 'bundle receipt'),
    cited: asBytes(map.get('cited'), 'cited document'),
    covering: map.has('covering') ? parseCovering(map.get('covering')) : undefined,
    witnessed: map.has('witnessed') ? parseWitnessed(map.get('witnessed')) : undefined,
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

function parseWitnessed(value: Dc | undefined): Witnessed {
  const [note, tokens, consistency, epoch] = asTuple(value, 'witnessed', 4);
  const [entry, index, path] = asTuple(epoch, 'epoch entry', 3);
  return {
    ...readAnchorItems(note, tokens),
    consistency: asPath(consistency, 'witnessed consistency path'),
    epoch: {
      entry: asBytes(entry, 'epoch entry'),
      index: asCount(index, 'epoch index'),
      path: asPath(path, 'epoch inclusion path'),
    },
  };
}

export function asPath(value: Dc | undefined, what: string): readonly Uint8Array[] {
  const path = asArray(value, what);
  if (path.length > MAX_PATH) throw new Refusal('MALFORMED', `${what} has more than ${MAX_PATH} hashes`);
  return path.map((hash) => asFixedBytes(hash, what, 32));
}
