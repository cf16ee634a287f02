import { beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { appraiseBundle } from '../../../attestation/appraise.ts';
import { encodeBundle, parseBundle, type Bundle } from '../../../attestation/bundle/bundle.ts';
import { decodeDc, encodeDc, type Dc } from '../../../attestation/cbor/deterministic.ts';
import { alterables, altered } from '../../support/alterations.ts';
import { refusalOf } from '../../support/refusal.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../support/runs.ts';
import { timestampAuthority } from '../../support/timestampAuthority.ts';
import { mintWitness, witnessBundle } from '../../support/witnessedBundle.ts';
import { contextOf, failures, issueBundle, makeWorld, NOW, policyOf } from '../../support/world.ts';

const authority = timestampAuthority();
const witness = mintWitness('one.example');
const policy = policyOf({
  coverage: 'required',
  witnesses: { quorum: 1, keys: [witness.text] },
  timestamps: { authorities: [{ name: 'minted', value: authority.anchor.spkiSha256 }], required: true },
});
let bundle: Uint8Array;
let parsed: Bundle;

beforeAll(async () => {
  const world = await makeWorld();
  const issued = await issueBundle(world);
  bundle = await witnessBundle(world, issued.bundle, {
    authorities: [[authority, NOW]],
    witnesses: [[witness, NOW]],
  });
  parsed = parseBundle(bundle);
});

async function judge(encoded: Uint8Array) {
  return (await appraiseBundle(encoded, {}, contextOf({ policy }))).verdict;
}

/** The bundle with another value in place of its member `witnessed`. */
function withMember(change: (items: readonly Dc[]) => Dc): Uint8Array {
  const map = decodeDc(bundle) as ReadonlyMap<string, Dc>;
  return encodeDc(new Map(map).set('witnessed', change(map.get('witnessed') as readonly Dc[])));
}

describe('the member witnessed', () => {
  test('comes back as it was written', () => {
    expect(parseBundle(encodeBundle(parsed))).toEqual(parsed);
    expect(parsed.witnessed?.tokens).toHaveLength(1);
  });

  test('is refused without a covering document, and is misuse to write', () => {
    const map = new Map(decodeDc(bundle) as ReadonlyMap<string, Dc>);
    map.delete('covering');
    expect(refusalOf(() => parseBundle(encodeDc(map)))?.code).toBe('MALFORMED');
    expect(() => encodeBundle({ ...parsed, covering: undefined })).toThrow(TypeError);
  });

  test.each<[string, (items: readonly Dc[]) => Dc]>([
    ['a fifth item', (items) => [...items, 1]],
    ['a missing item', (items) => items.slice(1)],
    [
      'seventeen tokens',
      (items) =>
        items.with(
          1,
          Array.from({ length: 17 }, () => new Uint8Array(1)),
        ),
    ],
    ['a token above 64 KiB', (items) => items.with(1, [new Uint8Array(64 * 1024 + 1)])],
    ['a short hash', (items) => items.with(2, [new Uint8Array(31)])],
    ['a negative index', (items) => items.with(3, (items[3] as readonly Dc[]).with(1, -1))],
    [
      'an endless path',
      (items) =>
        items.with(
          3,
          (items[3] as readonly Dc[]).with(
            2,
            Array.from({ length: 200 }, () => new Uint8Array(32)),
          ),
        ),
    ],
  ])('is refused with %s', (_, change) => {
    expect(refusalOf(() => parseBundle(withMember(change)))?.code).toBe('MALFORMED');
  });

  test('the bundle is valid as it is', async () => {
    expect(failures(await judge(bundle))).toEqual([]);
  });

  test(
    'no change of it gives another time and passes',
    async () => {
      const { upper } = await judge(bundle);
      const places = alterables(bundle).filter(({ path }) => path.startsWith('witnessed/'));
      await fc.assert(
        fc.asyncProperty(fc.nat({ max: places.length - 1 }), fc.nat({ max: 1_000_000 }), async (at, bit) => {
          const place = places[at]!;
          const verdict = await judge(place.replace(altered(place.value, bit)));
          if (verdict.decision === 'accepted') expect(verdict.upper).toBe(upper);
        }),
        propertyRuns(30),
      );
    },
    PROPERTY_TIMEOUT,
  );
});
