import { describe, expect, test } from '@jest/globals';
import { concat, utf8 } from '../../../../attestation/bytes/bytes.ts';
import { parseCcelTable } from '../../../../attestation/evidence/bootlog/ccelTable.ts';
import { refusalOf } from '../../../support/refusal.ts';
import { le } from './mint.ts';

/** A table whose checksum is right, after `edit`. */
function table(edit: (bytes: Uint8Array) => void = () => undefined): Uint8Array {
  const bytes = concat(
    utf8('CCEL'),
    le(56, 4),
    Uint8Array.of(1, 0),
    utf8('OEM   OEMTABLE'),
    new Uint8Array(12),
    Uint8Array.of(2, 0, 0, 0),
    le(0x40000, 8),
    le(0xbedb_f000, 8),
  );
  edit(bytes);
  bytes[9] = 0;
  bytes[9] = -bytes.reduce((sum, byte) => sum + byte, 0) & 0xff;
  return bytes;
}

const set = (offset: number, value: number) => table((bytes) => bytes.fill(value, offset, offset + 1));

describe('parseCcelTable', () => {
  test('reads where the log area is', () => {
    expect(parseCcelTable(table())).toEqual({
      revision: 1,
      areaLength: 0x40000n,
      areaAddress: 0xbedb_f000n,
    });
  });

  test.each([
    ['no bytes', new Uint8Array()],
    ['a cut table', table().subarray(0, 55)],
    ['a byte after it', concat(table(), Uint8Array.of(0))],
    ['another signature', set(0, 0x44)],
    ['another length', set(4, 57)],
    ['a wrong checksum', table().fill(7, 9, 10)],
    ['reserved bytes', set(38, 1)],
  ])('refuses %s', (_corruption, bytes) => {
    expect(refusalOf(() => parseCcelTable(bytes))?.code).toBe('MALFORMED');
  });

  test.each([
    ['type', set(36, 1)],
    ['subtype', set(37, 1)],
  ])('does not know another CC %s', (_what, bytes) => {
    expect(refusalOf(() => parseCcelTable(bytes))?.code).toBe('UNSUPPORTED');
  });
});
