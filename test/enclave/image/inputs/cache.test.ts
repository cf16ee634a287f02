import { createHash } from 'node:crypto';
import { readdir, readFile, writeFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { InputCache, type CacheOptions } from '../../../../enclave/image/inputs/cache.ts';
import type { DebianPin, NpmPin } from '../../../../enclave/image/inputs/pins.ts';
import { inFolder } from '../../../support/folder.ts';

const CONTENT = Buffer.from('a package '.repeat(1000));
const sha256 = createHash('sha256').update(CONTENT).digest('hex');
const PIN: DebianPin = {
  kind: 'debian',
  name: 'libc6',
  version: '2.41-12+deb13u4',
  archive: 'debian',
  path: 'pool/main/g/glibc/libc6_2.41-12+deb13u4_amd64.deb',
  bytes: CONTENT.length,
  sha256,
  source: [{ name: 'glibc', version: '2.41-12+deb13u4' }],
  uses: ['root'],
};
const NPM: NpmPin = {
  kind: 'npm',
  name: '@scope/name',
  version: '1.0.0',
  path: '@scope/name/-/name-1.0.0.tgz',
  integrity: `sha512-${createHash('sha512').update(CONTENT).digest('base64')}`,
  uses: ['root'],
};

type Answer = (response: ServerResponse, request: IncomingMessage) => void;
/** What each mirror answers, by the first part of the path. */
let answers: Readonly<Record<string, Answer>> = {};
let asked: string[] = [];
let origin = '';

const whole: Answer = (response) => void response.end(CONTENT);
const missing: Answer = (response) => void response.writeHead(404).end('none');
const half: Answer = (response) => {
  response.writeHead(200, { 'content-length': CONTENT.length });
  response.write(CONTENT.subarray(0, 4000), () => response.destroy());
};
const rest: Answer = (response, { headers }) => {
  const from = Number(/^bytes=(\d+)-$/.exec(headers.range ?? '')?.[1] ?? 0);
  response.writeHead(from > 0 ? 206 : 200).end(CONTENT.subarray(from));
};
const other: Answer = (response) => void response.end(Buffer.from(CONTENT).fill('x'));
const endless: Answer = (response) => void response.end(Buffer.concat([CONTENT, CONTENT]));

const server = createServer((request, response) => {
  asked.push(request.url ?? '');
  answers[request.url?.split('/')[1] ?? '']?.(response, request);
});

beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});
beforeEach(() => {
  asked = [];
});
afterAll(() => {
  server.closeAllConnections();
  server.close();
});

/** A cache in a folder of its own, with mirrors `a` and `b`. */
async function withCache(
  body: (cache: InputCache, folder: string) => Promise<void>,
  options: Partial<CacheOptions> = {},
): Promise<void> {
  await inFolder(async (parent) => {
    const folder = join(parent, 'cache');
    const mirrors = ['a', 'b'].map((name) => `${origin}/${name}/{archive}/{path}`);
    await body(new InputCache({ folder, mirrors, registry: `${origin}/npm/`, ...options }), folder);
  });
}

function refusal(code: string): unknown {
  return expect.objectContaining({ code });
}

