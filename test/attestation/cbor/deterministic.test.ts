import { describe, expect, test } from '@jest/globals';
import { encode as referenceEncode, rfc8949EncodeOptions } from 'cborg';
import fc from 'fast-check';
import { fromHex, toHex } from '../../../attestation/bytes/bytes.ts';
import { decodeDc, encodeDc, type Dc } from '../../../attestation/cbor/deterministic.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { propertyRuns } from '../../support/runs.ts';

const dcValue = fc.letrec<{ value: Dc }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small', withCrossShrink: true },
    fc.maxSafeInteger(),
    fc.string({ unit: 'grapheme' }),
    fc.boolean(),
    fc.uint8Array(),
    fc.array(tie('value')),
    fc
      .array(fc.tuple(fc.oneof(fc.maxSafeInteger(), fc.string()), tie('value')))
      .map((entries) => new Map(entries)),
  ),
})).value;

function codeOf(hex: string): string {
  try {
    decodeDc(fromHex(hex));
    return 'accepted';
  } catch (error) {
    if (error instanceof Refusal) return error.code;
    throw error;
  }
}

describe('deterministic CBOR', () => {
  test('decodes what it encodes', () => {
    fc.assert(
      fc.property(dcValue, (value) => {
        expect(decodeDc(encodeDc(value))).toEqual(value);
      }),
      propertyRuns(300),
    );
  });

  test('agrees with another encoder of RFC 8949 section 4.2.1', () => {
    fc.assert(
      fc.property(dcValue, (value) => {
        expect(toHex(encodeDc(value))).toBe(toHex(referenceEncode(value, rfc8949EncodeOptions)));
      }),
      propertyRuns(300),
    );
  });

  test.each([
    ['float-claim: integer as float', 'f93c00'],
    ['non-shortest integer', '1800'],
    ['non-shortest length', '580100'],
    ['unsorted map keys', 'a202010102'],
    ['null', 'f6'],
    ['undefined', 'f7'],
    ['tag', 'c101'],
    ['indefinite array', '9f01ff'],
    ['integer beyond 2^53', '1b0020000000000000'],
    ['large negative integer', '3b001fffffffffffff'],
    ['byte string as map key', 'a1410101'],
  ])('refuses %s as not canonical', (_name, hex) => {
    expect(codeOf(hex)).toBe('NOT_CANONICAL');
  });

  test.each([
    ['unassigned simple value', 'e0'],
    ['empty input', ''],
    ['trailing byte', '0100'],
    ['duplicate map key', 'a201010102'],
    ['duplicate map key in another form', 'a20101180102'],
    ['truncated string', '4201'],
    ['length far beyond the input', '5b001fffffffffffff'],
    ['array count far beyond the input', '9b001fffffffffffff'],
    ['invalid UTF-8', '61ff'],
    ['break outside', 'ff'],
    ['reserved information', '1c'],
    ['nesting of 40 arrays', `${'81'.repeat(40)}01`],
  ])('refuses %s as malformed', (_name, hex) => {
    expect(codeOf(hex)).toBe('MALFORMED');
  });

  test('never throws anything but a refusal', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 64 }), (bytes) => {
        expect(codeOf(toHex(bytes))).toMatch(/^(accepted|MALFORMED|NOT_CANONICAL)$/);
      }),
      propertyRuns(2000),
    );
  });
});
