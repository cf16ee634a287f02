import { describe, expect, test } from '@jest/globals';
import { drawRandom } from '../../../src/http/randomPool.ts';

describe('random bytes of the pool', () => {
  test('are never given twice, over many fillings', () => {
    const drawn = Array.from({ length: 2000 }, (_, i) => drawRandom(16 + (i % 40)));
    expect(new Set(drawn.map((bytes) => Buffer.from(bytes).toString('hex'))).size).toBe(drawn.length);
    expect(drawn.every((bytes, i) => bytes.length === 16 + (i % 40))).toBe(true);
    expect(drawn.every((bytes) => bytes.some((byte) => byte !== 0))).toBe(true);
  });

  test('are the own ones of whoever drew them', () => {
    const [one, other] = [drawRandom(32), drawRandom(32)];
    const kept = Buffer.from(other);
    one.fill(0);
    expect(kept.equals(Buffer.from(other))).toBe(true);
    expect(one.buffer).not.toBe(other.buffer);
  });

  test('are refused where the need is large', () => {
    expect(drawRandom(1024)).toHaveLength(1024);
    expect(() => drawRandom(1025)).toThrow(RangeError);
  });
});
