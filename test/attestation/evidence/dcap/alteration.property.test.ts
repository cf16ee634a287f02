import { beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { NO_COLLATERAL } from '../../../../attestation/collateral.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { Refusal } from '../../../../attestation/errors.ts';
import type { Check } from '../../../../attestation/checks.ts';
import { parseQuote } from '../../../../attestation/evidence/dcap/quote.ts';
import { runQuoteSteps } from '../../../../attestation/evidence/dcap/steps.ts';
import type { QuoteVerifyOptions } from '../../../../attestation/evidence/dcap/verify.ts';
import { verifySgx } from '../../../../attestation/evidence/sgx/verify.ts';
import { verifyTdx } from '../../../../attestation/evidence/tdx/verify.ts';
import { issueQuote, mintDcapAuthority, NOW, type BodyKind } from '../../../support/dcapAuthority.ts';
import { refusalOf, refusalOfAsync } from '../../../support/refusal.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../../support/runs.ts';

interface Verified {
  readonly report: object;
  readonly pck: object;
  readonly checks: readonly Check[];
}

interface Sample {
  readonly quote: Uint8Array;
  readonly said: Verified;
  readonly verify: (quote: Uint8Array) => Promise<Verified>;
  /** The same without any collateral. */
  readonly verifyAlone: (quote: Uint8Array) => Promise<object>;
}

const KINDS: readonly (readonly [3 | 4 | 5, BodyKind])[] = [
  [3, 'sgx'],
  [4, 'td10'],
  [5, 'td15'],
];
const samples: Sample[] = [];

beforeAll(async () => {
  const authority = await mintDcapAuthority();
  const machine = await authority.mintMachine();
  for (const [version, kind] of KINDS) {
    const collateral = await authority.issueCollateral(kind === 'sgx' ? 'sgx' : 'tdx');
    const options: QuoteVerifyOptions = {
      crypto: nodeCrypto,
      now: NOW,
      anchors: [authority.anchor],
      collateral,
    };
    const room = kind === 'sgx' ? verifySgx : verifyTdx;
    const quote = await issueQuote(machine, { version, kind });
    samples.push({
      quote,
      said: await room(quote, options),
      verify: (altered) => room(altered, options),
      verifyAlone: (altered) => room(altered, { ...options, collateral: NO_COLLATERAL }),
    });
  }
});

const sample = fc.nat(KINDS.length - 1);
const mask = fc.integer({ min: 1, max: 255 });

/** Bits of an ECDSA signature, of PEM and of the NUL after it may be written otherwise; what is signed may not. */
async function sameOrRefused(which: number, altered: Uint8Array): Promise<void> {
  const { said, verify } = samples[which]!;
  try {
    const { report, pck } = await verify(altered);
    expect({ report, pck }).toEqual({ report: said.report, pck: said.pck });
  } catch (error) {
    expect(error).toBeInstanceOf(Refusal);
    expect((error as Refusal).check).toBeDefined();
  }
}

describe('a quote', () => {
  test(
    'with any byte changed is refused or says the same',
    async () => {
      await fc.assert(
        fc.asyncProperty(sample, fc.nat(), mask, async (which, position, change) => {
          const altered = samples[which]!.quote.slice();
          const offset = position % altered.length;
          altered[offset] = altered[offset]! ^ change;
          await sameOrRefused(which, altered);
        }),
        propertyRuns(300),
      );
    },
    PROPERTY_TIMEOUT,
  );

  test(
    'with any signed byte changed is refused, with collateral and without',
    async () => {
      await fc.assert(
        fc.asyncProperty(sample, fc.nat(), mask, async (which, position, change) => {
          const { quote, verify, verifyAlone } = samples[which]!;
          const altered = quote.slice();
          const offset = position % parseQuote(quote).signedBytes.length;
          altered[offset] = altered[offset]! ^ change;
          const refusal = await refusalOfAsync(() => verify(altered));
          expect(['MALFORMED', 'UNSUPPORTED', 'SIGNATURE_INVALID']).toContain(refusal?.code);
          expect((await refusalOfAsync(() => verifyAlone(altered)))?.code).toBe(refusal?.code);
        }),
        propertyRuns(100),
      );
    },
    PROPERTY_TIMEOUT,
  );

  test(
    'with a slice cut out, doubled or overwritten is refused or says the same',
    async () => {
      const slice = fc.tuple(fc.nat(), fc.integer({ min: 1, max: 700 }));
      const filling = fc.oneof(
        fc.constantFrom('cut' as const, 'double' as const),
        fc.uint8Array({ maxLength: 64 }),
      );
      await fc.assert(
        fc.asyncProperty(sample, slice, filling, async (which, [position, length], change) => {
          const { quote } = samples[which]!;
          const start = position % quote.length;
          const rest = quote.subarray(start + length);
          const middle = quote.subarray(start, start + length);
          const parts = { cut: [], double: [middle, middle] };
          const inner = typeof change === 'string' ? parts[change] : [change];
          const altered = Buffer.concat([quote.subarray(0, start), ...inner, rest]);
          await sameOrRefused(which, new Uint8Array(altered));
        }),
        propertyRuns(200),
      );
    },
    PROPERTY_TIMEOUT,
  );

  test(
    'of random bytes after a genuine head is refused with a code, in every step',
    async () => {
      await fc.assert(
        fc.asyncProperty(
          sample,
          fc.nat(700),
          fc.uint8Array({ maxLength: 2000 }),
          async (which, head, tail) => {
            const { quote, verify } = samples[which]!;
            const bytes = new Uint8Array(Buffer.concat([quote.subarray(0, head), tail]));
            const { value, checks } = await runQuoteSteps('cpu', () => verify(bytes));
            expect(value).toBeUndefined();
            expect(checks.filter(({ result }) => result === 'fail')).toHaveLength(1);
          },
        ),
        propertyRuns(300),
      );
    },
    PROPERTY_TIMEOUT,
  );
});

test('parseQuote throws nothing but refusals', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 1500 }), (bytes) => {
      refusalOf(() => parseQuote(bytes));
    }),
    propertyRuns(500),
  );
});
