import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { build } from 'esbuild';
import { chromium, type Browser, type Page } from 'playwright-core';
import { appraiseBundle } from '../../attestation/appraise.ts';
import { DEFAULT_POLICY, SIMULATED_POLICY } from '../../attestation/policy/defaults.ts';
import type { Verdict } from '../../attestation/verdict/verdict.ts';
import { altered } from '../support/alterations.ts';
import { contextOf, issueBundle, makeWorld, NOW } from '../support/world.ts';

// The portable door in a real browser gives the verdicts of Node.

const CHROMIUM = '/usr/bin/chromium';
const DOOR = fileURLToPath(new URL('../../attestation/index.ts', import.meta.url));

interface Door {
  readonly appraiseBundle: (
    bundle: Uint8Array,
    exchange: object,
    context: object,
  ) => Promise<{ verdict: Verdict }>;
  readonly [name: string]: unknown;
}

const policies = { SIMULATED_POLICY, DEFAULT_POLICY };

(existsSync(CHROMIUM) ? describe : describe.skip)(
  'in Chromium (skipped: no chromium where it is not installed)',
  () => {
    let browser: Browser;
    let page: Page;
    let bundle: Uint8Array;

    beforeAll(async () => {
      const options = { bundle: true, format: 'iife', platform: 'browser', write: false } as const;
      const built = await build({ entryPoints: [DOOR], globalName: 'vouchsafe', ...options });
      browser = await chromium.launch({
        executablePath: CHROMIUM,
        args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--no-first-run'],
      });
      page = await browser.newPage();
      // WebCrypto needs a secure context; nothing is fetched from it.
      await page.route('https://page.example/', (route) => route.fulfill({ body: '<!doctype html>' }));
      await page.goto('https://page.example/');
      await page.addScriptTag({ content: built.outputFiles[0]!.text });
      bundle = (await issueBundle(await makeWorld())).bundle;
    }, 60_000);

    afterAll(async () => {
      await browser.close();
    });

    function judgeInPage(bytes: Uint8Array, policy: keyof typeof policies): Promise<Verdict> {
      return page.evaluate(
        async ([encoded, name, now]) => {
          const door = (globalThis as unknown as { readonly vouchsafe: Door }).vouchsafe;
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
  },
);
