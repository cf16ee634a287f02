import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { concat } from '../../../attestation/bytes/bytes.ts';
import {
  MAX_TABLE_BYTES,
  parseCertificateTable,
  snpCertificates,
} from '../../../enclave/collect/certificateTable.ts';
import { CollectError } from '../../../enclave/collect/errors.ts';
import { createSimulatedSnp } from '../../../enclave/collect/simulated/snp.ts';
import { encodeCertificateTable, encodeSnpTable, TABLE_GUID } from '../../support/certificateTable.ts';
import { errorOf } from '../../support/refusal.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../support/runs.ts';

const VCEK = Uint8Array.of(0x30, 1, 1);
const VLEK = Uint8Array.of(0x30, 1, 2);
const ASK = Uint8Array.of(0x30, 1, 3);
const ARK = Uint8Array.of(0x30, 1, 4);

const codeOf = (step: () => unknown) => errorOf(CollectError, step)?.code;

/** A table of one entry whose fields are as given, with 16 bytes after the list. */
function oneEntry(offset: number, length: number): Uint8Array {
  const table = encodeCertificateTable([{ guid: TABLE_GUID.ask, data: new Uint8Array(16) }]);
  const view = new DataView(table.buffer);
  view.setUint32(16, offset, true);
  view.setUint32(20, length, true);
  return table;
}

describe('a certificate table', () => {
  test('gives the entries of the host, also those that nobody knows', () => {
    const entries = [
      { guid: TABLE_GUID.vcek, data: VCEK },
      { guid: TABLE_GUID.launchEndorsement, data: Uint8Array.of(9) },
    ];
    expect(parseCertificateTable(encodeCertificateTable(entries))).toEqual(entries);
  });

  test('gives the certificates of a chip leaf first', async () => {
    const { certificates } = await createSimulatedSnp({ now: new Date('2026-11-21T00:00:00Z') });
    expect(snpCertificates(encodeSnpTable(certificates), 'vcek')).toEqual(certificates);
  });

  test('gives copies, not views of the buffer', () => {
    const table = encodeSnpTable([VCEK, ASK, ARK]);
    const certificates = snpCertificates(table, 'vcek');
    table.fill(0);
    expect(certificates).toEqual([VCEK, ASK, ARK]);
  });

  test('gives the key that the report names where the host sends both', () => {
    const table = encodeCertificateTable([
      { guid: TABLE_GUID.vcek, data: VCEK },
      { guid: TABLE_GUID.vlek, data: VLEK },
      { guid: TABLE_GUID.ask, data: ASK },
    ]);
    expect(snpCertificates(table, 'vlek')).toEqual([VLEK, ASK]);
    expect(snpCertificates(table, 'vcek')).toEqual([VCEK, ASK]);
  });

  test.each([
    ['no byte', new Uint8Array()],
    ['the end alone', new Uint8Array(24)],
    ['a page of zeros', new Uint8Array(4096)],
  ])('of %s has no certificates', (_, table) => {
    expect(snpCertificates(table, 'vcek')).toEqual([]);
    expect(parseCertificateTable(table)).toEqual([]);
  });

  test('has padding after it passed over', () => {
    const table = concat(encodeSnpTable([VCEK, ASK, ARK]), new Uint8Array(1000));
    expect(snpCertificates(table, 'vcek')).toEqual([VCEK, ASK, ARK]);
  });

  test.each([
    ['an entry beyond the table', oneEntry(48, 17)],
    ['an offset beyond the table', oneEntry(65, 0)],
    ['an offset whose sum with the length wraps', oneEntry(0xffff_fff0, 0x20)],
    ['an entry inside the list of entries', oneEntry(24, 8)],
    ['no end', encodeSnpTable([VCEK, ASK, ARK]).subarray(0, 72)],
    ['half an entry', new Uint8Array(23)],
    [
      'more entries than a host sends',
      encodeCertificateTable(Array.from({ length: 16 }, () => ({ guid: TABLE_GUID.ask, data: ASK }))),
    ],
    ['more bytes than a host sends', new Uint8Array(MAX_TABLE_BYTES + 1)],
  ])('with %s is refused', (_, table) => {
    expect(codeOf(() => parseCertificateTable(table))).toBe('EVIDENCE_MALFORMED');
    expect(codeOf(() => snpCertificates(table, 'vcek'))).toBe('EVIDENCE_MALFORMED');
  });

  test.each([
    [
      'an entry twice',
      [
        { guid: TABLE_GUID.ask, data: ASK },
        { guid: TABLE_GUID.ask, data: ASK },
      ],
    ],
    ['an entry that is no certificate', [{ guid: TABLE_GUID.ask, data: Uint8Array.of(1, 2, 3) }]],
    ['an empty certificate', [{ guid: TABLE_GUID.ask, data: new Uint8Array() }]],
  ])('with %s has no certificates to give', (_, entries) => {
    expect(codeOf(() => snpCertificates(encodeCertificateTable(entries), 'vcek'))).toBe('EVIDENCE_MALFORMED');
  });

  test(
    'of any entries comes back, and of any bytes is read or refused',
    () => {
      const entry = fc.record({
        guid: fc.constantFrom(...Object.values(TABLE_GUID)),
        data: fc.uint8Array({ maxLength: 40 }),
      });
      fc.assert(
        fc.property(fc.array(entry, { maxLength: 15 }), (entries) => {
          expect(parseCertificateTable(encodeCertificateTable(entries))).toEqual(entries);
        }),
        propertyRuns(200),
      );
      const altered = fc
        .tuple(fc.array(entry, { maxLength: 3 }), fc.nat(), fc.nat(255))
        .map(([entries, at, by]) => {
          const table = encodeCertificateTable(entries);
          table[at % table.length]! ^= by;
          return table;
        });
      fc.assert(
        fc.property(fc.oneof(fc.uint8Array({ maxLength: 200 }), altered), (table) => {
          expect([undefined, 'EVIDENCE_MALFORMED']).toContain(codeOf(() => parseCertificateTable(table)));
          expect([undefined, 'EVIDENCE_MALFORMED']).toContain(codeOf(() => snpCertificates(table, 'vcek')));
        }),
        propertyRuns(1000),
      );
    },
    PROPERTY_TIMEOUT,
  );
});
