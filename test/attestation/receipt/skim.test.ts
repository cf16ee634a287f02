import fc from 'fast-check';
import { describe, expect, test } from '@jest/globals';
import { Refusal } from '../../../attestation/errors.ts';
import { parseReceipt } from '../../../attestation/receipt/receipt.ts';
import { parseRecord } from '../../../attestation/receipt/record.ts';
import { ReceiptSkimmer } from '../../../attestation/receipt/skim.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../support/runs.ts';
import { makeDraft, makeWorld } from '../../support/world.ts';

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const text = fc.string({ maxLength: 40 });
const draft = fc.record({
  id: bytes(16),
  nonce: fc.option(bytes(32), { nil: undefined }),
  channel: fc.constantFrom('plain' as const, 'tls' as const, 'hpke' as const),
  method: text,
  path: text,
  model: fc.record({ id: text, manifestDigest: bytes(32), providers: fc.array(text, { maxLength: 4 }) }),
  parameters: fc
    .array(fc.tuple(text, fc.oneof(text, bytes(32))), { maxLength: 30 })
    .map((items) => new Map(items)),
  tenant: fc.option(text, { nil: undefined }),
  usage: fc.array(fc.tuple(text, fc.maxSafeNat()), { maxLength: 30 }).map((items) => new Map(items)),
  response: fc.oneof(
    fc.constant({ kind: 'body' as const, body: new Uint8Array(3) }),
    fc.record({
      kind: fc.constant('stream' as const),
      count: fc.maxSafeNat(),
      bytes: fc.maxSafeNat(),
      root: bytes(32),
    }),
  ),
  failed: fc.boolean(),
});

type Read = { readonly kind: 'receipt'; readonly values: unknown } | { readonly kind: 'record' | 'refused' };

function strict(entry: Uint8Array): Read {
  try {
    const { claims } = parseReceipt(entry);
    const { evidenceDigest, id, index, issuedAt, keysetDigest, manifestDigest, outcome } = claims;
    return {
      kind: 'receipt',
      values: [index, issuedAt, id, evidenceDigest, keysetDigest, manifestDigest, outcome].map(plain),
    };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
  }
  try {
    parseRecord(entry);
    return { kind: 'record' };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return { kind: 'refused' };
  }
}

function skimmed(entry: Uint8Array, skimmer = new ReceiptSkimmer()): Read {
  try {
    // Somewhere within other bytes, as in a bundle.
    const around = Buffer.concat([Buffer.from([1, 2, 3]), entry, Buffer.from([4])]);
    const inside = new Uint8Array(around);
    if (!skimmer.read(inside, 3, 3 + entry.length)) return { kind: 'record' };
    const at = (start: number, length: number) => plain(inside.slice(start, start + length));
    const outcome = Buffer.from(inside.slice(skimmer.outcomeAt, skimmer.outcomeEnd)).toString();
    const { evidenceAt, idAt, index, issuedAt, keysetAt, manifestAt } = skimmer;
    const digests = [at(idAt, 16), at(evidenceAt, 32), at(keysetAt, 32), at(manifestAt, 32)];
    return { kind: 'receipt', values: [index, issuedAt, ...digests, outcome] };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return { kind: 'refused' };
  }
}

function plain(value: number | string | Uint8Array): number | string {
  return value instanceof Uint8Array ? Buffer.from(value).toString('hex') : value;
}

describe('skimming a receipt', () => {
  test(
    'agrees with the strict parser on every receipt that can be issued',
    async () => {
      const { log, vouching } = await makeWorld();
      const skimmer = new ReceiptSkimmer();
      const property = fc.asyncProperty(draft, async ({ failed, ...changes }) => {
        const outcome = failed ? { outcome: 'error' as const, reason: 'ENGINE_FAILED' as const } : {};
        await vouching.issue(makeDraft({ ...changes, ...outcome }));
        const entry = log.entries.at(-1)!;
        expect(skimmed(entry, skimmer)).toEqual(strict(entry));
        expect(strict(entry).kind).toBe('receipt');
      });
      await fc.assert(property, propertyRuns(100));
    },
    PROPERTY_TIMEOUT,
  );

  test(
    'never refuses or reads otherwise what the strict parser accepts, whatever byte is altered',
    async () => {
      const { log, vouching } = await makeWorld();
      await vouching.issue(makeDraft({ nonce: new Uint8Array(32).fill(1), tenant: 'someone' }));
      const entry = log.entries.at(-1)!;
      const alteration = fc.tuple(fc.nat(entry.length - 1), fc.integer({ min: 1, max: 255 }));
      const property = fc.property(alteration, ([at, by]) => {
        const altered = Uint8Array.from(entry, (byte, i) => (i === at ? byte ^ by : byte));
        const expected = strict(altered);
        if (expected.kind !== 'refused') expect(skimmed(altered)).toEqual(expected);
        // It throws nothing but refusals.
        skimmed(altered);
      });
      fc.assert(property, propertyRuns(2000));
    },
    PROPERTY_TIMEOUT,
  );

  test(
    'reads on alike where it knows the claims of receipts before, whatever byte is altered',
    async () => {
      const { log, vouching } = await makeWorld();
      for (const path of ['/v1/a', '/v1/b', '/v1/a']) await vouching.issue(makeDraft({ path }));
      const [first, other, entry] = log.entries.slice(-3) as [Uint8Array, Uint8Array, Uint8Array];
      const skimmer = new ReceiptSkimmer();
      skimmed(first, skimmer);
      const known = skimmer.setting;
      skimmed(other, skimmer);
      expect(skimmer.setting).not.toBe(known);
      expect(skimmed(entry, skimmer)).toEqual(strict(entry));
      expect(skimmer.setting).toBe(known);
      const alteration = fc.tuple(fc.nat(entry.length - 1), fc.integer({ min: 1, max: 255 }));
      const property = fc.property(alteration, ([at, by]) => {
        const altered = Uint8Array.from(entry, (byte, i) => (i === at ? byte ^ by : byte));
        expect(skimmed(altered, skimmer)).toEqual(skimmed(altered));
        expect(skimmed(entry, skimmer)).toEqual(strict(entry));
      });
      fc.assert(property, propertyRuns(2000));
    },
    PROPERTY_TIMEOUT,
  );

  test('refuses a receipt that is cut short or continued at every length', async () => {
    const { log, vouching } = await makeWorld();
    await vouching.issue(makeDraft());
    const entry = log.entries.at(-1)!;
    for (let length = 0; length < entry.length; length++) {
      expect(skimmed(entry.slice(0, length)).kind).toBe('refused');
    }
    expect(skimmed(new Uint8Array([...entry, 0])).kind).toBe('refused');
  });

  test('tells a record from a receipt', async () => {
    const { log } = await makeWorld();
    expect(skimmed(log.entries[0]!).kind).toBe('record');
  });
});
