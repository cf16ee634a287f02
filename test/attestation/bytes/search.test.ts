import fc from 'fast-check';
import { expect, test } from '@jest/globals';
import {
  includesBytes,
  indexOfBytes,
  latin1,
  startsWithBytes,
  u16beAt,
  u32beAt,
  u32leAt,
} from '../../../attestation/bytes/search.ts';
import { recognise } from '../../../attestation/recognition/recognise.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../support/runs.ts';

const few = (maxLength: number) => fc.array(fc.constantFrom(0, 1, 0x41, 0xff), { maxLength });

test(
  'finds what Buffer finds, and reads numbers as it does',
  () => {
    fc.assert(
      fc.property(few(40), few(4), fc.nat(45), (haystack, needle, at) => {
        const bytes = Uint8Array.from(haystack);
        const buffer = Buffer.from(bytes);
        const wanted = Buffer.from(needle);
        if (wanted.length > 0) {
          expect(indexOfBytes(bytes, wanted, at)).toBe(buffer.indexOf(wanted, at));
          expect(includesBytes(bytes, wanted)).toBe(buffer.includes(wanted));
        }
        expect(startsWithBytes(bytes, wanted)).toBe(buffer.subarray(0, wanted.length).equals(wanted));
        expect(latin1(bytes, at)).toBe(buffer.toString('latin1', at));
        const isWithin = at + 4 <= bytes.length;
        expect(u32leAt(bytes, at)).toBe(isWithin ? buffer.readUInt32LE(at) : NaN);
        expect(u32beAt(bytes, at)).toBe(isWithin ? buffer.readUInt32BE(at) : NaN);
        expect(u16beAt(bytes, at)).toBe(at + 2 <= bytes.length ? buffer.readUInt16BE(at) : NaN);
      }),
      propertyRuns(200),
    );
  },
  PROPERTY_TIMEOUT,
);

test(
  'every file looks like something, without a fault',
  () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.uint8Array({ maxLength: 1500 }),
          fc.string().map((text) => new TextEncoder().encode(text)),
        ),
        (bytes) => {
          expect(typeof recognise(bytes).kind).toBe('string');
        },
      ),
      propertyRuns(200),
    );
  },
  PROPERTY_TIMEOUT,
);
