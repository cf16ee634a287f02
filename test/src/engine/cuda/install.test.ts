import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { copyFile, mkdtemp, readdir, rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import { Header } from 'tar';
import { installCuda, type InstallOptions } from '../../../../src/engine/cuda/install.ts';
import { CUDA_RELEASE, type CudaRelease } from '../../../../src/engine/cuda/release.ts';
import { libraryStates } from '../../../../src/engine/cuda/digest.ts';

const SHARED = 'libshared.so';
const CUDA = 'libcuda-provider.so';
const FOLDER = 'package/lib';
const BYTES = { [SHARED]: Buffer.alloc(700, 'shared'), [CUDA]: Buffer.alloc(300_000, 'cuda provider ') };
const MACHINE = { platform: 'linux', arch: 'x64' };

let root: string;
let folder: string;
beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'vouchsafe-cuda-'));
  folder = join(root, 'runtime');
  mkdirSync(folder);
});
afterEach(() => rm(root, { recursive: true, force: true }));

const servers: Server[] = [];
afterAll(() => {
  for (const server of servers) server.close();
});

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

interface Entry {
  readonly path: string;
  readonly content?: Uint8Array;
  readonly type?: 'File' | 'SymbolicLink' | 'Link' | 'Directory';
  readonly linkpath?: string;
}

const LIBRARIES: readonly Entry[] = [
  { path: `${FOLDER}/${SHARED}`, content: BYTES[SHARED] },
  { path: `${FOLDER}/${CUDA}`, content: BYTES[CUDA] },
];
const WHOLE: readonly Entry[] = [
  { path: 'package/README.md', content: Buffer.from('read me') },
  ...LIBRARIES,
];

/** An archive of these entries, written by hand: those of an attacker have paths that no packer writes. */
function mint(entries: readonly Entry[]): Buffer {
  const blocks = entries.flatMap(({ path, content = Buffer.alloc(0), type = 'File', linkpath = '' }) => {
    const header = new Header({
      path,
      type,
      linkpath,
      size: content.length,
      mode: 0o644,
      mtime: new Date(0),
    });
    const head = Buffer.alloc(512);
    header.encode(head, 0);
    return [head, content, Buffer.alloc((512 - (content.length % 512)) % 512)];
  });
  return gzipSync(Buffer.concat([...blocks, Buffer.alloc(1024)]));
}

/** A table that pins this archive and the libraries. */
function pin(archive: Uint8Array, libraries: Readonly<Record<string, Uint8Array>> = BYTES): CudaRelease {
  const name = 'archive.tgz';
  const pinned = { name, package: 'p@1', folder: FOLDER, size: archive.length, sha256: sha256(archive) };
  return {
    ...CUDA_RELEASE,
    libraries: Object.entries(libraries).map(([library, bytes]) => ({
      name: library,
      size: bytes.length,
      sha256: sha256(bytes),
    })),
    archives: [pinned],
  };
}

function write(archive: Uint8Array): string {
  const path = join(root, 'given.tgz');
  writeFileSync(path, archive);
  return path;
}

function install(release: CudaRelease, options: Partial<InstallOptions> = {}) {
  return installCuda({ folder, runtime: CUDA_RELEASE.runtime, release, platform: MACHINE, ...options });
}

/** Installs an archive that the table pins. */
function installArchive(entries: readonly Entry[], options: Partial<InstallOptions> = {}) {
  const archive = mint(entries);
  return install(pin(archive), { from: write(archive), ...options });
}

/** Nothing is in the folder, nor beside it. */
async function expectNothing(): Promise<void> {
  expect(await readdir(folder)).toEqual([]);
  expect((await readdir(root)).filter((name) => !['runtime', 'given.tgz'].includes(name))).toEqual([]);
}

