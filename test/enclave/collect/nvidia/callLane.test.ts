import { describe, expect, test } from '@jest/globals';
import { CallLane } from '../../../../enclave/collect/nvidia/callLane.ts';
import { collectFailure } from '../../../support/collecting.ts';

const LONG = 600_000;

function held<T>() {
  let release: (value: T) => void = () => undefined;
  const promise = new Promise<T>((resolve) => (release = resolve));
  return { promise, release };
}

describe('calls of a library', () => {
  test('are made one at a time, in the order in which they were wanted', async () => {
    const lane = new CallLane();
    const { promise, release } = held<string>();
    const made: string[] = [];
    const first = lane.run('first', LONG, () => {
      made.push('first');
      return promise;
    });
    const second = lane.run('second', LONG, () => Promise.resolve(made.push('second')));
    await new Promise((resolve) => setImmediate(resolve));
    expect(made).toEqual(['first']);
    release('done');
    expect(await Promise.all([first, second])).toEqual(['done', 2]);
  });

  test('that fail let the next one through', async () => {
    const lane = new CallLane();
    const failed = lane.run('first', LONG, () => Promise.reject(new RangeError('no')));
    const threw = lane.run('second', LONG, () => {
      throw new RangeError('no');
    });
    const third = lane.run('third', LONG, () => Promise.resolve(3));
    await expect(failed).rejects.toThrow(RangeError);
    await expect(threw).rejects.toThrow(RangeError);
    expect(await third).toBe(3);
  });

  test('are refused while one is overdue, those that wait already too, and made again once it is back', async () => {
    const lane = new CallLane();
    const { promise, release } = held<number>();
    let made = 0;
    const count = () => Promise.resolve(++made);
    const late = collectFailure(() => lane.run('late', 1, () => promise));
    const waiting = collectFailure(() => lane.run('waiting', LONG, count));
    expect(await late).toBe('DEVICE_TIMEOUT');
    expect(await waiting).toBe('DEVICE_BUSY');
    expect(await collectFailure(() => lane.run('next', LONG, count))).toBe('DEVICE_BUSY');
    expect(made).toBe(0);
    release(1);
    await new Promise((resolve) => setImmediate(resolve));
    expect(await lane.run('again', LONG, count)).toBe(1);
  });

  test('that fail after their deadline are back, too', async () => {
    const lane = new CallLane();
    const { promise, release } = held<never>();
    const overdue = lane.run('late', 1, () => promise.then(() => Promise.reject(new RangeError('no'))));
    expect(await collectFailure(() => overdue)).toBe('DEVICE_TIMEOUT');
    release(undefined as never);
    await new Promise((resolve) => setImmediate(resolve));
    expect(await lane.run('again', LONG, () => Promise.resolve(1))).toBe(1);
  });
});
