import { expect, test } from '@jest/globals';
import fc from 'fast-check';
import { Refusal } from '../../../attestation/errors.ts';
import { encodeContent, parseContent } from '../../../src/archive/contentRecord.ts';
import { ArchiveKey } from '../../../src/archive/envelope.ts';
import { ArchiveError } from '../../../src/archive/errors.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../support/runs.ts';

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const CONTENT = fc.record({
  receipt: bytes(16),
  k: bytes(32),
  request: fc.uint8Array({ maxLength: 64 }),
  response: fc.oneof(
    fc.record({ kind: fc.constant('body' as const), body: fc.uint8Array({ maxLength: 64 }) }),
    fc.record({
      kind: fc.constant('stream' as const),
      chunks: fc.array(fc.uint8Array({ maxLength: 16 }), { maxLength: 8 }),
    }),
  ),
});
const KEY = new ArchiveKey(new Uint8Array(32).fill(1));

test(
  'what was kept comes back as it was',
  () => {
    fc.assert(
      fc.property(CONTENT, (content) => {
        const sealed = KEY.seal(content.receipt, encodeContent(content));
        expect(parseContent(KEY.open(content.receipt, sealed))).toEqual(content);
      }),
      propertyRuns(200),
    );
  },
  PROPERTY_TIMEOUT,
);

test(
  'one altered bit anywhere is refused',
  () => {
    fc.assert(
      fc.property(CONTENT, fc.nat(), fc.boolean(), (content, at, inKey) => {
        const envelope = KEY.seal(content.receipt, encodeContent(content));
        const altered = inKey ? envelope.wrapped : envelope.sealed;
        altered[at % altered.length]! ^= 1 << (at % 8);
        expect(() => KEY.open(content.receipt, envelope)).toThrow(ArchiveError);
      }),
      propertyRuns(200),
    );
  },
  PROPERTY_TIMEOUT,
);

test('of another receipt, or under another key, it does not open', () => {
  const receipt = new Uint8Array(16);
  const envelope = KEY.seal(receipt, new Uint8Array(3));
  expect(() => KEY.open(new Uint8Array(16).fill(1), envelope)).toThrow(ArchiveError);
  const other = ArchiveKey.parse('22'.repeat(32));
  expect(() => other.open(receipt, envelope)).toThrow(ArchiveError);
  expect(other.id).not.toEqual(KEY.id);
  expect(() => ArchiveKey.parse('AAAA')).toThrow(ArchiveError);
  expect(() => KEY.open(receipt, { ...envelope, sealed: new Uint8Array(5) })).toThrow(ArchiveError);
});

test(
  'arbitrary bytes are refused, never misread',
  () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (encoded) => {
        try {
          parseContent(encoded);
        } catch (error) {
          expect(error).toBeInstanceOf(Refusal);
        }
      }),
      propertyRuns(500),
    );
  },
  PROPERTY_TIMEOUT,
);
