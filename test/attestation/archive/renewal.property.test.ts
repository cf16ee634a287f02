import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { readFileList } from '../../../attestation/archive/fileList.ts';
import {
  encodeRenewal,
  parseRenewal,
  RENEWAL_HASHES,
  type RenewalRecord,
} from '../../../attestation/archive/renewal.ts';
import { toHex } from '../../../attestation/bytes/bytes.ts';
import { refusalOf } from '../../support/refusal.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../support/runs.ts';

const count = fc.nat();
const hex = fc.stringMatching(/^[0-9a-f]{32}$/);

const record: fc.Arbitrary<RenewalRecord> = fc
  .constantFrom('sha384' as const, 'sha512' as const)
  .chain((hash) => {
    const digest = fc.uint8Array({ minLength: RENEWAL_HASHES[hash], maxLength: RENEWAL_HASHES[hash] });
    return fc.record({
      hash: fc.constant(hash),
      seq: count,
      previous: digest,
      segments: fc
        .uniqueArray(fc.record({ name: hex, root: digest, count, bytes: count }), {
          selector: ({ name }) => name,
        })
        .map((segments) => segments.sort((a, b) => (a.name < b.name ? -1 : 1))),
      madeAt: count,
    });
  })
  .map((made) => (made.seq === 0 ? { ...made, previous: undefined } : made));

test(
  'a record is what was encoded, and has one encoding',
  () => {
    fc.assert(
      fc.property(record, (value) => {
        const encoded = encodeRenewal(value);
        expect(parseRenewal(encoded)).toEqual(value);
        expect(toHex(encodeRenewal(parseRenewal(encoded)))).toBe(toHex(encoded));
      }),
      propertyRuns(100),
    );
  },
  PROPERTY_TIMEOUT,
);

test(
  'any bytes are a record or refused',
  () => {
    const altered = fc.tuple(record, fc.nat(), fc.integer({ min: 0, max: 255 })).map(([value, at, byte]) => {
      const bytes = encodeRenewal(value);
      bytes[at % bytes.length] = byte;
      return bytes;
    });
    fc.assert(
      fc.property(fc.oneof(altered, fc.uint8Array({ maxLength: 300 })), (bytes) => {
        const refusal = refusalOf(() => expect(toHex(encodeRenewal(parseRenewal(bytes)))).toBe(toHex(bytes)));
        if (refusal) expect(refusal.code).toMatch(/^(?:MALFORMED|NOT_CANONICAL|UNSUPPORTED)$/);
      }),
      propertyRuns(300),
    );
  },
  PROPERTY_TIMEOUT,
);

test(
  'any bytes are a list of files or refused',
  () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
        const refusal = refusalOf(() => [...readFileList(bytes, 'sha512')]);
        if (refusal) expect(refusal.code).toBe('MALFORMED');
      }),
      propertyRuns(300),
    );
  },
  PROPERTY_TIMEOUT,
);
