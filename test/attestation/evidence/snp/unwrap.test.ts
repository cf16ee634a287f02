import { beforeAll, describe, expect, test } from '@jest/globals';
import { concat, fromHex, toBase64, utf8 } from '../../../../attestation/bytes/bytes.ts';
import { unwrapExtendedReport, unwrapReportResponse } from '../../../../attestation/evidence/snp/unwrap.ts';
import { refusalOf } from '../../../support/refusal.ts';
import { generateChipKeys, genoaReport, mintAuthority } from '../../../support/snpAuthority.ts';

const GUID = {
  ark: 'c0b406a4a803495297433fb6014cd0ae',
  ask: '4ab7b379bbac4fe4a02f05aef327c782',
  vcek: '63da758de6644564adc5f4b93be8accd',
  vlek: 'a8074bc2a25a483eaae639c045a0b8a1',
  other: '00112233445566778899aabbccddeeff',
} as const;

type Entry = readonly [guid: keyof typeof GUID, content: Uint8Array];

function u32(value: number): Uint8Array {
  return Uint8Array.of(value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, value >>> 24);
}

/** A table of the entries, closed by an all-zero entry, contents behind it. */
function encodeTable(entries: readonly Entry[]): Uint8Array {
  let offset = 24 * (entries.length + 1);
  const heads = entries.map(([guid, content]) => {
    const head = concat(fromHex(GUID[guid]), u32(offset), u32(content.length));
    offset += content.length;
    return head;
  });
  return concat(...heads, new Uint8Array(24), ...entries.map(([, content]) => content));
}

function encodeExtended(entries: readonly Entry[]): Uint8Array {
  return concat(genoaReport(), encodeTable(entries), new Uint8Array(100));
}

let vek: Uint8Array, ask: Uint8Array, ark: Uint8Array;

beforeAll(async () => {
  const authority = await mintAuthority();
  ({ ask, ark } = authority);
  vek = await authority.issueVek(await generateChipKeys());
});

const code = (bytes: Uint8Array) => refusalOf(() => unwrapExtendedReport(bytes))?.code;

describe('unwrapExtendedReport', () => {
  test('puts the certificates in the order that verification wants', () => {
    const bytes = encodeExtended([
      ['ark', ark],
      ['other', utf8('ignored')],
      ['ask', ask],
      ['vcek', vek],
    ]);
    const { report, certificates } = unwrapExtendedReport(bytes);
    expect(report).toEqual(genoaReport());
    expect(certificates).toEqual([vek, ask, ark]);
  });

  test('takes PEM entries and a VLEK', () => {
    const pem = utf8(`-----BEGIN CERTIFICATE-----\n${toBase64(vek)}\n-----END CERTIFICATE-----\n`);
    expect(unwrapExtendedReport(encodeExtended([['vlek', pem]])).certificates).toEqual([vek]);
  });

  test('an empty table has no certificates', () => {
    expect(unwrapExtendedReport(encodeExtended([])).certificates).toEqual([]);
  });

  test('refuses tables whose entries lie outside, repeat or do not end', () => {
    const table = encodeExtended([['vcek', vek]]);
    const beyond = table.slice();
    beyond.set(u32(table.length), 1184 + 16);
    const huge = table.slice();
    huge.set(u32(0xffffffff), 1184 + 20);
    for (const bytes of [beyond, huge, table.subarray(0, 1184), table.subarray(0, 1184 + 24)]) {
      expect(code(bytes)).toBe('MALFORMED');
    }
    expect(
      code(
        encodeExtended([
          ['vcek', vek],
          ['vcek', vek],
        ]),
      ),
    ).toBe('MALFORMED');
    expect(
      code(
        encodeExtended([
          ['vcek', vek],
          ['vlek', vek],
        ]),
      ),
    ).toBe('MALFORMED');
    expect(code(encodeExtended(Array.from({ length: 17 }, () => ['other', vek] as const)))).toBe('MALFORMED');
  });

  test('refuses entries that are neither DER nor one PEM certificate', () => {
    expect(code(encodeExtended([['vcek', utf8('hello')]]))).toBe('MALFORMED');
    expect(code(encodeExtended([['vcek', utf8('-----BEGIN CERTIFICATE-----')]]))).toBe('CERT_MISSING');
    const pem = `-----BEGIN CERTIFICATE-----\n${toBase64(vek)}\n-----END CERTIFICATE-----\n`;
    expect(code(encodeExtended([['vcek', utf8(pem + pem)]]))).toBe('MALFORMED');
  });
});

describe('unwrapReportResponse', () => {
  const response = (status: number, size: number, ...rest: readonly Uint8Array[]) =>
    concat(u32(status), u32(size), ...rest);
  const gap = new Uint8Array(24);

  test('takes the report out of its padding', () => {
    const bytes = response(0, 1184, gap, genoaReport(), new Uint8Array(50));
    expect(unwrapReportResponse(bytes)).toEqual(genoaReport());
  });

  test.each([
    ['a status', response(0x16, 1184, gap, genoaReport())],
    ['another size', response(0, 1185, gap, genoaReport(), new Uint8Array(1))],
    [
      'reserved bytes',
      response(
        0,
        1184,
        gap.map(() => 1),
        genoaReport(),
      ),
    ],
    ['a report cut short', response(0, 1184, gap, genoaReport().subarray(1))],
    ['bytes after the report', response(0, 1184, gap, genoaReport(), Uint8Array.of(0, 1))],
  ])('refuses %s', (_corruption, bytes) => {
    expect(refusalOf(() => unwrapReportResponse(bytes))?.code).toBe('MALFORMED');
  });
});
