import { expect, test } from '@jest/globals';
import { Calls } from '../../../src/engine/calls.ts';

test('a request that cannot be passed on is refused, and nothing is owed for it', async () => {
  const cancelled: number[] = [];
  const calls = new Calls((id) => cancelled.push(id));
  const opened = calls.open(() => {
    throw new RangeError('Maximum call stack size exceeded');
  }, {});
  await expect(opened).rejects.toMatchObject({ code: 'INVALID_INPUT' });
  expect(calls.owed).toBe(0);
  expect(cancelled).toEqual([]);
});

test('an answer settles the next request as if nothing had been', async () => {
  const calls = new Calls(() => undefined);
  await calls
    .open(() => {
      throw new RangeError('too deep');
    }, {})
    .catch(() => undefined);
  let sent = 0;
  const opened = calls.open((id) => {
    sent = id;
  }, {});
  calls.answer({ kind: 'done', id: sent, result: undefined });
  await expect(opened).resolves.toBeUndefined();
});
