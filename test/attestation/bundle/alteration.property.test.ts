import { beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { appraiseBundle } from '../../../attestation/appraise.ts';
import type { CheckId } from '../../../attestation/checks.ts';
import { alterables, altered } from '../../support/alterations.ts';
import { rebundle } from '../../support/forgery.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../support/runs.ts';
import { contextOf, failures, issueBundle, makeWorld, policyOf } from '../../support/world.ts';

// Any change of a valid bundle is refused, with the code of a check that the changed part belongs to.

const DOCUMENT: readonly CheckId[] = ['document.format', 'document.keyset', 'document.simulated'];
const CPU: readonly CheckId[] = [
  'cpu.platform',
  'cpu.format',
  'cpu.chain',
  'cpu.endorsement',
  'cpu.signature',
  'cpu.binding',
];
const DEVICE: readonly CheckId[] = ['device.format', 'device.chain', 'device.signature', 'device.nonce'];
const RECEIPT: readonly CheckId[] = [
  'receipt.format',
  'receipt.evidence',
  'receipt.keyset',
  'receipt.signature',
];
const REFERENCE: readonly CheckId[] = ['device.driver-reference', 'device.vbios-reference'];

/** Checks that a change below a path may break; the first match counts. */
const BROKEN_BY: readonly (readonly [RegExp, readonly CheckId[]])[] = [
  [/^format/, ['bundle.format']],
  [/^receipt/, [...RECEIPT, 'bundle.format']],
  [/^(cited|covering\/0)\/cpu/, [...CPU, ...DOCUMENT]],
  [/^(cited|covering\/0)\/devices/, [...DEVICE, 'cpu.binding', ...DOCUMENT]],
  [/^(cited|covering\/0)\/statement/, ['cpu.binding', 'device.nonce', ...DOCUMENT]],
  [/^(cited|covering\/0)\//, DOCUMENT],
  [/^covering\/1/, ['log.checkpoint']],
  [/^covering\/2/, ['log.inclusion', 'bundle.format']],
  [/^covering\/3/, ['log.consistency', 'bundle.format']],
  [/^collateral\/rims/, REFERENCE],
  [/^collateral\/crls/, ['cpu.revocation']],
];

let bundle: Uint8Array;
const policy = policyOf({ coverage: 'required' });

beforeAll(async () => {
  bundle = (await issueBundle(await makeWorld())).bundle;
});

async function judge(encoded: Uint8Array) {
  return (await appraiseBundle(encoded, {}, contextOf({ policy }))).verdict;
}

test('the bundle is valid as it is', async () => {
  expect(failures(await judge(bundle))).toEqual([]);
});

test(
  'a change of any field is refused by a check of its part',
  async () => {
    for (const [i, field] of alterables(bundle).entries()) {
      const verdict = await judge(field.replace(altered(field.value, 7 * i)));
      const broken = verdict.checks.filter(({ result }) => result === 'fail').map(({ id }) => id);
      const expected = BROKEN_BY.find(([path]) => path.test(field.path))?.[1] ?? [];
      const accepted = verdict.decision === 'accepted';
      const named = broken.some((id) => expected.includes(id));
      expect({ path: field.path, accepted, named }).toEqual({
        path: field.path,
        accepted: false,
        named: true,
      });
    }
  },
  PROPERTY_TIMEOUT,
);

test(
  'a flip of any bit is refused and throws nothing but a verdict',
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: bundle.length * 8 - 1 }), async (bit) => {
        const flipped = altered(bundle, bit) as Uint8Array;
        expect((await judge(flipped)).decision).not.toBe('accepted');
      }),
      propertyRuns(30),
    );
  },
  PROPERTY_TIMEOUT,
);

test(
  'truncation anywhere is refused',
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat({ max: bundle.length - 1 }), async (length) => {
        expect(failures(await judge(bundle.subarray(0, length)))).toEqual([
          'bundle: bundle.format MALFORMED',
        ]);
      }),
      propertyRuns(20),
    );
  },
  PROPERTY_TIMEOUT,
);

describe('exempt by name', () => {
  test.each(['policy', 'verdict'] as const)('the bundle’s own %s', async (member) => {
    const dressed = rebundle(bundle, () => ({ [member]: '{"any":"text"}' }));
    expect(await judge(dressed)).toEqual(await judge(bundle));
  });

  test('surplus collateral', async () => {
    const surplus = rebundle(bundle, ({ collateral }) => ({
      collateral: { ...collateral, rims: new Map([...collateral.rims, ['NV_UNUSED', new Uint8Array(3)]]) },
    }));
    expect((await judge(surplus)).decision).toBe('accepted');
  });
});
