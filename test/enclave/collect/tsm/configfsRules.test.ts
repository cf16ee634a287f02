import { mkdir, open, readdir, readFile, rmdir, stat, unlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, expect, test } from '@jest/globals';
import { MACHINE } from '../../../support/configfsTsm/messages.ts';
import { describeMounted, mountConfigfsTsm, type ConfigfsTsm } from '../../../support/configfsTsm/mount.ts';

// The rules that a program met on Linux 6.12 with a provider registered in the kernel. The collector is tested on this
// file system, so it has to have them all.

const A = new Uint8Array(64).fill(0xa1);
const B = new Uint8Array(64).fill(0xb2);

let configfs: ConfigfsTsm;
let request: string;
let count = 0;

describeMounted('the file system that stands for configfs-tsm', () => {
  beforeAll(async () => {
    configfs = await mountConfigfsTsm((wanted) => Promise.resolve({ outblob: wanted.inblob }));
  });

  afterAll(() => configfs.unmount());

  async function make(): Promise<string> {
    request = join(configfs.folder, 'tsm/report', `request-${count++}`);
    await mkdir(request);
    return request;
  }

  afterEach(async () => {
    await configfs.set(MACHINE);
    await rmdir(request).catch(() => undefined);
  });

  const read = (name: string) => readFile(join(request, name));
  const text = (name: string) => readFile(join(request, name), 'latin1');
  const write = (bytes: Uint8Array | string, name = 'inblob') => writeFile(join(request, name), bytes);
  const errorOf = (step: Promise<unknown>) =>
    step.then(
      () => 'success',
      (error: unknown) => (error as NodeJS.ErrnoException).code,
    );

  test('a request has its attributes, of size 0, and ends with rmdir', async () => {
    await make();
    expect(new Set(await readdir(request))).toEqual(
      new Set(['generation', 'provider', 'privlevel', 'privlevel_floor', 'inblob', 'outblob', 'auxblob']),
    );
    expect((await stat(join(request, 'outblob'))).size).toBe(0);
    expect(await text('provider')).toBe('sev_guest\n');
    expect(await errorOf(unlink(join(request, 'inblob')))).toBe('EPERM');
    expect(await errorOf(mkdir(request))).toBe('EEXIST');
    await rmdir(request);
    expect(await errorOf(stat(request))).toBe('ENOENT');
  });

  test('each write is a generation, taken when the file is closed', async () => {
    await make();
    expect(await text('generation')).toBe('0\n');
    const file = await open(join(request, 'inblob'), 'w');
    await file.write(A);
    expect(await text('generation')).toBe('0\n');
    await file.close();
    expect(await text('generation')).toBe('1\n');
    expect(new Uint8Array(await read('outblob'))).toEqual(A);
    await write('1\n', 'privlevel');
    expect(await text('generation')).toBe('2\n');
  });

  test('a blob is made once for each generation, for parallel readers too', async () => {
    await make();
    await write(A);
    const { reports } = await configfs.observe();
    const blobs = await Promise.all([read('outblob'), read('outblob'), read('auxblob')]);
    expect(blobs.map(({ length }) => length)).toEqual([64, 64, 0]);
    expect((await configfs.observe()).reports).toBe(reports + 1);
    await write(B);
    expect(new Uint8Array(await read('outblob'))).toEqual(B);
  });

  test('an open file keeps the blob of its first read', async () => {
    await make();
    await write(A);
    const file = await open(join(request, 'outblob'));
    const first = Buffer.alloc(32);
    await file.read(first, 0, 32, null);
    await write(B);
    await rmdir(request);
    const second = Buffer.alloc(64);
    const { bytesRead } = await file.read(second, 0, 64, null);
    await file.close();
    expect([...first, ...second.subarray(0, bytesRead)]).toEqual([...A]);
  });

  test('nothing is read before something is written', async () => {
    await make();
    expect(await errorOf(read('outblob'))).toBe('EINVAL');
    expect(await errorOf(read('auxblob'))).toBe('EINVAL');
  });

  test('too many bytes are refused, and what came before them is taken', async () => {
    await make();
    expect(await errorOf(write(new Uint8Array(65)))).toBe('EFBIG');
    expect(await text('generation')).toBe('1\n');
    expect(await errorOf(read('outblob'))).toBe('EINVAL');
    await write(new Uint8Array());
    expect(await text('generation')).toBe('1\n');
  });

  test('a driver refuses another number of bytes than 64 when it is read', async () => {
    await make();
    await write(A.subarray(1));
    expect(await errorOf(read('outblob'))).toBe('EINVAL');
  });

  test('modes hold for root', async () => {
    await make();
    expect(await errorOf(read('inblob'))).toBe('EACCES');
    expect(await errorOf(open(join(request, 'inblob'), 'r+'))).toBe('EACCES');
    expect(await errorOf(write(A, 'outblob'))).toBe('EACCES');
  });

  test.each(['0\n', '4', '-1', 'two'])('privilege level %j below the floor is refused', async (level) => {
    await configfs.set({ privlevelFloor: 1 });
    await make();
    expect(await text('privlevel_floor')).toBe('1\n');
    expect(await errorOf(write(level, 'privlevel'))).toBe('EINVAL');
    expect(await text('generation')).toBe('0\n');
  });

  test('without a driver no request is made, without the module there is no folder', async () => {
    await configfs.set({ provider: null });
    expect(await errorOf(make())).toBe('ENXIO');
    await configfs.set({ isLoaded: false });
    expect(await errorOf(make())).toBe('ENOENT');
  });

  test('TDX has no privilege levels and no certificates', async () => {
    await configfs.set({ provider: 'tdx_guest' });
    await make();
    expect(new Set(await readdir(request))).toEqual(new Set(['generation', 'provider', 'inblob', 'outblob']));
  });

  test('services of an SVSM show where there is one', async () => {
    await configfs.set({ hasSvsm: true });
    await make();
    expect(await readdir(request)).toEqual(expect.arrayContaining(['service_provider', 'manifestblob']));
  });
});
