import { beforeAll, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { appraiseDisclosure } from '../../../attestation/appraiseDisclosure.ts';
import { equalBytes } from '../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { encodeDisclosure, parseDisclosure } from '../../../attestation/receipt/disclosure.ts';
import { openItems } from '../../../attestation/receipt/openItems.ts';
import { alterables, altered, type Alterable } from '../../support/alterations.ts';
import { issueKept, makeChunks, type KeptExchange } from '../../support/keptExchange.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../support/runs.ts';
import { contextOf, makeWorld } from '../../support/world.ts';

let exchange: KeptExchange;
let encoded: Uint8Array;
let places: readonly Alterable[];

beforeAll(async () => {
  exchange = await issueKept(await makeWorld(), { chunks: makeChunks(21) });
  const selection = {
    request: true,
    parameters: ['stop', 'tools'],
    tenant: true,
    chunks: { start: 4, end: 17 },
  } as const;
  const openings = openItems(exchange.claims, exchange.kept, selection, nodeCrypto);
  encoded = encodeDisclosure({ source: { kind: 'bundle', bytes: exchange.bundle }, ...openings });
  places = alterables(encoded).filter(({ path }) => /^(items|chunks|format)/.test(path));
});

test(
  'an alteration of whatever is opened is refused',
  async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(), fc.nat(), async (place, bit) => {
        const found = places[place % places.length]!;
        const { verdict } = await appraiseDisclosure(
          found.replace(altered(found.value, bit)),
          {},
          contextOf(),
        );
        expect(verdict.decision).toBe('refused');
      }),
      propertyRuns(30),
    );
  },
  PROPERTY_TIMEOUT,
);

test(
  'every range of every stream opens, and only its own chunks are shown',
  async () => {
    const { claims, kept } = exchange;
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 0, max: 20 }),
        fc.integer({ min: 1, max: 21 }),
        async (start, length) => {
          const end = Math.min(21, start + length);
          const openings = openItems(claims, kept, { chunks: { start, end } }, nodeCrypto);
          const source = { kind: 'bundle', bytes: exchange.bundle } as const;
          const { verdict, shown } = await appraiseDisclosure(
            encodeDisclosure({ source, ...openings }),
            {},
            contextOf(),
          );
          expect(verdict.decision).toBe('accepted');
          expect(shown).toEqual([
            { kind: 'chunks', start, chunks: makeChunks(21).slice(start, end), count: 21 },
          ]);
        },
      ),
      propertyRuns(12),
    );
  },
  PROPERTY_TIMEOUT,
);

test(
  'any bytes are refused with a code or re-encode to themselves',
  () => {
    const cut = fc.record({ at: fc.nat(), bit: fc.nat({ max: 7 }), end: fc.nat() });
    fc.assert(
      fc.property(fc.oneof(fc.uint8Array({ maxLength: 300 }), cut), (given) => {
        const bytes = given instanceof Uint8Array ? given : damaged(given);
        try {
          expect(equalBytes(encodeDisclosure(parseDisclosure(bytes)), bytes)).toBe(true);
        } catch (error) {
          if (!(error instanceof Refusal)) throw error;
          expect(['MALFORMED', 'NOT_CANONICAL', 'UNSUPPORTED']).toContain(error.code);
        }
      }),
      propertyRuns(100),
    );
  },
  PROPERTY_TIMEOUT,
);

function damaged({ at, bit, end }: { at: number; bit: number; end: number }): Uint8Array {
  const bytes = Uint8Array.from(encoded);
  const place = at % bytes.length;
  bytes[place] = bytes[place]! ^ (1 << bit);
  return end % 3 === 0 ? bytes.subarray(0, end % bytes.length) : bytes;
}
