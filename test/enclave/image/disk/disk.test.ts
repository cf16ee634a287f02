import { open, readFile, stat, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { writeDisk } from '../../../../enclave/image/disk/disk.ts';
import { buildErofs } from '../../../../enclave/image/disk/erofs.ts';
import { buildEsp, espSize } from '../../../../enclave/image/disk/esp.ts';
import { PARTITION_TYPES, SECTOR_BYTES, TABLE_BYTES } from '../../../../enclave/image/disk/gpt.ts';
import { readPartitionTable } from '../../../../enclave/image/disk/readGpt.ts';
import { ImageError } from '../../../../enclave/image/errors.ts';
import { inFolder } from '../../../support/folder.ts';
import { outputOf, testWith } from '../../../support/programs.ts';

const DISK = '0f9d4c1e-7a35-4a0c-9c3e-5d1f0a7b6e21';
const MEBIBYTE = 1024 * 1024;

interface Call {
  readonly tool: string;
  readonly args: readonly string[];
  readonly options: { readonly cwd?: string; readonly env?: Readonly<Record<string, string>> };
}

/** Tools that only remember what they were asked. */
function recorder(): {
  calls: Call[];
  run(tool: string, args: readonly string[], options?: Call['options']): Promise<string>;
} {
  const calls: Call[] = [];
  return {
    calls,
    run: (tool, args, options = {}) => {
      calls.push({ tool, args, options });
      return Promise.resolve('');
    },
  };
}

describe('a disk', () => {
  async function write(folder: string) {
    const [first, second] = [join(folder, 'first'), join(folder, 'second')];
    await writeFile(first, Buffer.alloc(3 * MEBIBYTE + 5, 0x11));
    await writeFile(second, '');
    await truncate(second, 2 * MEBIBYTE);
    const partition = { type: PARTITION_TYPES.root, readOnly: true };
    return writeDisk(join(folder, 'disk'), DISK, [
      { ...partition, name: 'first', guid: '00112233-4455-6677-8899-aabbccddeeff', path: first },
      { ...partition, name: 'second', guid: '10112233-4455-6677-8899-aabbccddeeff', path: second },
    ]);
  }

  test('has tables at both ends, and each file where its partition begins', async () => {
    await inFolder(async (folder) => {
      const table = await write(folder);
      const disk = await readFile(join(folder, 'disk'));
      expect(disk.length).toBe(table.sectors * SECTOR_BYTES);
      expect(disk.subarray(0, TABLE_BYTES).equals(table.primary)).toBe(true);
      expect(disk.subarray(disk.length - table.backup.length).equals(table.backup)).toBe(true);
      const [first, second] = readPartitionTable(disk.subarray(0, TABLE_BYTES)).partitions;
      const start = first!.firstSector * SECTOR_BYTES;
      expect(
        disk.subarray(start, start + 3 * MEBIBYTE + 5).equals(Buffer.alloc(3 * MEBIBYTE + 5, 0x11)),
      ).toBe(true);
      expect(second!.firstSector * SECTOR_BYTES).toBe(5 * MEBIBYTE);
      expect(disk.subarray(5 * MEBIBYTE, 7 * MEBIBYTE).every((byte) => byte === 0)).toBe(true);
    });
  });

  test('is the same when it is written again over another', async () => {
    await inFolder(async (folder) => {
      await write(folder);
      const before = await readFile(join(folder, 'disk'));
      await writeFile(join(folder, 'disk'), Buffer.alloc(before.length + 9, 0xff));
      await write(folder);
      expect((await readFile(join(folder, 'disk'))).equals(before)).toBe(true);
    });
  });

  test('without a file of a partition is not made', async () => {
    const missing = [
      {
        name: 'root',
        type: PARTITION_TYPES.root,
        guid: '00112233-4455-6677-8899-aabbccddeeff',
        path: '/nowhere/at/all',
        readOnly: true,
      },
    ];
    await inFolder(async (folder) => {
      await expect(writeDisk(join(folder, 'disk'), DISK, missing)).rejects.toMatchObject({ code: 'ENOENT' });
    });
  });
});

describe('the EFI system partition', () => {
  test.each([
    [1, 4],
    [20 * MEBIBYTE, 4],
    [120 * MEBIBYTE, 4],
    [200 * MEBIBYTE, 8],
    [700 * MEBIBYTE, 32],
  ])('for %i bytes is FAT16 with room for them', (bytes, sectorsPerCluster) => {
    const size = espSize(bytes);
    expect(size.sectorsPerCluster).toBe(sectorsPerCluster);
    const clusters = size.sectors / sectorsPerCluster;
    expect(clusters).toBeGreaterThan(4085 + 100);
    expect(clusters).toBeLessThan(65_525);
    expect(size.sectors * SECTOR_BYTES).toBeGreaterThanOrEqual(bytes + 400 * 1024);
    expect(size.sectors % 2048).toBe(0);
  });

  test('cannot hold 4 GB', () => {
    expect(() => espSize(4 * 2 ** 30)).toThrow(ImageError);
  });

  test('is made with a fixed time, serial number and geometry, and named without its path', async () => {
    await inFolder(async (folder) => {
      const [uki, out] = [join(folder, 'uki'), join(folder, 'esp')];
      await writeFile(uki, 'x');
      const tools = recorder();
      await buildEsp(tools, uki, out);
      expect((await stat(out)).size).toBe(espSize(1).sectors * SECTOR_BYTES);
      for (const { args, options } of tools.calls) {
        expect(args.slice(0, 2)).toEqual(['-i', 'esp']);
        expect(options).toEqual({ cwd: folder, env: { SOURCE_DATE_EPOCH: '315532800' } });
      }
      expect(tools.calls.map(({ tool, args }) => [tool, ...args.slice(2)])).toEqual([
        [
          'mformat',
          '-T',
          '18432',
          '-h',
          '64',
          '-s',
          '32',
          '-c',
          '4',
          '-N',
          '56534641',
          '-v',
          'VOUCHSAFE',
          '::',
        ],
        ['mmd', '::EFI', '::EFI/BOOT'],
        ['mcopy', uki, '::EFI/BOOT/BOOTX64.EFI'],
      ]);
    });
  });

  testWith('mformat', 'holds the file, by mtools', async (mformat) => {
    await inFolder(async (folder) => {
      const [uki, out] = [join(folder, 'uki'), join(folder, 'esp')];
      await writeFile(uki, Buffer.alloc(3 * MEBIBYTE, 0x42));
      const tools = {
        run: (tool: string, args: readonly string[], options: { readonly cwd?: string } = {}) =>
          outputOf(
            mformat.replace(/mformat$/, tool),
            ...args.map((one) => (one === 'esp' ? join(options.cwd ?? '', one) : one)),
          ),
      };
      await buildEsp(tools, uki, out);
      const listing = await outputOf(mformat.replace(/mformat$/, 'mdir'), '-b', '-/', '-i', out, '::');
      expect(listing).toContain('::/EFI/BOOT/BOOTX64.EFI');
    });
  });
});

describe('a read-only file system', () => {
  test('is made of a tar archive with nothing of the build machine', async () => {
    await inFolder(async (folder) => {
      const [tar, out] = [join(folder, 'tar'), join(folder, 'erofs')];
      await (await open(out, 'w')).close();
      const tools = recorder();
      await buildErofs(tools, tar, out, { uuid: DISK, compressed: true });
      await buildErofs(tools, tar, out, { uuid: DISK, compressed: false });
      const fixed = ['--quiet', '--tar=f', '-b4096', '-T0', `-U${DISK}`, '--workers=1'];
      const compression = ['-zlz4hc,level=9', '-C65536', '-Efragments,ztailpacking'];
      expect(tools.calls.map(({ tool, args }) => [tool, ...args])).toEqual([
        ['mkfs.erofs', ...fixed, ...compression, out, tar],
        ['mkfs.erofs', ...fixed, out, tar],
      ]);
    });
  });
});
