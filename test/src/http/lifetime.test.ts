import { EventEmitter } from 'node:events';
import { describe, expect, test } from '@jest/globals';
import { Lifetime } from '../../../src/http/lifetime.ts';

class Carrier extends EventEmitter {
  writableFinished = false;
}

describe('a lifetime', () => {
  test('keeps its first cause', () => {
    const lifetime = new Lifetime(new Carrier(), 60_000);
    lifetime.abort('deadline');
    lifetime.abort('stopping');
    expect([lifetime.failure?.code, lifetime.signal.aborted]).toEqual(['DEADLINE_EXCEEDED', true]);
    lifetime.end();
  });

  test('of a client that goes after the deadline ends as that of one that went', () => {
    const carrier = new Carrier();
    const lifetime = new Lifetime(carrier, 60_000);
    lifetime.abort('deadline');
    carrier.emit('close');
    expect([lifetime.failure?.code, lifetime.gone]).toEqual(['CANCELLED', true]);
  });
});
