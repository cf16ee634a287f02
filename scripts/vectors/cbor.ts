import { z } from 'zod';
import { equalBytes, toHex } from '../../attestation/bytes/bytes.ts';
import { decodeDc, encodeDc, type Dc } from '../../attestation/cbor/deterministic.ts';
import { decodeForeign } from '../../attestation/cbor/foreign.ts';
import { Disagreement, expectEqual, expectRefused, type Case, type Family } from './family.ts';
import { hexSchema, listsMembers } from './vectorFile.ts';

const schema = z.object({
  vectors: z.array(
    z.object({
      name: z.string().optional(),
      hex: hexSchema,
      roundtrip: z.boolean(),
      decoded: z.unknown().optional(),
      diagnostic: z.string().optional(),
    }),
  ),
});
type Vector = z.infer<typeof schema>['vectors'][number];

/** RFC 8949 appendix A: everything is read; what `dc` can carry goes round, everything else `dc` refuses. */
export const cborFamily: Family = {
  claims: ({ path, json }) =>
    listsMembers(json, 'hex', 'roundtrip') || path.endsWith('rfc8949-appendix-a.json'),
  cases: ({ json }) =>
    schema.parse(json).vectors.map((vector): Case => {
      const name = vector.name ?? toHex(vector.hex);
      if (/^simple\(/.test(vector.diagnostic ?? '')) {
        return { name, skip: 'an unassigned simple value, which no format here has and the decoder refuses' };
      }
      return { name, check: () => checkVector(vector) };
    }),
};

async function checkVector(vector: Vector): Promise<void> {
  const decoded = decodeForeign(vector.hex);
  if (Object.hasOwn(vector, 'decoded')) checkValue(decoded, vector.decoded);
  const value = valueOf(vector);
  const carried = value !== undefined && equalBytes(encodeDc(value), vector.hex);
  if (carried)
    expectEqual(toHex(encodeDc(decodeDc(vector.hex))), toHex(vector.hex), 'the encoding after decoding');
  else if (mustRoundTrip(vector, value))
    throw new Disagreement(`dc encodes the value as ${toHex(encodeDc(value))}`);
  else if (isOutsideDc(vector)) await expectRefused(() => decodeDc(vector.hex), 'an item outside dc');
}

/** Whole floats look like integers in JSON: only items that hold no float must be encoded as they came. */
function mustRoundTrip(vector: Vector, value: Dc | undefined): value is Dc {
  return vector.roundtrip && value !== undefined && !vector.hex.some((byte) => byte >= 0xf9 && byte <= 0xfb);
}

/** Maps with integer keys are written in diagnostic notation only; `dc` carries them, so they are not judged here. */
function isOutsideDc({ roundtrip, diagnostic }: Vector): boolean {
  return !roundtrip || diagnostic === undefined || !/^[[{]/.test(diagnostic);
}

function valueOf(vector: Vector): Dc | undefined {
  const bytes = /^h'([0-9a-f]*)'$/.exec(vector.diagnostic ?? '')?.[1];
  return bytes === undefined ? toDc(vector.decoded) : hexSchema.parse(bytes);
}

function toDc(value: unknown): Dc | undefined {
  if (typeof value === 'number')
    return Number.isSafeInteger(value) && !Object.is(value, -0) ? value : undefined;
  if (typeof value === 'string' || typeof value === 'boolean') return value;
  if (typeof value !== 'object' || value === null) return undefined;
  if (!Array.isArray(value)) {
    const members = Object.entries(value).map(([key, member]): [string, Dc | undefined] => [
      key,
      toDc(member),
    ]);
    return members.every(isCarried) ? new Map(members) : undefined;
  }
  const items = value.map(toDc);
  return items.every((item) => item !== undefined) ? items : undefined;
}

function isCarried(member: [string, Dc | undefined]): member is [string, Dc] {
  return member[1] !== undefined;
}

function checkValue(actual: unknown, expected: unknown): void {
  if (Array.isArray(expected)) {
    if (!Array.isArray(actual)) throw new Disagreement('the item is not an array');
    expectEqual(actual.length, expected.length, 'the length of the array');
    expected.forEach((item: unknown, i) => {
      checkValue(actual[i], item);
    });
  } else if (typeof expected === 'object' && expected !== null) {
    if (!(actual instanceof Map)) throw new Disagreement('the item is not a map');
    expectEqual(actual.size, Object.keys(expected).length, 'the size of the map');
    for (const [key, member] of Object.entries(expected)) checkValue(actual.get(key), member);
  } else if (typeof actual === 'bigint') expectEqual(actual, BigInt(expected as number | bigint), 'the item');
  else expectEqual(actual, expected, 'the item');
}
