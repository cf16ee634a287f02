import { createHash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { describe, expect, test } from '@jest/globals';
import { fromBase64, toHex } from '../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { sha256With } from '../../../attestation/crypto/provider.ts';
import { verifyCheckpoint } from '../../../attestation/log/checkpoint.ts';
import { verifyLogGrowth, verifyLogReceipt } from '../../../attestation/log/logReceipt.ts';
import { rootOf } from '../../../attestation/log/memoryTree.ts';
import { leafHash, verifyConsistency, verifyInclusion } from '../../../attestation/log/merkle.ts';
import { parseBundle, parseTile, partialTiles, tilePath } from '../../../attestation/log/tiles.ts';
import { parseVkey } from '../../../attestation/log/vkey.ts';
import type { FormerServedLogs } from '../../../src/http/servedLog.ts';
import { apiKey, startTestService, type TestService } from '../../support/service.ts';
import { serveFormerLog } from '../../support/servedLog.ts';
import { makeDraft, makeWorld, type World } from '../../support/world.ts';

const sha256 = sha256With(nodeCrypto);
const [alice, auditor, admin] = [apiKey('alice'), apiKey('audit'), apiKey('root')];
const KEYS = {
  keys: {
    apiKeys: [alice.entry],
    auditorKeys: [auditor.entry],
    adminKeySha256: admin.entry.sha256,
  },
};

interface Asked {
  readonly status: number;
  readonly headers: Headers;
  readonly bytes: Uint8Array;
}

async function ask(
  url: string,
  path: string,
  key?: string,
  init: { method?: string; headers?: Record<string, string> } = {},
): Promise<Asked> {
  const headers = { ...init.headers, ...(key && { authorization: `Bearer ${key}` }) };
  const answer = await fetch(url + path, { ...init, headers });
  return {
    status: answer.status,
    headers: answer.headers,
    bytes: new Uint8Array(await answer.arrayBuffer()),
  };
}

function jsonOf({ bytes }: Asked): Record<string, unknown> {
  return JSON.parse(Buffer.from(bytes).toString()) as Record<string, unknown>;
}

async function codeOf(asked: Promise<Asked>): Promise<string> {
  const answer = await asked;
  if (answer.status < 400) return String(answer.status);
  return `${answer.status} ${(jsonOf(answer)['error'] as { code: string }).code}`;
}

/** A service whose log has `published` entries under its checkpoint, and two more after it. */
async function startWith(published: number): Promise<TestService> {
  const service = await startTestService(KEYS);
  await fill(service.world, published);
  return service;
}

/** Issues so many receipts that are published, and one more. */
async function fill({ vouching, log }: World, published: number): Promise<void> {
  while (log.size < published) await vouching.issue(makeDraft());
  await vouching.covered(log.size - 1);
  // The checkpoint over the record of the epoch follows by itself, and none after it.
  for (let turn = 0; turn < 50; turn++) await setImmediate();
  await vouching.issue(makeDraft());
}

describe('the log of the instance', () => {
  test('has a signed checkpoint, and tiles and bundles that lead to its root', async () => {
    const { url, world, service } = await startWith(700);
    const note = await ask(url, '/log/checkpoint');
    expect([note.status, note.headers.get('content-type')]).toEqual([200, 'text/plain; charset=utf-8']);
    expect(note.headers.get('cache-control')).toContain('max-age=5');
    const vkey = parseVkey(
      Buffer.from((await ask(url, '/log/vkey')).bytes)
        .toString()
        .trim(),
      sha256,
    );
    const { origin } = world.keyring.keyset;
    expect(vkey.name).toBe(origin);
    const head = await verifyCheckpoint(note.bytes, origin, vkey.publicKey, nodeCrypto);
    expect(head.size).toBe(service.logs.own.publishedSize);
    expect(head.size).toBeGreaterThanOrEqual(700);
    const hashes: Uint8Array[] = [];
    const entries: Uint8Array[] = [];
    const leaves = [
      { index: 0, width: 256 },
      { index: 1, width: 256 },
      { index: 2, width: head.size - 512 },
    ];
    for (const { index, width } of leaves) {
      const tile = await ask(url, `/log/${tilePath({ level: 0, index, width })}`);
      expect([tile.status, tile.headers.get('cache-control')]).toEqual([
        200,
        'public, max-age=31536000, immutable',
      ]);
      hashes.push(...parseTile(tile.bytes, width));
      const bundle = await ask(url, `/log/${tilePath({ level: 'entries', index, width })}`, auditor.key);
      expect(bundle.headers.get('cache-control')).toBe('private, max-age=31536000, immutable');
      entries.push(...parseBundle(bundle.bytes, width));
    }
    expect(toHex(rootOf(sha256, hashes))).toBe(toHex(head.root));
    expect(entries.map((entry) => toHex(leafHash(sha256, entry)))).toEqual(hashes.map(toHex));
    for (const { level, index, width } of partialTiles(head.size)) {
      const tile = await ask(url, `/log/${tilePath({ level, index, width })}`);
      expect(parseTile(tile.bytes, width)).toHaveLength(width);
    }
  });

  test('is served as far as it is published, and not further', async () => {
    const { url, service, world } = await startWith(260);
    const size = service.logs.own.publishedSize;
    expect(world.log.size).toBeGreaterThan(size);
    const width = size - 256;
    expect(await codeOf(ask(url, `/log/tile/0/001.p/${width}`))).toBe('200');
    expect(await codeOf(ask(url, `/log/tile/0/001.p/${width + 1}`))).toBe('404 LOG_RANGE');
    expect(await codeOf(ask(url, `/log/tile/entries/001.p/${width + 1}`, auditor.key))).toBe('404 LOG_RANGE');
    expect(await codeOf(ask(url, '/log/tile/1/000.p/1'))).toBe('200');
    expect(await codeOf(ask(url, '/log/tile/1/000.p/2'))).toBe('404 LOG_RANGE');
    expect(await codeOf(ask(url, `/log/proof/consistency?from=1&to=${size + 1}`))).toBe('404 LOG_RANGE');
    const path = `/log/proof/inclusion?index=0&size=${size + 1}`;
    expect(await codeOf(ask(url, path, auditor.key))).toBe('404 LOG_RANGE');
  });

  test.each([
    '/log/tile/0/0',
    '/log/tile/0/000/',
    '/log/tile/00/000',
    '/log/tile/0/x000/000',
    '/log/tile/0/000.p/0',
    '/log/tile/0/000.p/256',
    '/log/tile/0/000.p/01',
    '/log/tile/0/%30%30%30',
    '/log/tile/%65ntries/000.p/1',
    '/log/tile/64/000',
    '/log/tile/',
    '/log/checkpoints',
  ])('knows no path %s', async (path) => {
    const { url } = await startTestService(KEYS);
    expect((await ask(url, path, auditor.key)).status).toBe(404);
  });

  test('gives entries to auditors and the admin alone, on loopback, too', async () => {
    const { url } = await startTestService(KEYS);
    const open = await startTestService();
    for (const path of ['/log/tile/entries/000.p/1', '/log/proof/inclusion?index=0&size=1']) {
      expect(await codeOf(ask(url, path))).toBe('401 AUDITOR_KEY_REQUIRED');
      expect(await codeOf(ask(url, path, 'unknown'))).toBe('401 AUDITOR_KEY_REQUIRED');
      expect(await codeOf(ask(url, path, alice.key))).toBe('403 ROLE_FORBIDDEN');
      expect(await codeOf(ask(open.url, path))).toBe('401 AUDITOR_KEY_REQUIRED');
    }
    await (await startWith(1)).world.vouching.covered(0);
    const { url: published } = await startWith(2);
    for (const key of [auditor.key, admin.key]) {
      expect(await codeOf(ask(published, '/log/tile/entries/000.p/1', key))).toBe('200');
    }
  });

  test('answers conditional and HEAD requests without content', async () => {
    const { url } = await startWith(2);
    for (const path of ['/log/checkpoint', '/log/tile/0/000.p/1', '/log', '/.well-known/scitt-keys']) {
      const first = await ask(url, path);
      const etag = first.headers.get('etag')!;
      expect(etag).toMatch(/^"[\w-]{43}"$/);
      for (const known of [etag, `W/${etag}`, `"other", ${etag}`, '*']) {
        const again = await ask(url, path, undefined, { headers: { 'if-none-match': known } });
        expect([again.status, again.bytes.length]).toEqual([304, 0]);
        expect(again.headers.get('etag')).toBe(etag);
      }
      const other = await ask(url, path, undefined, { headers: { 'if-none-match': '"other"' } });
      expect(other.status).toBe(200);
      const head = await ask(url, path, undefined, { method: 'HEAD' });
      expect([head.status, head.bytes.length]).toEqual([200, 0]);
      expect(head.headers.get('content-length')).toBe(String(first.bytes.length));
    }
    const missing = await ask(url, '/log/tile/0/999');
    expect([missing.status, missing.headers.get('cache-control')]).toEqual([404, 'no-store']);
  });

  test('names itself', async () => {
    const { url, world } = await startWith(3);
    const { keyset } = world.keyring;
    const told = jsonOf(await ask(url, '/log'));
    const id = createHash('sha256').update(`${keyset.origin}\n`).update(Buffer.of(1)).update(keyset.log.x);
    expect(told).toMatchObject({
      instance: toHex(keyset.instance),
      origin: keyset.origin,
      log_id: id.digest('hex'),
    });
  });
});

describe('proofs', () => {
  test('of inclusion and consistency hold', async () => {
    const { url, world, service } = await startWith(9);
    const to = service.logs.own.publishedSize;
    const entries = world.log.entries.slice(0, to);
    const leaves = entries.map((entry) => leafHash(sha256, entry));
    const growth = jsonOf(await ask(url, `/log/proof/consistency?from=5&to=${to}`));
    const path = (growth['path'] as string[]).map((hash) => fromBase64(hash));
    const [root1, root2] = [rootOf(sha256, leaves.slice(0, 5)), rootOf(sha256, leaves)];
    verifyConsistency(sha256, { size1: 5, size2: to, path }, root1, root2);
    const held = jsonOf(await ask(url, `/log/proof/inclusion?index=3&size=${to}`, auditor.key));
    const siblings = (held['path'] as string[]).map((hash) => fromBase64(hash));
    verifyInclusion(sha256, { index: 3, size: to, path: siblings }, leaves[3]!, root2);

    const receipt = await ask(url, `/log/receipt/inclusion?index=3&size=${to}`, auditor.key);
    expect(receipt.headers.get('content-type')).toBe('application/scitt-receipt+cose');
    const { keyset } = world.keyring;
    const place = await verifyLogReceipt(receipt.bytes, entries[3]!, keyset, nodeCrypto);
    expect(place).toMatchObject({ index: 3, size: to });
    const grown = await ask(url, `/log/receipt/consistency?from=5&to=${to}`, auditor.key);
    expect(await verifyLogGrowth(grown.bytes, { root1, root2 }, keyset, nodeCrypto)).toMatchObject({
      size1: 5,
      size2: to,
    });
  });

  test.each([
    ['400 INVALID_INPUT', '/log/proof/consistency'],
    ['400 INVALID_INPUT', '/log/proof/consistency?from=1&from=1&to=1'],
    ['400 INVALID_INPUT', '/log/proof/consistency?from=01&to=1'],
    ['400 INVALID_INPUT', '/log/proof/consistency?from=-1&to=1'],
    ['400 INVALID_INPUT', '/log/proof/consistency?from=1e0&to=1'],
    ['400 INVALID_INPUT', '/log/proof/inclusion?index=0&size=9999999999999999'],
    ['404 LOG_RANGE', '/log/proof/consistency?from=0&to=1'],
    ['404 LOG_RANGE', '/log/proof/consistency?from=2&to=1'],
    ['404 LOG_RANGE', '/log/proof/inclusion?index=1&size=1'],
    ['404 LOG_RANGE', '/log/receipt/inclusion?index=1&size=1'],
    ['404 LOG_RANGE', '/log/receipt/consistency?from=0&to=0'],
  ])('are refused as %s: %s', async (expected, path) => {
    const { url } = await startWith(2);
    expect(await codeOf(ask(url, path, auditor.key))).toBe(expected);
  });

  test('that cost a signature are for auditors', async () => {
    const { url } = await startWith(2);
    for (const path of ['/log/receipt/inclusion?index=0&size=1', '/log/receipt/consistency?from=1&to=1']) {
      expect(await codeOf(ask(url, path))).toBe('401 AUDITOR_KEY_REQUIRED');
      expect(await codeOf(ask(url, path, alice.key))).toBe('403 ROLE_FORBIDDEN');
    }
  });
});

describe('logs of former instances', () => {
  const INSTANCE = 'ab'.repeat(16);

  async function withFormer(): Promise<TestService> {
    const world = await makeWorld();
    await fill(world, 6);
    const { log, keyring } = world;
    const { size } = log;
    const served = serveFormerLog(log, keyring.keyset.origin);
    const former: FormerServedLogs = {
      logs: [
        { instance: INSTANCE, state: 'whole', size },
        { instance: 'cd'.repeat(16), state: 'damaged', size: undefined },
      ],
      open: (instance) => Promise.resolve(instance === INSTANCE ? served : undefined),
    };
    return startTestService(KEYS, { former });
  }

  test('are listed and served like the running one, which has its name there, too', async () => {
    const { url, world } = await withFormer();
    const own = toHex(world.keyring.keyset.instance);
    const { instances } = jsonOf(await ask(url, '/log/instances')) as { instances: { instance: string }[] };
    expect(instances.map(({ instance }) => instance)).toEqual([INSTANCE, 'cd'.repeat(16), own]);
    expect(instances[1]).toMatchObject({ state: 'damaged' });
    const prefix = `/log/instances/${INSTANCE}`;
    expect(jsonOf(await ask(url, prefix))).toMatchObject({ entries: 8 });
    const note = Buffer.from((await ask(url, `${prefix}/checkpoint`)).bytes).toString();
    const size = Number(note.split('\n')[1]);
    expect(await codeOf(ask(url, `${prefix}/tile/0/000.p/${size}`))).toBe('200');
    expect(await codeOf(ask(url, `${prefix}/proof/consistency?from=1&to=${size}`))).toBe('200');
    const ownNote = await ask(url, `/log/instances/${own}/checkpoint`);
    expect(ownNote.bytes).toEqual((await ask(url, '/log/checkpoint')).bytes);
  });

  test('show auditors the entries after the last checkpoint', async () => {
    const { url } = await withFormer();
    const prefix = `/log/instances/${INSTANCE}/tile`;
    expect(await codeOf(ask(url, `${prefix}/0/000.p/8`))).toBe('404 LOG_RANGE');
    expect(await codeOf(ask(url, `${prefix}/entries/000.p/8`))).toBe('401 AUDITOR_KEY_REQUIRED');
    expect(await codeOf(ask(url, `${prefix}/entries/000.p/8`, alice.key))).toBe('403 ROLE_FORBIDDEN');
    expect(await codeOf(ask(url, `${prefix}/entries/000.p/8`, auditor.key))).toBe('200');
    expect(await codeOf(ask(url, `${prefix}/entries/000.p/9`, auditor.key))).toBe('404 LOG_RANGE');
  });

  test.each(['ef'.repeat(16), 'AB'.repeat(16), '..%2f..%2fdata', 'x'])('are not there: %s', async (name) => {
    const { url } = await withFormer();
    expect((await ask(url, `/log/instances/${name}/checkpoint`)).status).toBe(404);
  });
});
