import { describe, expect, test } from '@jest/globals';
import { fromUtf8, utf8 } from '../../../attestation/bytes/bytes.ts';
import { readFetchRequest } from '../../../src/client/fetchRequest.ts';

const BASE = 'http://127.0.0.1:9000/api';
const ADDRESS = `${BASE}/v1/embeddings?a=b`;

describe('a call of fetch', () => {
  test.each<[string, RequestInit]>([
    ['a text', { body: '{"input":"hello"}' }],
    ['a text with a type', { body: '{}', headers: { 'Content-Type': 'application/json; charset=utf-8' } }],
    ['a text that is called plain', { body: '{}', headers: [['content-type', 'text/plain']] }],
    ['half a surrogate pair', { body: '"\ud83d"' }],
    ['no text at all', { body: '' }],
    ['bytes', { body: new Uint8Array([0, 1, 255]) }],
    ['bytes in a larger buffer', { body: Buffer.from('abcdef').subarray(2, 4) }],
    [
      'raw tensors behind their JSON',
      {
        body: new Uint8Array(9),
        headers: { 'content-type': 'application/octet-stream', 'inference-header-content-length': '7' },
      },
    ],
    ['a key', { body: '{}', headers: new Headers({ authorization: ' Bearer key ' }) }],
    ['a wish to wait', { body: '{}', headers: { 'vouchsafe-fresh': '?1' } }],
  ])('with %s is read as its Request would be', async (_name, init) => {
    const given = { method: 'POST', ...init };
    const request = new Request(ADDRESS, given);
    const expected = await readFetchRequest(BASE, request, undefined);
    expect(expected.kind).toBe('sealed');
    expect(await readFetchRequest(BASE, ADDRESS, { ...given, signal: request.signal })).toEqual(expected);
  });

  test('keeps the bytes that it was given, whatever the caller does with them', async () => {
    const body = new Uint8Array(utf8('first'));
    const reading = readFetchRequest(BASE, ADDRESS, { method: 'POST', body });
    body.fill(0);
    const read = await reading;
    expect(read.kind === 'sealed' && fromUtf8(read.body)).toBe('first');
  });

  test('has the signal of its caller', async () => {
    const { signal } = new AbortController();
    const read = await readFetchRequest(BASE, ADDRESS, { method: 'POST', body: '{}', signal });
    expect(read.signal).toBe(signal);
  });

  test.each<[string, string, RequestInit]>([
    ['an address with a password', 'http://user:word@127.0.0.1:9000/api/v1/embeddings', { body: '{}' }],
    ['a header that is none', ADDRESS, { body: '{}', headers: { 'a b': 'c' } }],
    ['an address that is none', 'http://[', { body: '{}' }],
  ])('to %s throws as fetch does', async (_name, address, init) => {
    await expect(readFetchRequest(BASE, address, { method: 'POST', ...init })).rejects.toMatchObject({
      name: 'TypeError',
    });
  });

  test('elsewhere, or with what is too large, is refused', async () => {
    const elsewhere = readFetchRequest(BASE, 'http://127.0.0.1:9001/api/v1/x', {
      method: 'POST',
      body: '{}',
    });
    await expect(elsewhere).rejects.toMatchObject({ code: 'ORIGIN_REFUSED' });
    const body = new Uint8Array(64 * 1024 * 1024);
    await expect(readFetchRequest(BASE, ADDRESS, { method: 'POST', body })).rejects.toMatchObject({
      code: 'REQUEST_UNSEALABLE',
    });
  });
});