describe('the cache of inputs', () => {
  test('fetches a file once and keeps it under its digest', async () => {
    answers = { a: whole };
    await withCache(async (cache, folder) => {
      const progress: number[] = [];
      const path = await cache.file(PIN);
      expect(await readFile(path)).toEqual(CONTENT);
      expect(await cache.get(PIN)).toEqual({ path, bytes: CONTENT.length, sha256 });
      expect(await readdir(folder)).toEqual([`sha256-${sha256}`]);
      const later = new InputCache({
        folder,
        offline: true,
        onProgress: ({ received }) => progress.push(received),
      });
      expect(await later.file(PIN)).toBe(path);
      expect(progress).toEqual([]);
      expect(asked).toEqual(['/a/debian/pool/main/g/glibc/libc6_2.41-12%2Bdeb13u4_amd64.deb']);
    });
  });

  test('asks for a file once when several need it', async () => {
    answers = { a: whole };
    await withCache(async (cache) => {
      const [first, second] = await Promise.all([cache.file(PIN), cache.file(PIN)]);
      expect(first).toBe(second);
      expect(asked).toHaveLength(1);
    });
  });

  test('says how far a download is', async () => {
    answers = { a: whole };
    const seen: unknown[] = [];
    await withCache(
      async (cache) => {
        await cache.file(PIN);
        expect(seen.at(-1)).toEqual({
          name: 'libc6 2.41-12+deb13u4',
          received: CONTENT.length,
          total: CONTENT.length,
        });
      },
      { onProgress: (progress) => seen.push(progress) },
    );
  });

  test('packages of npm come from the registry and are named by the digest of the lock file', async () => {
    answers = { npm: whole };
    await withCache(async (cache, folder) => {
      expect((await cache.get(NPM)).sha256).toBe(sha256);
      expect((await readdir(folder))[0]).toMatch(/^sha512-[0-9a-f]{128}$/);
      expect(asked).toEqual(['/npm/@scope/name/-/name-1.0.0.tgz']);
    });
  });

  test.each<[string, Answer, Answer]>([
    ['does not have it', missing, whole],
    ['has another file', other, whole],
    ['has a larger file', endless, whole],
    ['breaks off, and goes on where it did', half, rest],
    ['breaks off, and begins again', half, whole],
  ])('asks the next mirror where one %s', async (_, a, b) => {
    answers = { a, b };
    await withCache(async (cache, folder) => {
      expect(await readFile(await cache.file(PIN))).toEqual(CONTENT);
      expect(await readdir(folder)).toHaveLength(1);
    });
  });

  test('begins again where the part that is there was that of another file', async () => {
    const wrong: Answer = (response) => {
      response.writeHead(200, { 'content-length': CONTENT.length });
      response.write(Buffer.alloc(4000, 'x'), () => response.destroy());
    };
    answers = { a: wrong, b: rest };
    await withCache(async (cache) => {
      expect(await readFile(await cache.file(PIN))).toEqual(CONTENT);
    });
  });

  test.each<[string, string, Answer]>([
    ['is missing everywhere', 'IMAGE_INPUT_UNAVAILABLE', missing],
    ['breaks off everywhere', 'IMAGE_INPUT_UNAVAILABLE', half],
    ['is another one everywhere', 'IMAGE_INPUT_CHANGED', other],
    ['is larger everywhere', 'IMAGE_INPUT_CHANGED', endless],
  ])('refuses a file that %s, and leaves nothing behind', async (_, code, answer) => {
    answers = { a: answer, b: answer };
    await withCache(async (cache, folder) => {
      await expect(cache.file(PIN)).rejects.toEqual(refusal(code));
      expect(await readdir(folder)).toEqual([]);
    });
  });

  test('fetches nothing when it is offline', async () => {
    await withCache(
      async (cache) => {
        await expect(cache.file(PIN)).rejects.toEqual(refusal('IMAGE_INPUT_UNAVAILABLE'));
        expect(asked).toEqual([]);
      },
      { offline: true },
    );
  });

  test('a file that was changed in the cache is fetched again, and refused without a network', async () => {
    answers = { a: whole };
    await withCache(async (cache, folder) => {
      const path = await cache.file(PIN);
      await writeFile(path, Buffer.from(CONTENT).fill('y'));
      await expect(new InputCache({ folder, offline: true }).file(PIN)).rejects.toEqual(
        refusal('IMAGE_INPUT_CHANGED'),
      );
      const again = new InputCache({ folder, mirrors: [`${origin}/a/{path}`] });
      expect(await readFile(await again.file(PIN))).toEqual(CONTENT);
    });
  });

  test('without a registry there is no address for packages of npm', async () => {
    await inFolder(async (folder) => {
      await expect(new InputCache({ folder }).file(NPM)).rejects.toEqual(refusal('IMAGE_INPUT_UNAVAILABLE'));
    });
  });
});
