import { createHash } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { CollateralCache } from '../../../src/collateral/cache.ts';
import { defaultCacheFolder } from '../../../src/collateral/cacheFolder.ts';
import { gatherCollateral, type CollateralOptions, type Outcome } from '../../../src/collateral/gather.ts';
import { needKey, type CollateralNeed } from '../../../src/collateral/need.ts';
import { DAY_MS, mintIssuer, NOW, rimAnswer, type Issuer } from './minted.ts';
import { sends, startVendors, type VendorServer } from './server.ts';
import { makeWorld } from '../../support/world.ts';

const CRL: CollateralNeed = { kind: 'amd-crl', product: 'genoa' };
const CRL_PATH = '/vcek/v1/Genoa/crl';
const HOUR_MS = DAY_MS / 24;

let issuer: Issuer;
let crl: Uint8Array;
let rims: ReadonlyMap<string, Uint8Array>;
beforeAll(async () => {
  issuer = await mintIssuer('ARK-Minted');
  crl = await issuer.crl();
  rims = (await makeWorld()).collateral.rims;
});

let folder: string;
let vendors: VendorServer;
let now: number;
beforeEach(async () => {
  now = NOW;
  folder = await mkdtemp(join(tmpdir(), 'vouchsafe-cache-'));
  vendors = await startVendors({ [CRL_PATH]: sends('application/pkix-crl', crl) });
});
afterEach(async () => {
  await chmod(folder, 0o700);
  await rm(folder, { recursive: true });
});

async function gather(changes: CollateralOptions = {}, need: CollateralNeed = CRL): Promise<Outcome> {
  const addresses = { amd: vendors.url, nvidia: vendors.url };
  const common = { addresses, cacheFolder: folder, now: () => now, attempts: 1, ocsp: false };
  const [outcome] = await gatherCollateral([need], { ...common, ...changes });
  return outcome!;
}

/** `network`, `cache` or the code of the error, and the codes of the remarks. */
function summary(outcome: Outcome): readonly string[] {
  if ('error' in outcome) return [outcome.error.code];
  const { from, remarks } = outcome.obtained;
  return [from, ...remarks.map(({ code }) => code)];
}

function bodyOf(outcome: Outcome): Uint8Array {
  if ('error' in outcome) throw outcome.error;
  return outcome.obtained.item.body;
}

const entryPath = (need: CollateralNeed = CRL) =>
  join(folder, createHash('sha256').update(needKey(need)).digest('hex'));

describe('freshness', () => {
  test('what is fresh is not asked for again', async () => {
    expect(summary(await gather())).toEqual(['network']);
    now += 23 * HOUR_MS;
    const again = await gather();
    expect(summary(again)).toEqual(['cache']);
    expect(bodyOf(again)).toEqual(crl);
    expect(vendors.asked).toHaveLength(1);
  });

  test('a day later it is, and so at any time with refresh', async () => {
    await gather();
    expect(summary(await gather({ refresh: true }))).toEqual(['network']);
    now += DAY_MS;
    expect(summary(await gather())).toEqual(['network']);
    expect(vendors.asked).toHaveLength(3);
  });

  test('a clock that went back makes nothing fresh', async () => {
    await gather();
    now -= HOUR_MS;
    expect(summary(await gather())).toEqual(['network']);
  });

  test('its own end comes before ours', async () => {
    const short = await issuer.crl(NOW + HOUR_MS);
    vendors.routes.set(CRL_PATH, sends('application/pkix-crl', short));
    await gather();
    now += 2 * HOUR_MS;
    vendors.routes.set(CRL_PATH, sends('application/pkix-crl', crl));
    expect(bodyOf(await gather())).toEqual(crl);
  });

  test('manifests, which have no end, are asked for again after a day', async () => {
    const [id, xml] = [...rims][0]!;
    const need = { kind: 'rim', id } as const;
    vendors.routes.set(`/v1/rim/${id}`, sends('application/json', rimAnswer(id, xml)));
    expect(summary(await gather({}, need))).toEqual(['network']);
    now += DAY_MS - 1;
    expect(summary(await gather({}, need))).toEqual(['cache']);
    now += 1;
    expect(summary(await gather({}, need))).toEqual(['network']);
  });
});

