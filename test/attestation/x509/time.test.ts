import { expect, test } from '@jest/globals';
import { isoDay, isoTime } from '../../../attestation/x509/time.ts';

test('a time is written to the millisecond, a day without its time', () => {
  expect(isoTime(Date.UTC(2026, 10, 21, 12))).toBe('2026-11-21T12:00:00.000Z');
  expect(isoDay(Date.UTC(2026, 10, 21, 12))).toBe('2026-11-21');
});

test('a time beyond what a Date can hold is written, not thrown at', () => {
  expect(isoTime(8_640_000_000_001_000)).toBe('8640000000001 s after 1970');
});
