import { type FileHandle, open, stat } from 'node:fs/promises';
import { ImageError } from '../errors.ts';
import { buildPartitionTable, type Partition, type PartitionTable, SECTOR_BYTES } from './gpt.ts';

/** Bytes of a partition that are in memory at a time. */
const CHUNK_BYTES = 1024 * 1024;
const ZEROS = Buffer.alloc(CHUNK_BYTES);

/** A partition, and the file with what it holds. */
export interface DiskPartition extends Omit<Partition, 'bytes'> {
  readonly path: string;
}

/**
 * Writes a raw disk with these partitions. Zeros are not written: where the file system of the build machine can, they
 * take no space. Gives the partition table, whose start firmware measures.
 */
export async function writeDisk(
  out: string,
  diskGuid: string,
  partitions: readonly DiskPartition[],
): Promise<PartitionTable> {
  const sized = await Promise.all(
    partitions.map(async (partition) => ({ ...partition, bytes: (await stat(partition.path)).size })),
  );
  const table = buildPartitionTable(diskGuid, sized);
  const disk = await open(out, 'w');
  try {
    await disk.truncate(table.sectors * SECTOR_BYTES);
    await disk.write(table.primary, 0, table.primary.length, 0);
    for (const [index, { path }] of partitions.entries()) {
      const placed = table.partitions[index];
      if (placed) await copy(path, disk, placed.firstSector * SECTOR_BYTES, placed.bytes);
    }
    const backupAt = table.sectors * SECTOR_BYTES - table.backup.length;
    await disk.write(table.backup, 0, table.backup.length, backupAt);
  } finally {
    await disk.close();
  }
  return table;
}

async function copy(path: string, disk: FileHandle, start: number, bytes: number): Promise<void> {
  const from = await open(path, 'r');
  try {
    const chunk = Buffer.alloc(Math.min(CHUNK_BYTES, bytes));
    for (let done = 0; done < bytes;) {
      const { bytesRead } = await from.read(chunk, 0, chunk.length, done);
      if (bytesRead === 0 || done + bytesRead > bytes) {
        throw new ImageError('IMAGE_PART_MALFORMED', `${path} changed its size while it was copied`);
      }
      const part = chunk.subarray(0, bytesRead);
      if (!part.equals(ZEROS.subarray(0, bytesRead))) await disk.write(part, 0, bytesRead, start + done);
      done += bytesRead;
    }
  } finally {
    await from.close();
  }
}
