import { describe, expect, test } from '@jest/globals';
import { parseRevocations } from '../../../src/audit/revocations.ts';

const since = '2026-11-21T00:00:00Z';
const encode = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value));
const listOf = (...entries: unknown[]) => encode({ format: 'vouchsafe/revocations/1', entries });

describe('a list of revocations', () => {
  test('is read', () => {
    const entry = { kind: 'cpu', id: 'ab', since, reason: 'leaked' };
    expect(parseRevocations(listOf(entry)).entries).toEqual([entry]);
  });

  test.each([
    ['no JSON', Buffer.from('{')],
    ['another format', encode({ format: 'vouchsafe/revocations/2', entries: [] })],
    ['an unknown kind', listOf({ kind: 'moon', since, reason: 'x' })],
    ['an unknown member', listOf({ kind: 'cpu', id: 'ab', since, reason: 'x', more: 1 })],
    ['no date', listOf({ kind: 'cpu', id: 'ab', reason: 'x' })],
    ['a date that is none', listOf({ kind: 'cpu', id: 'ab', since: 'soon', reason: 'x' })],
    ['upper-case hex', listOf({ kind: 'cpu', id: 'AB', since, reason: 'x' })],
    ['a device by both names', listOf({ kind: 'device', serial: 'ab', ueid: '1', since, reason: 'x' })],
    ['a device by neither', listOf({ kind: 'device', since, reason: 'x' })],
    ['a firmware level without any', listOf({ kind: 'tcb', since, reason: 'x' })],
    [
      'TCB info that is no base64',
      listOf({ kind: 'tcb', tcbInfos: [{ body: '!', issuerChain: [] }], since, reason: 'x' }),
    ],
    ['a name twice', Buffer.from('{"format":"vouchsafe/revocations/1","entries":[],"entries":[]}')],
  ])('with %s is refused', (_, bytes) => {
    expect(() => parseRevocations(bytes)).toThrow(expect.objectContaining({ code: 'REVOCATIONS_INVALID' }));
  });
});
