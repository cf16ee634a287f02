import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { concat } from '../../../../attestation/bytes/bytes.ts';
import { derEcdsaSignature, parseTpmtSignature } from '../../../../attestation/evidence/tpm/signature.ts';
import { refusalOf } from '../../../support/refusal.ts';
import { propertyRuns } from '../../../support/runs.ts';
import { der, flipped, integer, sized, u16 } from '../../../support/tpmAuthority.ts';

const RSASSA_SHA256 = concat(u16(0x0014), u16(0x000b));
const ECDSA_SHA384 = concat(u16(0x0018), u16(0x000c));
const BYTES = new Uint8Array(256).fill(7);

const tpmtCode = (bytes: Uint8Array) => refusalOf(() => parseTpmtSignature(bytes))?.code;
const derCode = (bytes: Uint8Array) => refusalOf(() => derEcdsaSignature(bytes, 'sha256'))?.code;

describe('parseTpmtSignature', () => {
  test('reads RSASSA, RSAPSS and ECDSA', () => {
    expect(parseTpmtSignature(concat(RSASSA_SHA256, sized(BYTES)))).toEqual({
      scheme: 'rsassa',
      hash: 'sha256',
      signature: BYTES,
    });
    expect(parseTpmtSignature(concat(u16(0x0016), u16(0x000d), sized(BYTES)))).toEqual({
      scheme: 'rsapss',
      hash: 'sha512',
      signature: BYTES,
    });
    const scalars = concat(sized(Uint8Array.of(0, 0, 0x80, 1)), sized(Uint8Array.of(5)));
    expect(parseTpmtSignature(concat(ECDSA_SHA384, scalars))).toEqual({
      scheme: 'ecdsa',
      hash: 'sha384',
      r: Uint8Array.of(0x80, 1),
      s: Uint8Array.of(5),
    });
  });

  test.each([
    ['nothing', new Uint8Array(), 'MALFORMED'],
    ['a null scheme', concat(u16(0x0010)), 'UNSUPPORTED'],
    ['HMAC', concat(u16(0x0005), u16(0x000b), new Uint8Array(32)), 'UNSUPPORTED'],
    ['ECDAA', concat(u16(0x001a), u16(0x000b), sized(BYTES)), 'UNSUPPORTED'],
    ['SM2', concat(u16(0x001b), u16(0x0012), sized(BYTES)), 'UNSUPPORTED'],
    ['a hash of SM3', concat(u16(0x0014), u16(0x0012), sized(BYTES)), 'UNSUPPORTED'],
    ['an RSA signature of 513 bytes', concat(RSASSA_SHA256, sized(new Uint8Array(513))), 'MALFORMED'],
    ['a byte after the signature', concat(RSASSA_SHA256, sized(BYTES), Uint8Array.of(0)), 'MALFORMED'],
    ['the last byte cut', concat(RSASSA_SHA256, sized(BYTES)).subarray(0, -1), 'MALFORMED'],
    ['R zero', concat(ECDSA_SHA384, sized(new Uint8Array(32)), sized(Uint8Array.of(1))), 'MALFORMED'],
    ['S empty', concat(ECDSA_SHA384, sized(Uint8Array.of(1)), sized(new Uint8Array())), 'MALFORMED'],
    ['R of 49 bytes', concat(ECDSA_SHA384, sized(new Uint8Array(49)), sized(Uint8Array.of(1))), 'MALFORMED'],
  ])('refuses %s', (_corruption, bytes, expected) => {
    expect(tpmtCode(bytes)).toBe(expected);
  });

  test('a mutated signature is never read as the original one', () => {
    const original = concat(RSASSA_SHA256, sized(BYTES));
    const unchanged = parseTpmtSignature(original);
    fc.assert(
      fc.property(fc.array(fc.nat(8 * original.length - 1), { minLength: 1, maxLength: 3 }), (bits) => {
        const changed = flipped(original, ...new Set(bits));
        if (tpmtCode(changed) === undefined) expect(parseTpmtSignature(changed)).not.toEqual(unchanged);
      }),
      propertyRuns(500),
    );
  });

  test('throws nothing but refusals', () => {
    const heads = fc.constantFrom(RSASSA_SHA256, ECDSA_SHA384, concat(u16(0x0016), u16(4)), new Uint8Array());
    fc.assert(
      fc.property(heads, fc.uint8Array({ maxLength: 120 }), (head, rest) => {
        tpmtCode(concat(head, rest));
      }),
      propertyRuns(500),
    );
  });
});

describe('derEcdsaSignature', () => {
  test('drops sign bytes', () => {
    expect(derEcdsaSignature(der(0x30, integer(0x8001n), integer(5n)), 'sha256')).toEqual({
      scheme: 'ecdsa',
      hash: 'sha256',
      r: Uint8Array.of(0x80, 1),
      s: Uint8Array.of(5),
    });
  });

  const one = integer(1n);
  test.each([
    ['nothing', new Uint8Array()],
    ['a SET', der(0x31, one, one)],
    ['one INTEGER', der(0x30, one)],
    ['three INTEGERs', der(0x30, one, one, one)],
    ['an OCTET STRING', der(0x30, der(0x04, Uint8Array.of(1)), one)],
    ['a negative R', der(0x30, der(0x02, Uint8Array.of(0x80)), one)],
    ['an empty R', der(0x30, der(0x02), one)],
    ['R zero', der(0x30, der(0x02, Uint8Array.of(0)), one)],
    ['R with a needless zero', der(0x30, der(0x02, Uint8Array.of(0, 1)), one)],
    ['R of 49 bytes', der(0x30, integer(1n << 384n), one)],
    ['a byte after the end', concat(der(0x30, one, one), Uint8Array.of(0))],
    ['an indefinite length', Uint8Array.of(0x30, 0x80, 2, 1, 1, 2, 1, 1, 0, 0)],
  ])('refuses %s', (_corruption, bytes) => {
    expect(derCode(bytes)).toBe('MALFORMED');
  });

  test('reads one encoding of each pair of scalars, and throws nothing but refusals', () => {
    const scalar = fc.bigInt({ min: 1n, max: (1n << 384n) - 1n });
    fc.assert(
      fc.property(scalar, scalar, fc.array(fc.nat(2000), { maxLength: 3 }), (r, s, bits) => {
        const original = der(0x30, integer(r), integer(s));
        const changed = flipped(original, ...bits);
        if (derCode(changed) !== undefined) return;
        const read = derEcdsaSignature(changed, 'sha256');
        const again = derEcdsaSignature(original, 'sha256');
        expect(JSON.stringify(read) === JSON.stringify(again)).toBe(
          changed.every((byte, i) => byte === original[i]),
        );
      }),
      propertyRuns(300),
    );
  });
});
