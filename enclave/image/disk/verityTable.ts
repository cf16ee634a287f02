import { toHex } from '../../../attestation/bytes/bytes.ts';
import { guidText } from './guid.ts';

/** Bytes of a block, of data and of hashes. */
export const BLOCK_BYTES = 4096;
const SECTOR_BYTES = 512;
export const ROOT_HASH_BYTES = 32;
/** The superblock fills the first block of the tree; hashes begin behind it. */
export const HASH_START = 1;

/** What has to be known of a device beside its data, to check each block that is read. */
export interface VerityRoot {
  /** SHA-256 at the top of the tree. */
  readonly rootHash: Uint8Array;
  /** Blocks of 4096 bytes. */
  readonly dataBlocks: number;
  /** Hashed before each block; up to 256 bytes. */
  readonly salt: Uint8Array;
}

export interface VerityDevices {
  /** Path or major:minor, as the device mapper takes them. */
  readonly data: string;
  readonly tree: string;
}

/**
 * The line that makes a device of this root (Documentation/admin-guide/device-mapper/verity.rst). A block that is not
 * what was hashed stops the machine: whoever changes a disk below it learns nothing from how programs take a failed
 * read.
 */
export function verityTable(
  { rootHash, dataBlocks, salt }: VerityRoot,
  { data, tree }: VerityDevices,
): string {
  const sectors = dataBlocks * (BLOCK_BYTES / SECTOR_BYTES);
  const sizes = `${BLOCK_BYTES} ${BLOCK_BYTES} ${dataBlocks} ${HASH_START}`;
  const hashes = `sha256 ${toHex(rootHash)} ${salt.length > 0 ? toHex(salt) : '-'}`;
  return `0 ${sectors} verity 1 ${data} ${tree} ${sizes} ${hashes} 1 panic_on_corruption`;
}

/**
 * GUIDs of the two partitions: the first and the last 128 bits of the root hash (Discoverable Partitions
 * Specification). So a partition table names content, and a name on the command line finds no other content.
 */
export function verityGuids(rootHash: Uint8Array): { readonly data: string; readonly tree: string } {
  return { data: guidText(rootHash.subarray(0, 16)), tree: guidText(rootHash.subarray(-16)) };
}
