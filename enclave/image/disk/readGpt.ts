import { crc32 } from 'node:zlib';
import { isZero } from '../../../attestation/bytes/bytes.ts';
import { ImageError } from '../errors.ts';
import { ENTRY_BYTES, ENTRY_COUNT, HEADER_BYTES, SECTOR_BYTES, TABLE_BYTES } from './gpt.ts';
import { readGuid } from './guid.ts';

export interface ReadPartition {
  readonly name: string;
  readonly type: string;
  readonly guid: string;
  readonly firstSector: number;
  readonly lastSector: number;
}

/**
 * Reads the primary table of a disk as `buildPartitionTable` writes it; `table` is the first `TABLE_BYTES` of the disk.
 * Refuses as `IMAGE_PART_MALFORMED` what another tool could read in another way: wrong checksums, partitions that
 * overlap or lead out of the disk, GUIDs or names twice.
 */
export function readPartitionTable(table: Uint8Array): {
  readonly diskGuid: string;
  readonly partitions: readonly ReadPartition[];
} {
  if (table.length !== TABLE_BYTES) throw malformed(`${table.length} bytes`);
  const disk = Buffer.from(table.buffer, table.byteOffset, table.byteLength);
  const header = disk.subarray(SECTOR_BYTES, 2 * SECTOR_BYTES);
  const entries = disk.subarray(2 * SECTOR_BYTES);
  checkHeader(header, entries);
  const [first, last] = [sector(header, 40), sector(header, 48)];
  const partitions = Array.from({ length: ENTRY_COUNT }, (_, index) =>
    entries.subarray(index * ENTRY_BYTES, (index + 1) * ENTRY_BYTES),
  )
    .filter((entry) => !isZero(entry.subarray(0, 16)))
    .map(readEntry);
  checkPlaces(partitions, first, last);
  for (const key of ['guid', 'name'] as const) {
    if (new Set(partitions.map((one) => one[key])).size !== partitions.length)
      throw malformed(`a ${key} twice`);
  }
  return { diskGuid: readGuid(header.subarray(56, 72)), partitions };
}

function checkHeader(header: Buffer, entries: Uint8Array): void {
  if (header.toString('latin1', 0, 8) !== 'EFI PART') throw malformed('it has no header');
  const [size, count, entryBytes] = [
    header.readUInt32LE(12),
    header.readUInt32LE(80),
    header.readUInt32LE(84),
  ];
  if (size !== HEADER_BYTES || count !== ENTRY_COUNT || entryBytes !== ENTRY_BYTES) {
    throw malformed('header or entries have other sizes');
  }
  if (sector(header, 24) !== 1 || sector(header, 72) !== 2) throw malformed('it lies elsewhere');
  const unsigned = Buffer.from(header.subarray(0, HEADER_BYTES));
  unsigned.writeUInt32LE(0, 16);
  if (crc32(unsigned) !== header.readUInt32LE(16)) throw malformed('the checksum of the header is wrong');
  if (crc32(entries) !== header.readUInt32LE(88)) throw malformed('the checksum of the entries is wrong');
}

function readEntry(entry: Buffer): ReadPartition {
  return {
    name: entry.toString('utf16le', 56, ENTRY_BYTES).replace(/\0.*$/s, ''),
    type: readGuid(entry.subarray(0, 16)),
    guid: readGuid(entry.subarray(16, 32)),
    firstSector: sector(entry, 32),
    lastSector: sector(entry, 40),
  };
}

function checkPlaces(partitions: readonly ReadPartition[], first: number, last: number): void {
  let free = first;
  for (const { name, firstSector, lastSector } of partitions.toSorted(
    (a, b) => a.firstSector - b.firstSector,
  )) {
    if (firstSector < free || lastSector < firstSector || lastSector > last) {
      throw malformed(`${name} overlaps another, or leads out of the disk`);
    }
    free = lastSector + 1;
  }
}

function sector(bytes: Buffer, offset: number): number {
  const value = bytes.readBigUInt64LE(offset);
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) throw malformed('a sector that no disk has');
  return Number(value);
}

function malformed(why: string): ImageError {
  return new ImageError('IMAGE_PART_MALFORMED', `the disk has no partition table of this builder: ${why}`);
}
