import { createHash } from 'node:crypto';
import { readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from '@jest/globals';
import { type Dc, decodeDc } from '../../../attestation/cbor/deterministic.ts';
import {
  hashCudaLibraries,
  HashedLibrary,
  identifyRuntime,
  libraryFolder,
  mappedRuntime,
} from '../../../src/engine/runtime.ts';
import { loadModels } from '../../../src/engine/loader.ts';
import { TUNING } from '../../../src/engine/options.ts';
import { manifestOptions } from '../../../src/engine/session.ts';
import { readStore } from '../../../src/models/store.ts';
import { craftOnnx } from '../../support/onnx.ts';
import { makeStore } from '../../support/store.ts';

const sha256 = (bytes: string | Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** One line of `/proc/self/maps` as Linux writes it. */
const lineOf = (inode: number | bigint, path: string): string =>
  `7f0000000000-7f0000001000 r-xp 00000000 08:01 ${inode}                    ${path}\n`;

async function mapping(path: string): Promise<string> {
  return lineOf((await stat(path, { bigint: true })).ino, path);
}

const LIBRARY = 'libonnxruntime.so.1';
const SHARED = 'libonnxruntime_providers_shared.so';
const CUDA = 'libonnxruntime_providers_cuda.so';

const opened: HashedLibrary[] = [];
afterEach(async () => {
  await Promise.all(opened.splice(0).map((library) => library.close()));
});

async function hashed(path: string): Promise<HashedLibrary> {
  const library = await HashedLibrary.open(path);
  opened.push(library);
  return library;
}

describe('the runtime that is mapped', () => {
  test('is the one whose digest the manifest has', async () => {
    const { build } = await identifyRuntime();
    const file = await readFile(join(libraryFolder(), LIBRARY));
    expect(Buffer.from(build).toString('hex')).toBe(sha256(file));
  });

  test('is found by its name among the mappings', async () => {
    const path = join(await makeStore({ [LIBRARY]: 'a' }), LIBRARY);
    const line = await mapping(path);
    expect(mappedRuntime(`${lineOf(1, '/lib/libc.so.6')}${line}${line}7f00-7f01 rw-p 0 00:00 0\n`)).toBe(
      path,
    );
  });

  test.each<readonly [string, (path: string) => Promise<string>]>([
    ['is another file now', async (path) => lineOf((await stat(path)).ino + 1, path)],
    ['is gone', async (path) => lineOf((await stat(path)).ino, `${path} (deleted)`)],
    ['is there twice', async (path) => (await mapping(path)) + lineOf(1, `${path} (deleted)`)],
    ['is not there', () => Promise.resolve(lineOf(1, '/lib/libc.so.6'))],
  ])('is refused where it %s', async (_, maps) => {
    const path = join(await makeStore({ [LIBRARY]: 'a' }), LIBRARY);
    const text = await maps(path);
    expect(() => mappedRuntime(text)).toThrow(/replaced|more than one|no shared library/);
  });
});

describe('a library that was hashed', () => {
  const made = async (): Promise<string> => join(await makeStore({ [SHARED]: 'bridge' }), SHARED);

  test('is the one that is mapped, also by a link', async () => {
    const path = await made();
    const link = join(await makeStore(), 'link.so');
    await symlink(path, link);
    for (const name of [path, link]) {
      const library = await hashed(name);
      expect(library.hex).toBe(sha256('bridge'));
      await library.requireMapped(await mapping(path));
    }
  });

  test('is refused where another one was mapped in its place', async () => {
    const path = await made();
    const library = await hashed(path);
    await writeFile(`${path}.new`, 'other');
    await rename(`${path}.new`, path);
    await expect(library.requireMapped(await mapping(path))).rejects.toThrow('replaced');
  });

  test('is refused where another one was mapped and then taken away', async () => {
    const path = await made();
    const library = await hashed(path);
    const maps = `${await mapping(path)}${lineOf(1, `${path} (deleted)`)}`;
    await expect(library.requireMapped(maps)).rejects.toThrow('replaced');
  });

  test('is refused where it was written to, or nothing was mapped', async () => {
    const path = await made();
    const library = await hashed(path);
    await expect(library.requireMapped('')).rejects.toThrow('replaced');
    await writeFile(path, 'BRIDGE');
    await expect(library.requireMapped(await mapping(path))).rejects.toThrow('changed');
  });
});

describe('the libraries of CUDA', () => {
  test('are not asked for on the CPU', async () => {
    const { models } = await readStore(await makeStore({ 'sum.onnx': craftOnnx() }));
    const request = { kind: 'load', models, provider: 'cpu', threads: 1, tuning: TUNING } as const;
    const { running, reply } = await loadModels(request);
    expect([reply.failures, reply.fallback]).toEqual([[], undefined]);
    const [, , , options] = decodeDc(running.get('sum')!.loaded.manifest) as readonly Dc[];
    const names = [...(options as ReadonlyMap<string, string>).keys()];
    expect(names.filter((name) => name.startsWith('cuda'))).toEqual([]);
    await running.get('sum')!.release();
  });

  test('are both in the manifest', async () => {
    const folder = await makeStore({ [SHARED]: 'bridge', [CUDA]: 'provider' });
    const { bridge, provider } = await hashCudaLibraries(folder);
    opened.push(bridge, provider);
    const options = manifestOptions({
      provider: 'cuda',
      threads: 1,
      cudaLibrary: provider.hex,
      cudaBridge: bridge.hex,
      device: 0,
      deviceMemoryBytes: undefined,
    });
    expect(options.get('cuda_provider_sha256')).toBe(sha256('provider'));
    expect(options.get('cuda_bridge_sha256')).toBe(sha256('bridge'));
  });

  test('are both wanted', async () => {
    const folder = await makeStore({ [SHARED]: 'bridge', [CUDA]: 'provider' });
    await rm(join(folder, CUDA));
    await expect(hashCudaLibraries(folder)).rejects.toMatchObject({ code: 'ENOENT' });
  });
});
