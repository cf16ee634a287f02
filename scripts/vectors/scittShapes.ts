import { decode } from 'cborg';
import { HEADER } from '../../attestation/cose/sign1.ts';
import { PLACE } from '../../attestation/log/logReceipt.ts';
import { Disagreement, expectEqual } from './family.ts';

export interface ExpectedPlace {
  readonly issuer: string;
  readonly size: number;
  readonly index: number;
}

/** RFC 9943 and RFC 9942 as a decoder sees them that has nothing to do with ours: a statement with one receipt. */
export function expectShapes(encoded: Uint8Array, { issuer, size, index }: ExpectedPlace): void {
  const statement = decodeSign1(encoded);
  const claims = statement.protectedHeader.get(HEADER.cwtClaims);
  if (!(claims instanceof Map)) throw new Disagreement('the statement has no CWT claims');
  expectEqual(claims.get(1), issuer, 'the issuer');
  const [carried] = statement.unprotectedHeader.get(HEADER.receipts) as readonly Uint8Array[];
  const { protectedHeader, unprotectedHeader, payload } = decodeSign1(carried ?? new Uint8Array(0));
  expectEqual(
    [...protectedHeader.keys()].join(),
    `1,4,15,395,${Object.values(PLACE).slice(0, 3).join()}`,
    'labels',
  );
  expectEqual(protectedHeader.get(PLACE.index), index, 'the index');
  expectEqual(protectedHeader.get(PLACE.size), size, 'the size');
  const proofs = unprotectedHeader.get(HEADER.vdp) as ReadonlyMap<number, readonly Uint8Array[]>;
  expectEqual([...proofs.keys()].join(), '-1', 'the kind of proof');
  const [proofSize, proofIndex, path] = decode(
    proofs.get(-1)?.[0] ?? new Uint8Array(0),
  ) as readonly unknown[];
  expectEqual(`${String(proofSize)} ${String(proofIndex)}`, `${size} ${index}`, 'the proof');
  expectEqual((path as readonly Uint8Array[]).length, 1, 'the length of the path');
  expectEqual(payload, null, 'the payload');
}

interface DecodedSign1 {
  readonly protectedHeader: ReadonlyMap<number, unknown>;
  readonly unprotectedHeader: ReadonlyMap<number, unknown>;
  readonly payload: unknown;
}

function decodeSign1(bytes: Uint8Array): DecodedSign1 {
  const tags = { 18: (read: () => unknown) => read() };
  const [header, unprotectedHeader, payload] = decode(bytes, { useMaps: true, tags }) as readonly unknown[];
  return {
    protectedHeader: decode(header as Uint8Array, { useMaps: true }) as ReadonlyMap<number, unknown>,
    unprotectedHeader: unprotectedHeader as ReadonlyMap<number, unknown>,
    payload,
  };
}
