import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { concat, equalBytes } from '../../../../attestation/bytes/bytes.ts';
import { parseTpmsAttest, unwrapTpm2bAttest } from '../../../../attestation/evidence/tpm/parse.ts';
import { refusalOf } from '../../../support/refusal.ts';
import { propertyRuns } from '../../../support/runs.ts';
import {
  ALL_SHA256,
  encodeAttest,
  EXTRA_DATA,
  FIRMWARE,
  flipped,
  sized,
  u16,
  u32,
} from '../../../support/tpmAuthority.ts';

const NAME = concat(u16(0x000b), new Uint8Array(32).fill(9));
/** Offset of the selection in a quote with a name of 34 and extraData of 32 bytes. */
const SELECTION_OFFSET = 6 + 2 + 34 + 2 + 32 + 17 + 8;

/** A quote whose selection list is these bytes. */
function withSelection(list: Uint8Array): Uint8Array {
  return concat(encodeAttest().subarray(0, SELECTION_OFFSET), list, sized(new Uint8Array(32)));
}

const code = (bytes: Uint8Array) => refusalOf(() => parseTpmsAttest(bytes))?.code;

describe('parseTpmsAttest', () => {
  test('reads fields at their offsets', () => {
    const bytes = encodeAttest({ qualifiedSigner: NAME, clock: 0x0102030405060708n, safe: 0 });
    const attest = parseTpmsAttest(bytes);
    expect(attest).toMatchObject({
      qualifiedSigner: NAME,
      extraData: EXTRA_DATA,
      clockInfo: { clock: 0x0102030405060708n, resetCount: 3, restartCount: 1, safe: false },
      firmwareVersion: FIRMWARE,
      selection: ALL_SHA256,
    });
    expect(attest.pcrDigest).toHaveLength(32);
    expect(attest.signedBytes).toBe(bytes);
  });

  test('reads several banks in their order and bit maps of one to four bytes', () => {
    const selection = [
      { hash: 'sha512', pcrs: [31], size: 4 },
      { hash: 'sha1', pcrs: [0, 7], size: 1 },
      { hash: 'sha384', pcrs: [], size: 3 },
    ] as const;
    const { selection: read } = parseTpmsAttest(encodeAttest({ selection }));
    expect(read).toEqual(selection.map(({ hash, pcrs }) => ({ hash, pcrs })));
  });

  test('takes an empty and a longest extraData', () => {
    for (const extraData of [new Uint8Array(), new Uint8Array(66).fill(1)]) {
      expect(parseTpmsAttest(encodeAttest({ extraData })).extraData).toEqual(extraData);
    }
  });

  test.each([
    ['nothing', new Uint8Array(), 'MALFORMED'],
    ['another magic', encodeAttest({ magic: 0xff544346 }), 'MALFORMED'],
    ['an unknown type', encodeAttest({ type: 0x8099 }), 'UNSUPPORTED'],
    ['an empty signer', encodeAttest({ qualifiedSigner: new Uint8Array() }), 'MALFORMED'],
    ['a handle as signer', encodeAttest({ qualifiedSigner: u32(0x40000007) }), 'UNSUPPORTED'],
    ['a signer cut by a byte', encodeAttest({ qualifiedSigner: NAME.subarray(0, 33) }), 'MALFORMED'],
    ['a signer with a byte more', encodeAttest({ qualifiedSigner: concat(NAME, u16(0)) }), 'MALFORMED'],
    ['a signer of 67 bytes', encodeAttest({ qualifiedSigner: new Uint8Array(67) }), 'MALFORMED'],
    ['extraData of 67 bytes', encodeAttest({ extraData: new Uint8Array(67) }), 'MALFORMED'],
    ['safe 2', encodeAttest({ safe: 2 }), 'MALFORMED'],
    ['17 banks', withSelection(u32(17)), 'MALFORMED'],
    ['2^32 - 1 banks', withSelection(u32(0xffffffff)), 'MALFORMED'],
    ['a bank of SM3', withSelection(concat(u32(1), u16(0x0012), Uint8Array.of(3, 1, 0, 0))), 'UNSUPPORTED'],
    [
      'a bit map of 5 bytes',
      withSelection(concat(u32(1), u16(11), Uint8Array.of(5, 1, 0, 0, 0, 0))),
      'MALFORMED',
    ],
    [
      'one bank twice',
      encodeAttest({ selection: [...ALL_SHA256, { hash: 'sha256', pcrs: [1] }] }),
      'MALFORMED',
    ],
    ['a digest of 65 bytes', encodeAttest({ pcrDigest: new Uint8Array(65) }), 'MALFORMED'],
    ['a byte after the digest', concat(encodeAttest(), Uint8Array.of(0)), 'MALFORMED'],
    ['the last byte cut', encodeAttest().subarray(0, -1), 'MALFORMED'],
  ])('refuses a quote with %s', (_corruption, bytes, expected) => {
    expect(code(bytes)).toBe(expected);
  });

  test.each([
    [0x8014, 'NV certification'],
    [0x8015, 'command audit'],
    [0x8016, 'session audit'],
    [0x8017, 'certification'],
    [0x8019, 'time'],
    [0x801a, 'creation'],
    [0x801c, 'NV digest'],
  ])('refuses attestation type %i by its name', (type, name) => {
    const refusal = refusalOf(() => parseTpmsAttest(encodeAttest({ type })));
    expect(refusal?.code).toBe('UNSUPPORTED');
    expect(refusal?.message).toContain(name);
  });

  test('refuses every proper prefix', () => {
    const bytes = encodeAttest();
    for (let length = 0; length < bytes.length; length++)
      expect(code(bytes.subarray(0, length))).toBeDefined();
  });

  test('reads what it is given: no two quotes that differ parse alike', () => {
    const original = encodeAttest();
    const fields = (bytes: Uint8Array) => {
      const { signedBytes, ...rest } = parseTpmsAttest(bytes);
      expect(equalBytes(signedBytes, bytes)).toBe(true);
      return rest;
    };
    const unchanged = fields(original);
    fc.assert(
      fc.property(fc.array(fc.nat(8 * original.length - 1), { minLength: 1, maxLength: 4 }), (bits) => {
        const changed = flipped(original, ...new Set(bits));
        if (code(changed) === undefined) expect(fields(changed)).not.toEqual(unchanged);
      }),
      propertyRuns(500),
    );
  });

  test('throws nothing but refusals', () => {
    const magic = concat(u32(0xff544347), u16(0x8018));
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), fc.boolean(), (bytes, isQuote) => {
        refusalOf(() => parseTpmsAttest(isQuote ? concat(magic, bytes) : bytes));
      }),
      propertyRuns(500),
    );
  });
});

describe('unwrapTpm2bAttest', () => {
  test('takes the size away', () => {
    expect(unwrapTpm2bAttest(sized(encodeAttest()))).toEqual(encodeAttest());
  });

  test.each([
    ['a size too small', concat(u16(3), new Uint8Array(4))],
    ['a size too large', concat(u16(5), new Uint8Array(4))],
    ['no size', new Uint8Array(1)],
  ])('refuses %s', (_corruption, bytes) => {
    expect(refusalOf(() => unwrapTpm2bAttest(bytes))?.code).toBe('MALFORMED');
  });
});
