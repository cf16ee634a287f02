import { describe, expect, test } from '@jest/globals';
import { FairQueue } from '../../../src/engine/fairQueue.ts';

interface Item {
  readonly id: number;
  readonly scope: string;
}

function queueOf(...scopes: readonly string[]): FairQueue<Item> {
  const queue = new FairQueue<Item>();
  scopes.forEach((scope, id) => {
    queue.push({ id, scope });
  });
  return queue;
}

function drain(queue: FairQueue<Item>): readonly (number | undefined)[] {
  return Array.from({ length: queue.length }, () => queue.shift()?.id);
}

describe('a fair queue', () => {
  test('keeps the order of one tenant', () => {
    expect(drain(queueOf('a', 'a', 'a'))).toEqual([0, 1, 2]);
  });

  test('gives tenants turns, however much one has asked for', () => {
    expect(drain(queueOf('a', 'a', 'a', 'a', 'b', 'c', 'b'))).toEqual([0, 4, 5, 1, 6, 2, 3]);
  });

  test('who comes later waits for one turn of each at most', () => {
    const queue = queueOf(...new Array<string>(50).fill('a'));
    expect(queue.shift()?.id).toBe(0);
    queue.push({ id: 100, scope: 'b' });
    expect([queue.shift()?.id, queue.shift()?.id]).toEqual([1, 100]);
  });

  test('tells its turns without taking one', () => {
    const queue = queueOf('a', 'a', 'b', 'c', 'c');
    expect([...queue.inOrder()].map(({ id }) => id)).toEqual([0, 2, 3, 1, 4]);
    expect(queue.peek()?.id).toBe(0);
    expect(queue.length).toBe(5);
    expect(drain(queue)).toEqual([0, 2, 3, 1, 4]);
  });

  test('drops an item wherever it waits, and its tenant with the last one', () => {
    const queue = queueOf('a', 'a', 'b');
    expect([queue.remove(2), queue.remove(0), queue.remove(7), queue.remove(0)]).toEqual([
      true,
      true,
      false,
      false,
    ]);
    expect(queue.length).toBe(1);
    expect(drain(queue)).toEqual([1]);
    expect([queue.peek(), queue.shift(), queue.length]).toEqual([undefined, undefined, 0]);
  });
});
