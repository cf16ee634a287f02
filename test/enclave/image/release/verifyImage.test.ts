import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { ImageError } from '../../../../enclave/image/errors.ts';
import type { ImageManifest } from '../../../../enclave/image/release/manifest.ts';
import { readManifest, verifyFiles, type VerifyStep } from '../../../../enclave/image/release/verifyImage.ts';
import { mintFirmware, SEV_AND_TDX } from '../../../support/mintedFirmware.ts';
import { type Minted, mintImage } from './mintedImage.ts';

const FIRMWARE = mintFirmware(SEV_AND_TDX);

let minted: Minted;
let firmware: string;

beforeAll(async () => {
  const { folder } = await mintImage();
  firmware = join(folder, 'OVMF.amdsev.fd');
  await writeFile(firmware, FIRMWARE);
  minted = await mintImage({
    models: 'weights',
    profiles: [
      { platform: 'tpm', bank: 'sha256', boot: 'disk' },
      {
        platform: 'snp',
        boot: 'direct',
        firmware,
        vmm: 'qemu',
        vcpus: 2,
        cpu: 'EPYC-Milan',
        guestFeatures: '0x1',
      },
      { platform: 'tdx', boot: 'disk', firmware, pageOrder: 'one-pass', separators: 1 },
    ],
  });
});

async function verify(
  manifest: ImageManifest = minted.manifest,
  given: readonly string[] = [firmware],
): Promise<readonly VerifyStep[]> {
  const steps: VerifyStep[] = [];
  await verifyFiles(minted.folder, manifest, given, (step) => steps.push(step));
  return steps;
}

const bad = (steps: readonly VerifyStep[]): readonly string[] =>
  steps.filter(({ result }) => result === 'bad').map(({ what }) => what);

/** Changes one byte of a file while something is done. */
async function altered<Result>(name: string, offset: number, act: () => Promise<Result>): Promise<Result> {
  const path = join(minted.folder, name);
  const before = await readFile(path);
  const after = Buffer.from(before);
  after.writeUInt8(after.readUInt8(offset) ^ 1, offset);
  await writeFile(path, after);
  try {
    return await act();
  } finally {
    await writeFile(path, before);
  }
}

describe('verifying an image', () => {
  test('computes files, trees, disk and all values again', async () => {
    const steps = await verify(await readManifest(minted.folder));
    expect(steps.filter(({ result }) => result !== 'good')).toEqual([]);
    expect(steps.slice(-7).map(({ what }) => what)).toEqual([
      'hash tree of root',
      'hash tree of models',
      'disk',
      'measured parts',
      'values of tpm sha256 disk',
      'values of snp qemu OVMF.amdsev.fd 2 vcpus EPYC-Milan 0x1',
      'values of tdx disk OVMF.amdsev.fd one-pass',
    ]);
  });

  test('says which firmware it needs for values that it cannot compute', async () => {
    const skipped = (await verify(minted.manifest, [])).filter(({ result }) => result === 'skipped');
    expect(skipped.map(({ what }) => what)).toHaveLength(2);
    expect(skipped[0]?.detail).toMatch(/OVMF\.amdsev\.fd, SHA-256 [0-9a-f]{64}$/);
  });

  test.each([
    ['root.erofs', ['file root.erofs', 'hash tree of root']],
    ['root.verity', ['file root.verity', 'hash tree of root']],
    ['models.erofs', ['file models.erofs', 'hash tree of models']],
    ['initrd', ['file initrd', 'measured parts']],
    ['kernel', ['file kernel', 'measured parts']],
    ['cmdline', ['file cmdline', 'measured parts']],
  ])('names what one changed byte of %s is in', async (name, expected) => {
    expect(bad(await altered(name, 0, verify))).toEqual(expected);
  });

  test('finds a byte of the disk that is in no other file', async () => {
    const root = minted.manifest.parts.partitions.find(({ name }) => name === 'root')!;
    const inRoot = await altered('disk.raw', root.firstSector * 512 + 5000, verify);
    expect(bad(inRoot)).toEqual(['file disk.raw', 'disk']);
    const table = await altered('disk.raw', 1024 + 56, verify);
    expect(bad(table)).toEqual([
      'file disk.raw',
      'disk',
      'values of tpm sha256 disk',
      'values of tdx disk OVMF.amdsev.fd one-pass',
    ]);
  });

  test('a manifest that fits another image is not of this one', async () => {
    const other = (await mintImage({ models: 'weights', init: 'another' })).manifest;
    const steps = await verify({ ...minted.manifest, predictions: other.predictions });
    expect(bad(steps)).toEqual([
      'values of tpm sha256 disk',
      'values of tpm sha384 disk',
      'values of tpm sha256 direct',
      'values of tdx disk',
      'values of tdx direct',
    ]);
  });

  test('a command line that names another root hash is found', async () => {
    const { parts } = minted.manifest;
    const cmdline = parts.cmdline.replace(parts.root.rootHash, '00'.repeat(32));
    const steps = await verify({ ...minted.manifest, parts: { ...parts, cmdline } });
    expect(bad(steps)).toEqual(['hash tree of root', 'measured parts']);
  });

  test('a folder without a manifest is refused', async () => {
    await expect(readManifest(join(minted.folder, 'nowhere'))).rejects.toThrow(ImageError);
  });
});
