import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { crc32 } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { toHex } from '../../../../attestation/bytes/bytes.ts';
import {
  buildPartitionTable,
  type Partition,
  PARTITION_TYPES,
  SECTOR_BYTES,
  TABLE_BYTES,
} from '../../../../enclave/image/disk/gpt.ts';
import { readPartitionTable } from '../../../../enclave/image/disk/readGpt.ts';
import { ImageError } from '../../../../enclave/image/errors.ts';
import { gptEvent } from '../../../../enclave/predict/boot/gpt.ts';
import { errorOf } from '../../../support/refusal.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../../support/runs.ts';
import { inFolder } from '../../../support/folder.ts';
import { outputOf, testWith } from '../../../support/programs.ts';

const DISK = '0f9d4c1e-7a35-4a0c-9c3e-5d1f0a7b6e21';
const MEBIBYTE = 1024 * 1024;
const PARTITIONS: readonly Partition[] = [
  {
    name: 'esp',
    type: PARTITION_TYPES.esp,
    guid: '00112233-4455-6677-8899-aabbccddeeff',
    bytes: 3 * MEBIBYTE,
    readOnly: false,
  },
  {
    name: 'root',
    type: PARTITION_TYPES.root,
    guid: '10112233-4455-6677-8899-aabbccddeeff',
    bytes: 4096,
    readOnly: true,
  },
  {
    name: 'root-verity',
    type: PARTITION_TYPES.rootVerity,
    guid: '20112233-4455-6677-8899-aabbccddeeff',
    bytes: MEBIBYTE + 1,
    readOnly: true,
  },
];

const table = buildPartitionTable(DISK, PARTITIONS);

const codeOf = (step: () => unknown) => errorOf(ImageError, step)?.code;

/** The disk with nothing in its partitions. */
function diskOf({ sectors, primary, backup }: typeof table): Buffer {
  const disk = Buffer.alloc(sectors * SECTOR_BYTES);
  disk.set(primary);
  disk.set(backup, disk.length - backup.length);
  return disk;
}

