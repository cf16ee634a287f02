import { createHmac } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { hmacSha256 } from '../../../attestation/crypto/openssl.ts';
import { propertyRuns } from '../../support/runs.ts';

const bytes = (maxLength: number) => fc.uint8Array({ maxLength });

describe('HMAC-SHA-256', () => {
  test('is that of OpenSSL, whatever the lengths and the parts', () => {
    fc.assert(
      fc.property(bytes(130), fc.array(bytes(1500), { maxLength: 4 }), (key, text) => {
        const expected = createHmac('sha256', key).update(Buffer.concat(text)).digest();
        expect(Buffer.from(hmacSha256(key, ...text)).equals(expected)).toBe(true);
      }),
      propertyRuns(200),
    );
  });

  test.each([0, 1, 63, 64, 65, 2047, 2048, 2049, 100_000])('of %d bytes of key and of text', (length) => {
    for (const key of [Buffer.alloc(length, 1), Buffer.alloc(32, 2)]) {
      const text = Buffer.alloc(length, 3);
      const expected = createHmac('sha256', key).update(text).digest();
      expect(Buffer.from(hmacSha256(key, text)).equals(expected)).toBe(true);
    }
  });

  test('gives bytes that a later one leaves alone', () => {
    const [key, text] = [Buffer.alloc(32, 1), Buffer.from('text')];
    const first = hmacSha256(key, text);
    const copy = Buffer.from(first);
    hmacSha256(Buffer.alloc(32, 9), Buffer.from('another'));
    expect(copy.equals(Buffer.from(first))).toBe(true);
  });
});
