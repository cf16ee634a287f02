import { copyFile, open, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type DiskPartition, writeDisk } from '../../enclave/image/disk/disk.ts';
import { GUIDS, OUTPUTS } from '../../enclave/image/layout.ts';
import type { BuiltImage } from './builds.ts';

const SECTOR_BYTES = 512;
/** Name of the volume in the superblock of erofs: no reader minds what stands there. */
const EROFS_VOLUME_NAME = 1024 + 64;

/** The disk with one byte of its root changed, where only dm-verity would see it. */
export async function changeRootByte({ folder, manifest }: BuiltImage, out: string): Promise<string> {
  await copyFile(join(folder, OUTPUTS.disk), out);
  const root = manifest.parts.partitions.find(({ name }) => name === 'root');
  if (!root) throw new Error('the image has no partition root');
  const disk = await open(out, 'r+');
  try {
    const at = root.firstSector * SECTOR_BYTES + EROFS_VOLUME_NAME;
    const byte = Buffer.alloc(1);
    await disk.read(byte, 0, 1, at);
    byte[0] = (byte[0] ?? 0) ^ 0x01;
    await disk.write(byte, 0, 1, at);
  } finally {
    await disk.close();
  }
  return out;
}

/**
 * The disk with a word of the command line in its kernel image taken out, or with a shorter one in its place: a valid
 * image. The line lies in the file as the stub hands it on, so blanks fill it up.
 */
export async function changeKernelWord(
  { folder, manifest }: BuiltImage,
  word: string,
  other: string,
  out: string,
): Promise<string> {
  const { cmdline } = manifest.parts;
  const changed = cmdline.replace(`${word} `, `${other.padEnd(word.length)} `);
  if (changed === cmdline) throw new Error(`the command line has no ${word}`);
  const disk = await readFile(join(folder, OUTPUTS.disk));
  const at = disk.indexOf(cmdline);
  if (at < 0 || disk.indexOf(cmdline, at + 1) >= 0)
    throw new Error('the disk has not exactly one command line');
  disk.write(changed, at, 'latin1');
  await copyFile(join(folder, OUTPUTS.disk), out);
  const file = await open(out, 'r+');
  try {
    await file.write(disk.subarray(at, at + changed.length), 0, changed.length, at);
  } finally {
    await file.close();
  }
  return out;
}

/** The disk of one image with the volume, and its valid tree, of another. */
export async function mixVolumes(
  own: BuiltImage,
  other: BuiltImage,
  volume: 'root' | 'models',
  out: string,
): Promise<string> {
  const esp = `${out}.esp`;
  await extract(own, 'esp', esp);
  const { partitions } = own.manifest.parts;
  const files: Readonly<Record<string, string>> = {
    esp,
    root: join((volume === 'root' ? other : own).folder, OUTPUTS.root),
    'root-verity': join((volume === 'root' ? other : own).folder, OUTPUTS.rootTree),
    models: join((volume === 'models' ? other : own).folder, OUTPUTS.models),
    'models-verity': join((volume === 'models' ? other : own).folder, OUTPUTS.modelsTree),
  };
  const mixed = partitions.map(({ name, type, guid }): DiskPartition => {
    const path = files[name];
    if (path === undefined) throw new Error(`the image has a partition ${name}`);
    return { name, type, guid, readOnly: name !== 'esp', path };
  });
  await writeDisk(out, GUIDS.disk, mixed);
  await rm(esp);
  return out;
}

async function extract({ folder, manifest }: BuiltImage, name: string, out: string): Promise<void> {
  const partition = manifest.parts.partitions.find((each) => each.name === name);
  if (!partition) throw new Error(`the image has no partition ${name}`);
  const { firstSector, lastSector } = partition;
  const [disk, target] = [await open(join(folder, OUTPUTS.disk), 'r'), await open(out, 'w')];
  try {
    const bytes = Buffer.alloc((lastSector - firstSector + 1) * SECTOR_BYTES);
    await disk.read(bytes, 0, bytes.length, firstSector * SECTOR_BYTES);
    await target.write(bytes);
  } finally {
    await Promise.all([disk.close(), target.close()]);
  }
}
