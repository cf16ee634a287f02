import { randomBytes } from 'node:crypto';
import { expect, test } from '@jest/globals';
import { ReceiptIndex } from '../../../src/receipts/receiptIndex.ts';

const placeOf = (index: number) => ({
  index,
  cited: { seq: index % 7, logSize: index - 1 },
  tenant: undefined,
});

test('finds what was added, with its tenant', () => {
  const index = new ReceiptIndex();
  const [alice, nobody] = [randomBytes(16), randomBytes(16)];
  const large = { index: 2 ** 47, cited: { seq: 2 ** 40, logSize: 2 ** 46 }, tenant: 'alice' };
  index.add(alice, large);
  index.add(nobody, placeOf(5));
  expect(index.find(alice)).toEqual(large);
  expect(index.find(nobody)).toEqual(placeOf(5));
});

test('knows no other id: random, zero, short or long', () => {
  const index = new ReceiptIndex();
  index.add(randomBytes(16), placeOf(1));
  for (const id of [
    randomBytes(16),
    new Uint8Array(16),
    randomBytes(15),
    randomBytes(17),
    new Uint8Array(0),
  ]) {
    expect(index.find(id)).toBeUndefined();
  }
});

test('keeps the newest 20,000 of many and forgets nearly all of the oldest', () => {
  const index = new ReceiptIndex();
  const ids = Array.from({ length: 300_000 }, () => randomBytes(16));
  for (const [i, id] of ids.entries()) index.add(id, placeOf(i + 1));
  const found = (from: number, to: number) =>
    ids.slice(from, to).filter((id, i) => index.find(id)?.index === from + i + 1).length;
  expect(found(280_000, 300_000)).toBe(20_000);
  expect(found(0, 50_000)).toBeLessThan(500);
});
