import { encodeCollateral, parseCollateral } from './collateral.ts';
import { equalBytes, utf8 } from '../bytes/bytes.ts';
import { decodeDc, encodeDc, type Dc } from '../cbor/deterministic.ts';
import { asClosedMap, asLabel } from '../cbor/shape.ts';
import type { Collateral } from '../collateral.ts';

const LABEL = 'vouchsafe/collateral/1';
const MAX_BYTES = 32 * 1024 * 1024;

/** A map of two, `format` first: no bundle and no evidence document starts so. */
const START = Uint8Array.of(0xa2, 0x66, ...utf8('format'), 0x60 + LABEL.length, ...utf8(LABEL));

/**
 * `dc({"format": "vouchsafe/collateral/1", "collateral": …})`, the latter as bundles hold it. The same statements give
 * the same bytes, whenever they were fetched: nothing in the file is ours to claim.
 */
export function encodeCollateralFile(collateral: Collateral): Uint8Array {
  return encodeDc(
    new Map<string, Dc>([
      ['format', LABEL],
      ['collateral', encodeCollateral(collateral)],
    ]),
  );
}

export function looksLikeCollateralFile(bytes: Uint8Array): boolean {
  return equalBytes(bytes.subarray(0, START.length), START);
}

export function parseCollateralFile(encoded: Uint8Array): Collateral {
  const decoded = decodeDc(encoded, { maxDepth: 8, maxBytes: MAX_BYTES });
  const map = asClosedMap(decoded, 'collateral file', ['format', 'collateral']);
  asLabel(map.get('format'), 'collateral format', LABEL);
  return parseCollateral(map.get('collateral'));
}