describe('staleness', () => {
  const ended = () => issuer.crl(NOW - 3 * DAY_MS);

  test('what is stale is said to be, and asked for again', async () => {
    vendors.routes.set(CRL_PATH, sends('application/pkix-crl', await ended()));
    expect(summary(await gather())).toEqual(['network', 'stale']);
    vendors.routes.set(CRL_PATH, sends('application/pkix-crl', crl));
    expect(summary(await gather())).toEqual(['network']);
  });

  test('an entry that ends later is better than a stale answer', async () => {
    await gather();
    now += 2 * DAY_MS;
    vendors.routes.set(CRL_PATH, sends('application/pkix-crl', await ended()));
    const outcome = await gather();
    expect(summary(outcome)).toEqual(['cache', 'stale']);
    expect(bodyOf(outcome)).toEqual(crl);
  });

  test('a stale answer does not replace a better entry', async () => {
    await gather();
    vendors.routes.set(CRL_PATH, sends('application/pkix-crl', await ended()));
    await gather({ refresh: true });
    expect(bodyOf(await gather({ offline: true }))).toEqual(crl);
  });

  test('a kept statement past its end is stale, once', async () => {
    await gather();
    now = NOW + 31 * DAY_MS;
    expect(summary(await gather())).toEqual(['network', 'stale']);
    vendors.routes.delete(CRL_PATH);
    expect(summary(await gather())).toEqual(['cache', 'not-found', 'stale']);
    expect(summary(await gather({ offline: true }))).toEqual(['cache', 'stale']);
  });
});

describe('failures of the network', () => {
  test('an older entry is used, and why', async () => {
    await gather();
    now += 2 * DAY_MS;
    vendors.routes.set(CRL_PATH, { status: 500 });
    const outcome = await gather();
    expect(summary(outcome)).toEqual(['cache', 'status']);
    expect(bodyOf(outcome)).toEqual(crl);
  });

  test('a wrong answer does not replace a good entry', async () => {
    await gather();
    vendors.routes.set(CRL_PATH, sends('text/html', '<html>'));
    expect(summary(await gather({ refresh: true }))).toEqual(['cache', 'media-type']);
    expect(summary(await gather())).toEqual(['cache']);
  });

  test('without an entry it is an error', async () => {
    vendors.routes.set(CRL_PATH, { status: 500 });
    expect(summary(await gather())).toEqual(['status']);
    expect(await readdir(folder)).toEqual([]);
  });
});

describe('offline', () => {
  test('a hit, however old, and a miss; nobody is asked', async () => {
    expect(summary(await gather({ offline: true }))).toEqual(['not-cached']);
    expect(vendors.asked).toEqual([]);
    await gather();
    now += 10 * DAY_MS;
    expect(summary(await gather({ offline: true }))).toEqual(['cache']);
    expect(vendors.asked).toHaveLength(1);
  });

  test('needs a cache', async () => {
    await expect(gather({ offline: true, cacheFolder: undefined })).rejects.toThrow(TypeError);
  });
});

describe('damage', () => {
  test.each([
    ['a changed byte', (bytes: Buffer) => Buffer.from(bytes.map((byte, i) => (i === 200 ? byte ^ 1 : byte)))],
    ['a lost end', (bytes: Buffer) => bytes.subarray(0, -1)],
    ['no content', () => Buffer.alloc(0)],
    ['other content', () => Buffer.from('hello')],
    ['too much content', () => Buffer.alloc(9 * 1024 * 1024)],
  ])('%s is found and fetched again', async (_what, damage) => {
    await gather();
    await writeFile(entryPath(), damage(await readFile(entryPath())));
    expect(summary(await gather())).toEqual(['network']);
    expect(summary(await gather())).toEqual(['cache']);
  });

  test('offline it is a miss, and the entry is gone', async () => {
    await gather();
    await writeFile(entryPath(), 'hello');
    expect(summary(await gather({ offline: true }))).toEqual(['not-cached']);
    expect(await readdir(folder)).toEqual([]);
  });

  test('an entry under the name of another is none', async () => {
    await gather();
    const other: CollateralNeed = { kind: 'amd-crl', product: 'milan' };
    await writeFile(entryPath(other), await readFile(entryPath()));
    expect(summary(await gather({ offline: true }, other))).toEqual(['not-cached']);
  });

  test('an entry that is whole but not what its name says is none', async () => {
    const cache = new CollateralCache(folder);
    const received = { body: Buffer.from('no CRL'), chain: [] };
    await cache.write(CRL, { received, fetchedAt: NOW, freshUntil: NOW + DAY_MS });
    expect(summary(await gather({ offline: true }))).toEqual(['not-cached']);
    expect(summary(await gather())).toEqual(['network']);
  });
});