describe('an installation', () => {
  test('puts the pinned libraries in place, and nothing else', async () => {
    const done = await installArchive(WHOLE);
    expect(done).toEqual({ installed: [SHARED, CUDA], replaced: [], archive: 'archive.tgz' });
    expect((await readdir(folder)).sort()).toEqual([CUDA, SHARED].sort());
    expect(readFileSync(join(folder, CUDA)).equals(BYTES[CUDA])).toBe(true);
    expect(statSync(join(folder, CUDA)).mode & 0o777).toBe(0o644);
  });

  test('is done once: the second asks for nothing', async () => {
    const archive = mint(WHOLE);
    await install(pin(archive), { from: write(archive) });
    const before = statSync(join(folder, CUDA)).ino;
    const done = await install(pin(archive), { from: join(root, 'none') });
    expect(done).toEqual({ installed: [], replaced: [], archive: undefined });
    expect(statSync(join(folder, CUDA)).ino).toBe(before);
  });

  test('replaces what is not pinned, and only that', async () => {
    writeFileSync(join(folder, CUDA), 'another build');
    writeFileSync(join(folder, SHARED), BYTES[SHARED]);
    const done = await installArchive(WHOLE);
    expect(done).toMatchObject({ installed: [CUDA], replaced: [CUDA] });
    expect(await libraryStates(pin(mint(WHOLE)), folder)).toEqual([
      { name: SHARED, state: 'pinned' },
      { name: CUDA, state: 'pinned' },
    ]);
  });

  test('that is a rehearsal leaves nothing', async () => {
    expect(await installArchive(WHOLE, { dryRun: true })).toMatchObject({ installed: [SHARED, CUDA] });
    await expectNothing();
  });

  test('tells of its progress up to the end', async () => {
    const last = new Map<string, readonly [number, number | undefined]>();
    await installArchive(WHOLE, { onProgress: (phase, done, total) => last.set(phase, [done, total]) });
    for (const [done, total] of last.values()) expect(done).toBe(total);
    expect([...last.keys()]).toEqual(['check', 'extract']);
  });

  test('asks npm where no place is named', async () => {
    const archive = mint(WHOLE);
    const path = write(archive);
    const asked: string[] = [];
    const done = await install(pin(archive), {
      pack: async (name, scratch) => {
        asked.push(name);
        await copyFile(path, join(scratch, 'p-1.tgz'));
      },
    });
    expect([asked, done.installed]).toEqual([['p@1'], [SHARED, CUDA]]);
  });

  test('removes what a killed one left', async () => {
    mkdirSync(join(folder, '.vouchsafe-cuda-4194305-00'));
    mkdirSync(join(folder, `.vouchsafe-cuda-${process.pid}-00`));
    await installArchive(WHOLE);
    const left = (await readdir(folder)).filter((name) => name.startsWith('.'));
    expect(left).toEqual([`.vouchsafe-cuda-${process.pid}-00`]);
  });
});

