import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, describe, expect, test } from '@jest/globals';
import { utf8 } from '../../../attestation/bytes/bytes.ts';
import { ObjectStoreError } from '../../../src/objectStore/errors.ts';
import { type ObjectStore, openObjectStore } from '../../../src/objectStore/objectStore.ts';
import { startObjectStore, type TestObjectStore } from '../../support/objectStore.ts';

let objects: TestObjectStore | undefined;

afterEach(async () => {
  await objects?.close();
  objects = undefined;
});

async function start(options: Parameters<typeof startObjectStore>[0] = {}): Promise<TestObjectStore> {
  return (objects = await startObjectStore(options));
}

async function codeOf(step: () => unknown): Promise<string> {
  try {
    await step();
    return 'done';
  } catch (error) {
    if (error instanceof ObjectStoreError) {
      expect(error.advice.length).toBeGreaterThan(0);
      return error.code;
    }
    throw error;
  }
}

async function all(keys: AsyncIterable<string>): Promise<readonly string[]> {
  const found: string[] = [];
  for await (const key of keys) found.push(key);
  return found;
}

describe('objects', () => {
  test('are written, read, measured, replaced and removed', async () => {
    const { store } = await start();
    expect(await store.get('a/b.cbor')).toBeUndefined();
    expect(await store.length('a/b.cbor')).toBeUndefined();
    expect(await store.put('a/b.cbor', utf8('first'))).toBe('written');
    expect(await store.put('a/b.cbor', utf8('second'))).toBe('written');
    expect(Buffer.from((await store.get('a/b.cbor'))!).toString()).toBe('second');
    expect(await store.length('a/b.cbor')).toBe(6);
    await store.put('empty', new Uint8Array(0));
    expect(await store.get('empty')).toHaveLength(0);
    await store.remove('a/b.cbor');
    await store.remove('a/b.cbor');
    expect(await store.get('a/b.cbor')).toBeUndefined();
  });

  test('stand below the prefix and are signed for', async () => {
    const { store, server } = await start();
    await store.put('a', utf8('x'));
    expect(server.requests.map(({ line }) => line)).toEqual(['PUT /vouchsafe/some/prefix/a?x-id=PutObject']);
    expect(server.requests[0]!.headers['authorization']).toMatch(/^AWS4-HMAC-SHA256 /);
  });

  test('are listed in order, with folders', async () => {
    const { store } = await start();
    for (const key of ['many/1', 'many/0', 'many/folder/x', 'many/folder/y', 'manyfold']) {
      await store.put(key, new Uint8Array(0));
    }
    expect(await all(store.list('many/'))).toEqual(['many/0', 'many/1', 'many/folder/x', 'many/folder/y']);
    expect(await all(store.names('many'))).toEqual(['0', '1', 'folder/']);
    expect(await all(store.names('none'))).toEqual([]);
  });

  test('are listed over more than one page, and only those below the prefix', async () => {
    const page = (keys: readonly string[], next = '') =>
      `<?xml version="1.0"?><ListBucketResult>${keys.map((key) => `<Contents><Key>${key}</Key></Contents>`).join('')}` +
      `<IsTruncated>${next !== ''}</IsTruncated>${next && `<NextContinuationToken>${next}</NextContinuationToken>`}` +
      '</ListBucketResult>';
    const seen: (string | null)[] = [];
    const server = createServer((request, response) => {
      const token = new URL(request.url!, 'http://x').searchParams.get('continuation-token');
      seen.push(token);
      response.end(token === null ? page(['p/a', 'p/b', 'other/x'], 'more') : page(['p/c']));
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const keys = { accessKeyId: 'a', secretAccessKey: 'b', bucket: 'b', prefix: 'p' };
    const store = await openObjectStore({ ...keys, endpoint, region: 'r', pathStyle: true });
    expect(await all(store.list(''))).toEqual(['a', 'b', 'c']);
    expect(seen).toEqual([null, 'more']);
    store.close();
    server.close();
  });

  test.each([[true], [false]])(
    'are written once with ifAbsent, where conditions are known: %s',
    async (conditional) => {
      const { store, server } = await start({ conditional });
      expect(await store.put('once', utf8('first'), { ifAbsent: true })).toBe('written');
      expect(await store.put('once', utf8('second'), { ifAbsent: true })).toBe('exists');
      expect(Buffer.from((await store.get('once'))!).toString()).toBe('first');
      expect(server.requests.some(({ line }) => line.startsWith('HEAD'))).toBe(!conditional);
      expect(await all(store.list(''))).toEqual(['once']);
    },
  );

  test('are kept until a time, with the digest that stores want for that', async () => {
    const { store, server } = await start();
    await store.put('kept', utf8('x'), { retainUntil: new Date('2036-01-02T03:04:05Z') });
    expect(server.requests[0]!.headers).toMatchObject({
      'x-amz-object-lock-mode': 'COMPLIANCE',
      'x-amz-object-lock-retain-until-date': '2036-01-02T03:04:05Z',
      'x-amz-checksum-sha256': createHash('sha256').update('x').digest('base64'),
    });
  });
});

describe('refusals', () => {
  test('a store that answers with errors, hangs up or is gone is unavailable, and serves again afterwards', async () => {
    const { store, server } = await start();
    await store.put('a', utf8('x'));
    for (const mood of ['refuses', 'hangs up', 'forgets'] as const) {
      server.mood = mood;
      expect(await codeOf(() => store.get('a'))).toBe('OBJECT_STORE_UNAVAILABLE');
      expect(await codeOf(() => store.put('a', utf8('x')))).toBe('OBJECT_STORE_UNAVAILABLE');
      expect(await codeOf(() => store.put('b', utf8('x'), { ifAbsent: true }))).toBe(
        'OBJECT_STORE_UNAVAILABLE',
      );
      expect(await codeOf(() => all(store.list('')))).toBe('OBJECT_STORE_UNAVAILABLE');
    }
    server.mood = 'serves';
    expect(await store.get('a')).toHaveLength(1);
    expect(await store.put('c', utf8('x'), { ifAbsent: true })).toBe('written');
  });

  test('a call is tried as often as said', async () => {
    const { store, server } = await start();
    server.mood = 'refuses';
    await codeOf(() => store.get('a'));
    expect(server.requests).toHaveLength(2);
  });

  test('a store that never answers is unavailable', async () => {
    const { settings, server } = await start();
    const hasty = await openObjectStore({ ...settings, timeoutMs: 200 });
    server.mood = 'sleeps';
    expect(await codeOf(() => hasty.get('a'))).toBe('OBJECT_STORE_UNAVAILABLE');
    expect(await codeOf(() => hasty.put('a', utf8('x')))).toBe('OBJECT_STORE_UNAVAILABLE');
    expect(await codeOf(() => all(hasty.list('')))).toBe('OBJECT_STORE_UNAVAILABLE');
    hasty.close();
  });

  test('a key without rights is refused at once', async () => {
    const { store, server } = await start();
    server.mood = 'denies';
    expect(await codeOf(() => store.get('a'))).toBe('OBJECT_STORE_REFUSED');
    expect(server.requests).toHaveLength(1);
  });

  test('a bucket that is not there', async () => {
    const { settings } = await start();
    const other = await openObjectStore({ ...settings, bucket: 'another' });
    expect(await codeOf(() => other.get('a'))).toBe('OBJECT_STORE_BUCKET_MISSING');
    expect(await codeOf(() => other.put('a', utf8('x')))).toBe('OBJECT_STORE_BUCKET_MISSING');
    other.close();
  });

  test('an object that is larger than it may be', async () => {
    const { settings, store } = await start();
    await store.put('a', new Uint8Array(1001));
    const small = await openObjectStore({ ...settings, maxBytes: 1000 });
    expect(await codeOf(() => small.get('a'))).toBe('OBJECT_STORE_TOO_LARGE');
    await store.put('a', new Uint8Array(1000));
    expect(await small.get('a')).toHaveLength(1000);
    small.close();
  });

  test.each(['', '/', 'a//b', '/a', 'a/', '../a', 'a/./b', 'a b', 'ä', 'a?b', 'x'.repeat(901)])(
    'key %j',
    async (key) => {
      const { store } = await start();
      const steps: ((store: ObjectStore) => Promise<unknown>)[] = [
        (opened) => opened.put(key, utf8('x')),
        async (opened) => opened.get(key),
      ];
      for (const step of steps) expect(await codeOf(() => step(store))).toBe('OBJECT_STORE_KEY');
    },
  );

  test.each(['bucket', 'accessKeyId', 'secretAccessKey'] as const)('settings without %s', async (name) => {
    const { settings } = await start();
    expect(await codeOf(() => openObjectStore({ ...settings, [name]: undefined }))).toBe(
      'OBJECT_STORE_SETTINGS',
    );
  });
});