describe('the folder', () => {
  test('is made, for its owner only', async () => {
    const deep = join(folder, 'a', 'b');
    await gather({ cacheFolder: deep });
    expect((await stat(deep)).mode & 0o077).toBe(0);
    const [name] = await readdir(deep);
    expect((await stat(join(deep, name!))).mode & 0o077).toBe(0);
  });

  test('that cannot be written does not stop anything', async () => {
    const file = join(folder, 'file');
    await writeFile(file, '');
    const errors: unknown[] = [];
    const observer = { cacheUnwritable: (error: unknown) => errors.push(error) };
    expect(summary(await gather({ cacheFolder: join(file, 'cache'), observer }))).toEqual(['network']);
    expect(errors).toHaveLength(1);
  });

  test('that is a folder where an entry should be does not stop anything', async () => {
    await mkdir(entryPath());
    const errors: unknown[] = [];
    const observer = { cacheUnwritable: (error: unknown) => errors.push(error) };
    expect(summary(await gather({ observer }))).toEqual(['network']);
    expect(errors).toHaveLength(1);
  });

  const body = Buffer.alloc(1000);
  const received = { body, chain: [] };
  const entry = { received, fetchedAt: NOW, freshUntil: NOW };
  const rim = (id: string): CollateralNeed => ({ kind: 'rim', id });

  test('stays within its size: the least recently used go first', async () => {
    const cache = new CollateralCache(folder, { maxBytes: 3500 });
    for (const [i, id] of ['A', 'B', 'C'].entries()) {
      await cache.write(rim(id), entry);
      await utimes(entryPath(rim(id)), new Date(NOW), new Date(NOW + i * 1000));
    }
    expect(await cache.read(rim('A'))).toBeDefined();
    await cache.write(rim('D'), entry);
    const left = await Promise.all(['A', 'B', 'C', 'D'].map((id) => cache.read(rim(id))));
    expect(left.map((found) => found !== undefined)).toEqual([true, false, true, true]);
  });

  test('leaves alone what is not its own, and sweeps what writers left behind', async () => {
    const cache = new CollateralCache(folder, { maxBytes: 1 });
    const abandoned = join(folder, `${'a'.repeat(64)}.${'b'.repeat(16)}.tmp`);
    const recent = join(folder, `${'c'.repeat(64)}.${'d'.repeat(16)}.tmp`);
    await Promise.all([abandoned, recent, join(folder, 'notes.txt')].map((path) => writeFile(path, 'x')));
    await utimes(abandoned, new Date(0), new Date(0));
    await cache.write(rim('A'), entry);
    expect((await readdir(folder)).sort()).toEqual(
      [recent, join(folder, 'notes.txt')].map((path) => path.slice(folder.length + 1)).sort(),
    );
  });

  test('is safe to share: readers see one whole entry or another', async () => {
    const caches = Array.from({ length: 4 }, () => new CollateralCache(folder, { maxBytes: 5000 }));
    const writes = caches.flatMap((cache, i) =>
      Array.from({ length: 10 }, (_, j) => {
        const content = { body: Buffer.alloc(1000, i * 10 + j), chain: [] };
        return cache.write(rim(`R${j % 3}`), { ...entry, received: content });
      }),
    );
    const reads = caches.flatMap((cache) =>
      Array.from({ length: 20 }, (_, j) => cache.read(rim(`R${j % 3}`))),
    );
    await Promise.all(writes);
    for (const found of await Promise.all(reads)) {
      if (found) expect(new Set(found.received.body).size).toBe(1);
    }
    expect((await readdir(folder)).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  test('lies where other programs keep theirs', () => {
    expect(defaultCacheFolder({ XDG_CACHE_HOME: '/caches' })).toBe('/caches/vouchsafe/collateral');
    expect(defaultCacheFolder({ XDG_CACHE_HOME: 'relative' })).toMatch(/\/\.cache\/vouchsafe\/collateral$/);
    expect(defaultCacheFolder({})).toMatch(/\/\.cache\/vouchsafe\/collateral$/);
  });
});