describe('refused, and nothing is left', () => {
  afterEach(expectNothing);

  test('another archive of the same size', async () => {
    const archive = mint(WHOLE);
    const other = Buffer.from(archive);
    other[other.length - 9]! ^= 1;
    const refused = install(pin(archive), { from: write(other) });
    await expect(refused).rejects.toMatchObject({ code: 'ARCHIVE_UNKNOWN' });
  });

  test('a truncated archive', async () => {
    const archive = mint(WHOLE);
    const refused = install(pin(archive), { from: write(archive.subarray(0, archive.length / 2)) });
    await expect(refused).rejects.toMatchObject({ code: 'ARCHIVE_UNKNOWN' });
  });

  test('an archive that is pinned and cut', async () => {
    const archive = mint(WHOLE);
    const cut = archive.subarray(0, archive.length - 40);
    await expect(install(pin(cut), { from: write(cut) })).rejects.toMatchObject({
      code: 'ARCHIVE_MALFORMED',
    });
  });

  test('a library with another digest', async () => {
    const wrong = Buffer.from(BYTES[CUDA]);
    wrong[5]! ^= 1;
    const refused = installArchive([LIBRARIES[0]!, { path: `${FOLDER}/${CUDA}`, content: wrong }]);
    await expect(refused).rejects.toMatchObject({ code: 'LIBRARY_UNKNOWN' });
  });

  test('a library of another size', async () => {
    const short = { path: `${FOLDER}/${CUDA}`, content: BYTES[CUDA].subarray(1) };
    await expect(installArchive([LIBRARIES[0]!, short])).rejects.toMatchObject({ code: 'ARCHIVE_MALFORMED' });
  });

  test('an archive without one of the libraries', async () => {
    await expect(installArchive([LIBRARIES[0]!])).rejects.toMatchObject({ code: 'ARCHIVE_MALFORMED' });
  });

  test('a library that is there twice', async () => {
    const twice = installArchive([...LIBRARIES, LIBRARIES[1]!]);
    await expect(twice).rejects.toMatchObject({ code: 'ARCHIVE_MALFORMED' });
  });

  test.each(['SymbolicLink', 'Link', 'Directory'] as const)('a library that is a %s', async (type) => {
    const link = { path: `${FOLDER}/${CUDA}`, type, linkpath: '/etc/passwd' };
    await expect(installArchive([LIBRARIES[0]!, link])).rejects.toMatchObject({ code: 'ARCHIVE_MALFORMED' });
  });

  test.each([`../${CUDA}`, `/tmp/${CUDA}`, `${FOLDER}/../../../${CUDA}`, `${FOLDER}/./${CUDA}`, CUDA])(
    'a library at %s',
    async (path) => {
      const escaped = installArchive([LIBRARIES[0]!, { path, content: BYTES[CUDA] }]);
      await expect(escaped).rejects.toMatchObject({ code: 'ARCHIVE_MALFORMED' });
    },
  );

  test('a file that is not there', async () => {
    const refused = install(pin(mint(WHOLE)), { from: join(root, 'none') });
    await expect(refused).rejects.toMatchObject({ code: 'ARCHIVE_UNREADABLE' });
  });

  test('an npm that fails', async () => {
    const pack = () => Promise.reject(new Error('no network'));
    await expect(install(pin(mint(WHOLE)), { pack })).rejects.toMatchObject({ code: 'ARCHIVE_UNREACHABLE' });
  });

  test('another runtime and another platform', async () => {
    const release = pin(mint(WHOLE));
    await expect(install(release, { runtime: '1.30.0' })).rejects.toMatchObject({ code: 'RUNTIME_MISMATCH' });
    const mac = install(release, { platform: { platform: 'darwin', arch: 'arm64' } });
    await expect(mac).rejects.toMatchObject({ code: 'PLATFORM_UNSUPPORTED' });
  });

  test.each(['check', 'extract'] as const)('an interruption in the phase %s', async (phase) => {
    const interrupted = new AbortController();
    const onProgress = (now: string, done: number): void => {
      if (now === phase && done > 0) interrupted.abort();
    };
    const refused = installArchive(WHOLE, { signal: interrupted.signal, onProgress });
    await expect(refused).rejects.toMatchObject({ code: 'INTERRUPTED' });
  });
});

describe('a mirror', () => {
  async function serve(body: Uint8Array, status = 200): Promise<string> {
    const server = createServer((_request, response) => response.writeHead(status).end(body));
    servers.push(server);
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    return `http://127.0.0.1:${(server.address() as AddressInfo).port}/archive.tgz`;
  }

  test('is asked by its address', async () => {
    const archive = mint(WHOLE);
    const done = await install(pin(archive), { from: await serve(archive) });
    expect(done.installed).toEqual([SHARED, CUDA]);
  });

  test('that sends more than is pinned is cut off', async () => {
    const archive = mint(WHOLE);
    const from = await serve(Buffer.concat([archive, Buffer.alloc(1)]));
    await expect(install(pin(archive), { from })).rejects.toMatchObject({ code: 'ARCHIVE_UNKNOWN' });
    await expectNothing();
  });

  test('that has nothing, or is not there, is told', async () => {
    const archive = mint(WHOLE);
    const from = await serve(Buffer.from('gone'), 404);
    await expect(install(pin(archive), { from })).rejects.toMatchObject({ code: 'ARCHIVE_UNREACHABLE' });
    const nobody = install(pin(archive), { from: 'http://127.0.0.1:9/archive.tgz' });
    await expect(nobody).rejects.toMatchObject({ code: 'ARCHIVE_UNREACHABLE' });
    await expectNothing();
  });
});

test('the table that ships pins whole digests, and the library that is looked for comes last', () => {
  const { libraries, archives } = CUDA_RELEASE;
  for (const { sha256: digest } of [...libraries, ...archives]) expect(digest).toMatch(/^[0-9a-f]{64}$/);
  expect(libraries.at(-1)?.name).toBe('libonnxruntime_providers_cuda.so');
  expect(dirname(archives[0]!.folder)).not.toContain('..');
});
