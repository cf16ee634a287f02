import { open, rm, stat } from 'node:fs/promises';
import { basename, dirname, resolve } from 'node:path';
import { ImageError } from '../errors.ts';
import type { Tools } from '../inputs/tools.ts';
import { SECTOR_BYTES } from './gpt.ts';

const MEBIBYTE = 1024 * 1024;
/** Between these FAT has 16 bits (Microsoft FAT specification, section 3.5); both with some distance. */
const CLUSTERS = { least: 4200, most: 65_000 } as const;
/** Boot sector, two tables of at most 128 KiB and the root folder, rounded up. */
const OVERHEAD_BYTES = 512 * 1024;
/** Seconds since 1970 of the first moment that FAT can say, 1980-01-01. */
const FIRST_MOMENT = '315532800';
/** Serial number of the volume: «VSFA». */
const SERIAL = '56534641';
/** Where a machine without boot entries looks (UEFI 2.10, section 3.5.1.1). */
const BOOT_PATH = '::EFI/BOOT/BOOTX64.EFI';

/** Geometry of the file system, in sectors of 512 bytes. */
export interface EspSize {
  readonly sectors: number;
  readonly sectorsPerCluster: number;
}

/** The smallest whole number of mebibytes that holds a file of this size in FAT16. */
export function espSize(fileBytes: number): EspSize {
  for (let sectorsPerCluster = 4; sectorsPerCluster <= 64; sectorsPerCluster *= 2) {
    const clusterBytes = sectorsPerCluster * SECTOR_BYTES;
    const least = Math.max(fileBytes + OVERHEAD_BYTES, CLUSTERS.least * clusterBytes);
    const bytes = Math.ceil(least / MEBIBYTE) * MEBIBYTE;
    if (bytes / clusterBytes <= CLUSTERS.most) return { sectors: bytes / SECTOR_BYTES, sectorsPerCluster };
  }
  throw new ImageError('IMAGE_TOO_LARGE', `a kernel image of ${fileBytes} bytes on the EFI system partition`);
}

/**
 * The EFI system partition: one file, the kernel image, where firmware looks for it. There is no folder that the stub
 * would take additions from; additions by others are measured into PCR 12 and 13.
 */
export async function buildEsp(tools: Pick<Tools, 'run'>, ukiPath: string, out: string): Promise<void> {
  const { sectors, sectorsPerCluster } = espSize((await stat(ukiPath)).size);
  await rm(out, { force: true });
  const image = await open(out, 'w');
  await image.truncate(sectors * SECTOR_BYTES);
  await image.close();
  // By its name alone: «@@» in the path of an image is an offset to mtools.
  const [cwd, name] = [dirname(resolve(out)), basename(out)];
  const run = (tool: 'mformat' | 'mmd' | 'mcopy', ...args: readonly string[]): Promise<string> =>
    tools.run(tool, ['-i', name, ...args], { cwd, env: { SOURCE_DATE_EPOCH: FIRST_MOMENT } });
  const geometry = ['-T', sectors, '-h', 64, '-s', 32, '-c', sectorsPerCluster].map(String);
  await run('mformat', ...geometry, '-N', SERIAL, '-v', 'VOUCHSAFE', '::');
  await run('mmd', '::EFI', '::EFI/BOOT');
  await run('mcopy', resolve(ukiPath), BOOT_PATH);
}