describe('a partition table', () => {
  test('places partitions at whole mebibytes, one behind the other', () => {
    expect(table.partitions.map(({ firstSector, lastSector }) => [firstSector, lastSector])).toEqual([
      [2048, 2048 + 3 * 2048 - 1],
      [4 * 2048, 4 * 2048 + 7],
      [5 * 2048, 5 * 2048 + 2048],
    ]);
    expect(table.sectors).toBe(8 * 2048);
  });

  test('has the bytes of the specification', () => {
    const header = Buffer.from(table.primary.subarray(SECTOR_BYTES, SECTOR_BYTES + 92));
    expect(Buffer.from(table.primary.subarray(446, 512)).toString('hex')).toBe(
      `00000200eeffffff01000000ff3f0000${'00'.repeat(48)}55aa`,
    );
    expect(header.toString('latin1', 0, 8)).toBe('EFI PART');
    expect(toHex(header.subarray(56, 72))).toBe('1e4c9d0f357a0c4a9c3e5d1f0a7b6e21');
    expect(header.readBigUInt64LE(40)).toBe(2048n);
    expect(header.readBigUInt64LE(48)).toBe(BigInt(table.sectors - 34));
    expect(header.readUInt32LE(88)).toBe(crc32(table.primary.subarray(1024)));
    const entry = Buffer.from(table.primary.subarray(1024 + 128, 1024 + 256));
    expect(toHex(entry.subarray(0, 32))).toBe(
      'e3bc684fcde8b14d96e7fbcaf984b709332211105544776688' + '99aabbccddeeff',
    );
    expect(entry.readBigUInt64LE(48)).toBe(1n << 60n);
    expect(entry.toString('utf16le', 56, 64)).toBe('root');
  });

  test('ends the disk once more: entries, then a header that names the first', () => {
    expect(table.backup.length).toBe(33 * SECTOR_BYTES);
    const header = Buffer.from(table.backup.subarray(32 * SECTOR_BYTES));
    expect(
      Buffer.from(table.backup.subarray(0, 32 * SECTOR_BYTES)).equals(table.primary.subarray(1024)),
    ).toBe(true);
    expect([24, 32, 72].map((offset) => header.readBigUInt64LE(offset))).toEqual(
      [table.sectors - 1, 1, table.sectors - 33].map(BigInt),
    );
  });

  test('is measured as its header and used entries', () => {
    const event = gptEvent(table.primary);
    expect(event.length).toBe(92 + 8 + 3 * 128);
    expect(toHex(event.subarray(100))).toBe(toHex(table.primary.subarray(1024, 1024 + 3 * 128)));
  });

  test('is read as it was written', () => {
    expect(readPartitionTable(table.primary)).toEqual({
      diskGuid: DISK,
      partitions: table.partitions.map(({ name, type, guid, firstSector, lastSector }) => ({
        name,
        type,
        guid,
        firstSector,
        lastSector,
      })),
    });
  });

  const one = PARTITIONS[1]!;
  test.each<[what: string, partitions: readonly Partition[], code: string]>([
    ['a GUID twice', [one, { ...one, name: 'other' }], 'IMAGE_PARTITIONS_INVALID'],
    ['no GUID', [{ ...one, guid: 'root' }], 'IMAGE_PARTITIONS_INVALID'],
    ['a type in upper case', [{ ...one, type: one.type.toUpperCase() }], 'IMAGE_PARTITIONS_INVALID'],
    ['no name', [{ ...one, name: '' }], 'IMAGE_PARTITIONS_INVALID'],
    ['a long name', [{ ...one, name: 'n'.repeat(37) }], 'IMAGE_PARTITIONS_INVALID'],
    ['an empty partition', [{ ...one, bytes: 0 }], 'IMAGE_PARTITIONS_INVALID'],
    ['129 partitions', Array.from({ length: 129 }, () => one), 'IMAGE_PARTITIONS_INVALID'],
    ['three tebibytes', [{ ...one, bytes: 3 * 2 ** 40 }], 'IMAGE_TOO_LARGE'],
  ])('is not made with %s', (_what, partitions, code) => {
    expect(codeOf(() => buildPartitionTable(DISK, partitions))).toBe(code);
  });

  test('of any partitions is read again, and measured', () => {
    const partitions = fc.uniqueArray(
      fc.record({
        name: fc.stringMatching(/^[a-z-]{1,36}$/),
        guid: fc.uuid(),
        bytes: fc.integer({ min: 1, max: 2 ** 36 }),
      }),
      { maxLength: 128, selector: ({ guid }) => guid },
    );
    fc.assert(
      fc.property(partitions, (chosen) => {
        const named = chosen.map((partition, index) => ({
          ...partition,
          name: `${index}-${partition.name}`.slice(0, 36),
          type: PARTITION_TYPES.models,
          readOnly: true,
        }));
        const built = buildPartitionTable(DISK, named);
        const read = readPartitionTable(built.primary);
        expect(read.partitions.map(({ name, guid }) => [name, guid])).toEqual(
          named.map(({ name, guid }) => [name, guid]),
        );
        expect(gptEvent(built.primary).length).toBe(100 + 128 * named.length);
      }),
      propertyRuns(60),
    );
  });

  test(
    'with one changed bit behind the boot record, or cut, is refused',
    () => {
      const covered = fc.oneof(
        fc.integer({ min: 512, max: 512 + 91 }),
        fc.integer({ min: 1024, max: TABLE_BYTES - 1 }),
      );
      fc.assert(
        fc.property(covered, fc.nat(7), fc.nat(TABLE_BYTES - 1), (place, bit, length) => {
          const bytes = Uint8Array.from(table.primary);
          bytes[place]! ^= 1 << bit;
          expect(codeOf(() => readPartitionTable(bytes))).toBe('IMAGE_PART_MALFORMED');
          expect(codeOf(() => readPartitionTable(bytes.subarray(0, length)))).toBe('IMAGE_PART_MALFORMED');
        }),
        propertyRuns(200),
      );
    },
    PROPERTY_TIMEOUT,
  );

  test.each<[what: string, change: (entries: Buffer) => void]>([
    ['overlaps another', (entries) => entries.writeBigUInt64LE(2050n, 128 + 32)],
    ['ends before it begins', (entries) => entries.writeBigUInt64LE(1n, 40)],
    ['leads out of the disk', (entries) => entries.writeBigUInt64LE(1n << 40n, 256 + 40)],
    ['lies where no number goes', (entries) => entries.writeBigUInt64LE(1n << 60n, 256 + 40)],
    ['has the GUID of another', (entries) => entries.copy(entries, 144, 16, 32)],
    ['has the name of another', (entries) => entries.copy(entries, 184, 56, 128)],
  ])('with the right checksums is refused where a partition %s', (_what, change) => {
    const bytes = Buffer.from(table.primary);
    change(bytes.subarray(1024));
    bytes.writeUInt32LE(crc32(bytes.subarray(1024)), 512 + 88);
    bytes.writeUInt32LE(0, 512 + 16);
    bytes.writeUInt32LE(crc32(bytes.subarray(512, 512 + 92)), 512 + 16);
    expect(codeOf(() => readPartitionTable(bytes))).toBe('IMAGE_PART_MALFORMED');
  });

  testWith('sgdisk', 'is one in which sgdisk finds nothing wrong', async (sgdisk) => {
    await inFolder(async (folder) => {
      await writeFile(join(folder, 'disk'), diskOf(table));
      expect(await outputOf(sgdisk, '-v', join(folder, 'disk'))).toContain('No problems found');
      expect(await outputOf(sgdisk, '-i', '2', join(folder, 'disk'))).toMatch(
        /Partition GUID code: 4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709[^]*unique GUID: 10112233-4455-6677-8899-AABBCCDDEEFF/,
      );
    });
  });

  testWith('sfdisk', 'is one that sfdisk reads alike', async (sfdisk) => {
    await inFolder(async (folder) => {
      await writeFile(join(folder, 'disk'), diskOf(table));
      const read = JSON.parse(await outputOf(sfdisk, '--json', join(folder, 'disk'))) as {
        partitiontable: {
          id: string;
          partitions: readonly { start: number; size: number; uuid: string; name: string }[];
        };
      };
      expect(read.partitiontable.id.toLowerCase()).toBe(DISK);
      expect(
        read.partitiontable.partitions.map(({ start, size, uuid, name }) => [
          start,
          size,
          uuid.toLowerCase(),
          name,
        ]),
      ).toEqual(
        table.partitions.map(({ firstSector, lastSector, guid, name }) => [
          firstSector,
          lastSector - firstSector + 1,
          guid,
          name,
        ]),
      );
    });
  });
});
