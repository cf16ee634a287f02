import { crc32 } from 'node:zlib';
import { utf16WithNul } from '../../predict/boot/register.ts';
import { ImageError } from '../errors.ts';
import { guidBytes } from './guid.ts';

export const SECTOR_BYTES = 512;
/** Partitions begin at, and the disk has, whole mebibytes. */
const ALIGNMENT_SECTORS = 2048;
export const ENTRY_COUNT = 128;
export const ENTRY_BYTES = 128;
export const HEADER_BYTES = 92;
const ENTRIES_SECTORS = (ENTRY_COUNT * ENTRY_BYTES) / SECTOR_BYTES;
/** Master boot record, header and entries. */
export const TABLE_BYTES = (2 + ENTRIES_SECTORS) * SECTOR_BYTES;
const REVISION_1_0 = 0x0001_0000;
const NAME_BYTES = 72;
/** 2 TiB, as the protective record can say it. */
const MAX_SECTORS = 2 ** 32;

/** Types of the Discoverable Partitions Specification, and one of our own. */
export const PARTITION_TYPES = {
  esp: 'c12a7328-f81f-11d2-ba4b-00c93ec93b3b',
  root: '4f68bce3-e8cd-4db1-96e7-fbcaf984b709',
  rootVerity: '2c7357ed-ebd2-46d9-aec1-23d437ec2bf5',
  /** Models of Vouchsafe, an erofs image. */
  models: '3cef06c1-4d0d-47b1-9b35-57d4b0b0a21c',
  /** Their hash tree. */
  modelsVerity: '8a6d9d0f-25f5-4d4e-a3a5-51c7f9c4a7d2',
} as const;

/** Bit 60 of the attributes: read-only, for those who mount by type. */
const READ_ONLY = 1n << 60n;

export interface Partition {
  /** Up to 36 characters of ASCII. */
  readonly name: string;
  readonly type: string;
  readonly guid: string;
  /** What it has to hold; up to 511 bytes of zeros follow. */
  readonly bytes: number;
  readonly readOnly: boolean;
}

export interface PlacedPartition extends Partition {
  readonly firstSector: number;
  readonly lastSector: number;
}

export interface PartitionTable {
  readonly partitions: readonly PlacedPartition[];
  /** Sectors of the whole disk. */
  readonly sectors: number;
  /** What stands at sector 0. */
  readonly primary: Uint8Array;
  /** What ends the disk. */
  readonly backup: Uint8Array;
}

/** A partition table with these partitions one behind the other (UEFI 2.10, chapter 5). */
export function buildPartitionTable(diskGuid: string, partitions: readonly Partition[]): PartitionTable {
  const placed = place(partitions);
  const end = (placed.at(-1)?.lastSector ?? ALIGNMENT_SECTORS - 1) + 1;
  // A mebibyte for the backup: 33 sectors, and what fills it.
  const sectors = aligned(end) + ALIGNMENT_SECTORS;
  if (sectors > MAX_SECTORS) throw new ImageError('IMAGE_TOO_LARGE', `a disk of ${sectors} sectors`);
  const entries = writeEntries(placed);
  const header = (at: number, other: number, entriesAt: number): Uint8Array =>
    writeHeader({ diskGuid, sectors, at, other, entriesAt, entries });
  const last = sectors - 1;
  return {
    partitions: placed,
    sectors,
    primary: Buffer.concat([protectiveRecord(sectors), header(1, last, 2), entries]),
    backup: Buffer.concat([entries, header(last, 1, last - ENTRIES_SECTORS)]),
  };
}

function place(partitions: readonly Partition[]): readonly PlacedPartition[] {
  if (partitions.length > ENTRY_COUNT) throw invalid(`${partitions.length} partitions`);
  if (new Set(partitions.map(({ guid }) => guid)).size !== partitions.length) {
    throw invalid('two have the same GUID');
  }
  let next = ALIGNMENT_SECTORS;
  return partitions.map((partition) => {
    const { name, bytes } = partition;
    if (!/^[\x21-\x7e]{1,36}$/.test(name)) throw invalid(`«${name}» is no name`);
    if (!Number.isSafeInteger(bytes) || bytes < 1) throw invalid(`${name} has ${bytes} bytes`);
    const firstSector = next;
    const lastSector = firstSector + Math.ceil(bytes / SECTOR_BYTES) - 1;
    next = aligned(lastSector + 1);
    return { ...partition, firstSector, lastSector };
  });
}

function aligned(sector: number): number {
  return Math.ceil(sector / ALIGNMENT_SECTORS) * ALIGNMENT_SECTORS;
}

/** Section 5.2.3: one partition of type 0xee over the whole disk, for those who know no GPT. */
function protectiveRecord(sectors: number): Uint8Array {
  const record = Buffer.alloc(SECTOR_BYTES);
  record.set([0, 0x00, 0x02, 0x00, 0xee, 0xff, 0xff, 0xff], 446);
  record.writeUInt32LE(1, 454);
  record.writeUInt32LE(Math.min(sectors - 1, 0xffff_ffff), 458);
  record.set([0x55, 0xaa], 510);
  return record;
}

/** Table 5.6. */
function writeEntries(partitions: readonly PlacedPartition[]): Buffer {
  const entries = Buffer.alloc(ENTRY_COUNT * ENTRY_BYTES);
  for (const [index, partition] of partitions.entries()) {
    const entry = entries.subarray(index * ENTRY_BYTES, (index + 1) * ENTRY_BYTES);
    entry.set(guidBytes(partition.type), 0);
    entry.set(guidBytes(partition.guid), 16);
    entry.writeBigUInt64LE(BigInt(partition.firstSector), 32);
    entry.writeBigUInt64LE(BigInt(partition.lastSector), 40);
    entry.writeBigUInt64LE(partition.readOnly ? READ_ONLY : 0n, 48);
    entry.set(utf16WithNul(partition.name).subarray(0, NAME_BYTES), 56);
  }
  return entries;
}

interface HeaderFacts {
  readonly diskGuid: string;
  readonly sectors: number;
  readonly at: number;
  readonly other: number;
  readonly entriesAt: number;
  readonly entries: Uint8Array;
}

/** Table 5.5. */
function writeHeader({ diskGuid, sectors, at, other, entriesAt, entries }: HeaderFacts): Uint8Array {
  const header = Buffer.alloc(SECTOR_BYTES);
  header.write('EFI PART', 0, 'latin1');
  header.writeUInt32LE(REVISION_1_0, 8);
  header.writeUInt32LE(HEADER_BYTES, 12);
  header.writeBigUInt64LE(BigInt(at), 24);
  header.writeBigUInt64LE(BigInt(other), 32);
  header.writeBigUInt64LE(BigInt(ALIGNMENT_SECTORS), 40);
  header.writeBigUInt64LE(BigInt(sectors - ENTRIES_SECTORS - 2), 48);
  header.set(guidBytes(diskGuid), 56);
  header.writeBigUInt64LE(BigInt(entriesAt), 72);
  header.writeUInt32LE(ENTRY_COUNT, 80);
  header.writeUInt32LE(ENTRY_BYTES, 84);
  header.writeUInt32LE(crc32(entries), 88);
  header.writeUInt32LE(crc32(header.subarray(0, HEADER_BYTES)), 16);
  return header;
}

function invalid(why: string): ImageError {
  return new ImageError('IMAGE_PARTITIONS_INVALID', `the partitions cannot be written: ${why}`);
}
