import { beforeAll, describe, expect, test } from '@jest/globals';
import { appraiseBundle } from '../../attestation/appraise.ts';
import { DEFAULT_POLICY, SIMULATED_POLICY } from '../../attestation/policy/defaults.ts';
import type { Verdict } from '../../attestation/verdict/verdict.ts';
import { altered } from '../support/alterations.ts';
import { inChromium } from '../support/browserPage.ts';
import { contextOf, issueBundle, makeWorld, NOW } from '../support/world.ts';

// The portable door in a real browser gives the verdicts of Node.

interface Door {
  readonly appraiseBundle: (
    bundle: Uint8Array,
    exchange: object,
    context: object,
  ) => Promise<{ verdict: Verdict }>;
  readonly [name: string]: unknown;
}

const policies = { SIMULATED_POLICY, DEFAULT_POLICY };

describe('in Chromium', () => {
  inChromium(`export * from './attestation/index.ts';`, (page) => {
    let bundle: Uint8Array;
    beforeAll(async () => {
      bundle = (await issueBundle(await makeWorld())).bundle;
    }, 60_000);

    function judgeInPage(bytes: Uint8Array, policy: keyof typeof policies): Promise<Verdict> {
      return page().evaluate(
        async ([encoded, name, now]) => {
          const { door } = globalThis as unknown as { readonly door: Door };
          const { verdict } = await door.appraiseBundle(
            Uint8Array.from(encoded),
            {},
            {
              policy: door[name],
              anchors: door['DEFAULT_ANCHORS'],
              collateral: door['NO_COLLATERAL'],
              crypto: door['portableCrypto'],
              now,
            },
          );
          return verdict;
        },
        [[...bytes], policy, NOW] as const,
      );
    }

    test.each([
      ['a genuine bundle', 0, 'SIMULATED_POLICY', 'accepted'],
      ['under the default policy', 0, 'DEFAULT_POLICY', 'refused'],
      ['an altered bundle', 150_000, 'SIMULATED_POLICY', 'refused'],
    ] as const)(
      '%s has the verdict of Node',
      async (_name, bit, policy, decision) => {
        const bytes = bit > 0 ? (altered(bundle, bit) as Uint8Array) : bundle;
        const { verdict } = await appraiseBundle(bytes, {}, contextOf({ policy: policies[policy] }));
        expect(verdict.decision).toBe(decision);
        expect(await judgeInPage(bytes, policy)).toEqual(JSON.parse(JSON.stringify(verdict)));
      },
      60_000,
    );
  });
});
