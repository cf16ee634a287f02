import { beforeAll, describe, expect, test } from '@jest/globals';
import { appraiseDisclosure, type DisclosureResult } from '../../attestation/appraiseDisclosure.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { encodeDisclosure } from '../../attestation/receipt/disclosure.ts';
import { openItems } from '../../attestation/receipt/openItems.ts';
import { inChromium } from '../support/browserPage.ts';
import { issueKept, makeChunks, type KeptExchange } from '../support/keptExchange.ts';
import { contextOf, makeWorld, NOW } from '../support/world.ts';

// A page makes and judges disclosures as Node does.

interface Door {
  readonly appraiseDisclosure: (...args: readonly unknown[]) => Promise<DisclosureResult>;
  readonly openItems: (...args: readonly unknown[]) => object;
  readonly encodeDisclosure: (disclosure: object) => Uint8Array;
  readonly parseReceipt: (receipt: Uint8Array) => { readonly claims: object };
  readonly [name: string]: unknown;
}

const RANGE = { start: 2, end: 7 };

describe('in Chromium', () => {
  inChromium(`export * from './attestation/index.ts';`, (page) => {
    let exchange: KeptExchange;
    beforeAll(async () => {
      exchange = await issueKept(await makeWorld(), { chunks: makeChunks(9) });
    }, 60_000);

    test('a disclosure is the same bytes and has the same verdict', async () => {
      const { bundle, issued, claims, kept } = exchange;
      const source = { kind: 'bundle', bytes: bundle } as const;
      const encoded = encodeDisclosure({
        source,
        ...openItems(claims, kept, { chunks: RANGE }, nodeCrypto),
      });
      const { verdict } = await appraiseDisclosure(encoded, {}, contextOf());
      expect(verdict.decision).toBe('accepted');
      const chunks = (kept.chunks ?? []).map((chunk) => [...chunk]);
      const made = await page().evaluate(
        async ([bundleBytes, receipt, k, content, range, now]) => {
          const { door } = globalThis as unknown as { readonly door: Door };
          const crypto = door['portableCrypto'];
          const opened = door.openItems(
            door.parseReceipt(Uint8Array.from(receipt)).claims,
            { k: Uint8Array.from(k), chunks: content.map((chunk) => Uint8Array.from(chunk)) },
            { chunks: range },
            crypto,
          );
          const bytes = door.encodeDisclosure({
            source: { kind: 'bundle', bytes: Uint8Array.from(bundleBytes) },
            ...opened,
          });
          const context = {
            policy: door['SIMULATED_POLICY'],
            anchors: door['DEFAULT_ANCHORS'],
            collateral: door['NO_COLLATERAL'],
            crypto,
            now,
          };
          const judged = await door.appraiseDisclosure(bytes, {}, context);
          return { bytes: [...bytes], verdict: judged.verdict, shown: judged.shown.length };
        },
        [[...bundle], [...issued.encoded], [...kept.k], chunks, RANGE, NOW] as const,
      );
      expect(Buffer.from(made.bytes).equals(encoded)).toBe(true);
      expect(made.verdict).toEqual(JSON.parse(JSON.stringify(verdict)));
      expect(made.shown).toBe(1);
    }, 60_000);
  });
});
