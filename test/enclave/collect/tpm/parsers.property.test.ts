import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { concat } from '../../../../attestation/bytes/bytes.ts';
import { Refusal } from '../../../../attestation/errors.ts';
import { CollectError } from '../../../../enclave/collect/errors.ts';
import { parseProperty } from '../../../../enclave/collect/tpm/capability.ts';
import { tpm2b, u16be, u32be, type TpmCommand } from '../../../../enclave/collect/tpm/command.ts';
import { parseCreated, parseReadPublic } from '../../../../enclave/collect/tpm/keys.ts';
import { parseNvData, parseNvPublic } from '../../../../enclave/collect/tpm/nv.ts';
import { parseQuoteParameters } from '../../../../enclave/collect/tpm/quote.ts';
import { parseResponse, TpmRefusal } from '../../../../enclave/collect/tpm/response.ts';
import { encodeSelection, parsePcrValues } from '../../../../enclave/collect/tpm/selection.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../../support/runs.ts';
import * as tpm from '../../../support/tpmAuthority.ts';

const COMMAND: TpmCommand = {
  name: 'Test',
  code: 1,
  handles: [],
  authorizations: 1,
  parameters: new Uint8Array(),
  responseHandles: 1,
};

/** Whether the parser took the bytes; anything but a coded refusal fails the test. */
function takes(parse: () => unknown): boolean {
  try {
    parse();
    return true;
  } catch (error) {
    if (error instanceof Refusal || error instanceof CollectError) return false;
    throw error;
  }
}

function framed(code: number, body: Uint8Array, tag = 0x8002): Uint8Array {
  return concat(u16be(tag), u32be(10 + body.length), u32be(code), body);
}

const bytes = fc.uint8Array({ maxLength: 300 });

describe('responses', () => {
  test(
    'give back handle and parameters, and only those',
    () => {
      const property = fc.property(fc.nat(0xffffffff), bytes, (handle, parameters) => {
        const authorization = Uint8Array.of(0, 0, 1, 0, 0);
        const body = concat(u32be(handle), u32be(parameters.length), parameters, authorization);
        const whole = framed(0, body);
        expect(parseResponse(whole, COMMAND)).toEqual({ handles: [handle], parameters });
        expect(takes(() => parseResponse(concat(whole, Uint8Array.of(0)), COMMAND))).toBe(false);
        expect(takes(() => parseResponse(framed(0, concat(body, Uint8Array.of(0))), COMMAND))).toBe(false);
        expect(takes(() => parseResponse(framed(0, body.subarray(0, -1)), COMMAND))).toBe(false);
      });
      fc.assert(property, propertyRuns(300));
    },
    PROPERTY_TIMEOUT,
  );

  test(
    'of errors carry the code',
    () => {
      const property = fc.property(fc.integer({ min: 1, max: 0xffffffff }), (code) => {
        let thrown: unknown;
        try {
          parseResponse(framed(code, new Uint8Array(), 0x8001), COMMAND);
        } catch (error) {
          thrown = error;
        }
        expect(thrown).toBeInstanceOf(TpmRefusal);
        expect(thrown).toMatchObject({ responseCode: code });
      });
      fc.assert(property, propertyRuns(200));
    },
    PROPERTY_TIMEOUT,
  );

  test.each([
    ['parseResponse', (input: Uint8Array) => parseResponse(input, COMMAND)],
    ['parseProperty', (input: Uint8Array) => parseProperty(input, 0x12c)],
    ['parseCreated', parseCreated],
    ['parseReadPublic', parseReadPublic],
    ['parseNvPublic', (input: Uint8Array) => parseNvPublic(input, 1)],
    ['parseNvData', (input: Uint8Array) => parseNvData(input, 64)],
    ['parseQuoteParameters', parseQuoteParameters],
    ['parsePcrValues', (input: Uint8Array) => parsePcrValues(input, { hash: 'sha256', pcrs: [0, 7] })],
  ] as const)(
    '%s takes arbitrary bytes or refuses them with a code',
    (_, parse) => {
      const header = fc.constantFrom(
        new Uint8Array(),
        concat(u16be(0x8002), u32be(310), u32be(0)),
        u16be(14),
        concat(u32be(0), u32be(1), u16be(0x0b)),
      );
      const property = fc.property(header, bytes, (start, rest) => {
        takes(() => parse(concat(start, rest)));
      });
      fc.assert(property, propertyRuns(500));
    },
    PROPERTY_TIMEOUT,
  );
});

describe('register values', () => {
  const subset = fc.uniqueArray(fc.nat(23), { maxLength: 8 }).map((list) => [...list].sort((a, b) => a - b));

  test(
    'come back for the registers that the TPM selected, and those alone',
    () => {
      const property = fc.property(subset, subset, (returned, others) => {
        const asked = [...new Set([...returned, ...others])].sort((a, b) => a - b);
        const digests = returned.map((index) => tpm2b(new Uint8Array(32).fill(index)));
        const body = (selected: readonly number[]) =>
          concat(
            u32be(9),
            encodeSelection({ hash: 'sha256', pcrs: selected }),
            u32be(returned.length),
            ...digests,
          );
        const values = parsePcrValues(body(returned), { hash: 'sha256', pcrs: asked });
        expect([...values]).toEqual(returned.map((index) => [index, new Uint8Array(32).fill(index)]));
        if (returned.length === 0) return;
        const without = asked.filter((index) => index !== returned[0]);
        expect(takes(() => parsePcrValues(body(returned), { hash: 'sha256', pcrs: without }))).toBe(false);
        expect(takes(() => parsePcrValues(body(returned), { hash: 'sha384', pcrs: asked }))).toBe(false);
      });
      fc.assert(property, propertyRuns(300));
    },
    PROPERTY_TIMEOUT,
  );
});

describe('NV public areas', () => {
  test(
    'come back as written, and for no other index',
    () => {
      const property = fc.property(
        fc.nat(0x7fffffff),
        fc.nat(0xffffffff),
        fc.nat(0xffff),
        fc.uint8Array({ maxLength: 64 }),
        (index, attributes, size, policy) => {
          const area = concat(u32be(index), u16be(0x0b), u32be(attributes), tpm2b(policy), u16be(size));
          const parameters = concat(tpm2b(area), tpm2b(new Uint8Array(34)));
          expect(parseNvPublic(parameters, index)).toEqual({ index, attributes, size });
          expect(takes(() => parseNvPublic(parameters, index + 1))).toBe(false);
          expect(takes(() => parseNvPublic(concat(parameters, Uint8Array.of(0)), index))).toBe(false);
        },
      );
      fc.assert(property, propertyRuns(300));
    },
    PROPERTY_TIMEOUT,
  );
});

describe('quotes', () => {
  test(
    'with one byte changed are taken with other bytes, or refused with a code',
    async () => {
      const message = tpm.encodeAttest();
      const signature = await tpm.signTpmt(message, await tpm.generateEc(), { scheme: 'ecdsa' });
      const whole = concat(tpm2b(message), signature);
      expect(parseQuoteParameters(whole)).toEqual({ message, signature });
      const property = fc.property(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 }), (at, mask) => {
        const changed = whole.map((byte, index) => (index === at ? byte ^ mask : byte));
        takes(() => parseQuoteParameters(changed));
        expect(takes(() => parseQuoteParameters(whole.subarray(0, at)))).toBe(false);
      });
      fc.assert(property, propertyRuns(300));
    },
    PROPERTY_TIMEOUT,
  );
});
