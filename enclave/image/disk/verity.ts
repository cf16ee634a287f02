import { type FileHandle, open } from 'node:fs/promises';
import { equalBytes, utf8 } from '../../../attestation/bytes/bytes.ts';
import { ImageError } from '../errors.ts';
import {
  BLOCK_BYTES,
  HASH_START,
  verityLevels,
  VerityTree,
  type TreeBlock,
  type VerityRoot,
} from './verityTree.ts';

/** Bytes of data that are in memory at a time: a whole number of blocks. */
const CHUNK_BYTES = 4 * 1024 * 1024;

/**
 * Writes the hash tree of an image of whole blocks: a superblock, as `veritysetup` reads it, and the levels behind it
 * (`HASH_START`). Deterministic: the same image and salt give the same tree.
 */
export async function buildVerity(
  imagePath: string,
  treePath: string,
  salt: Uint8Array,
): Promise<{ readonly rootHash: Uint8Array; readonly dataBlocks: number }> {
  const image = await open(imagePath, 'r');
  try {
    const dataBlocks = await countBlocks(image, imagePath);
    const tree = await open(treePath, 'w');
    try {
      const rootHash = await hashImage(image, dataBlocks, salt, (block) =>
        tree.write(block.bytes, 0, BLOCK_BYTES, block.position * BLOCK_BYTES),
      );
      await tree.write(superblock({ rootHash, dataBlocks, salt }), 0, BLOCK_BYTES, 0);
      return { rootHash, dataBlocks };
    } finally {
      await tree.close();
    }
  } finally {
    await image.close();
  }
}

/**
 * Compares all of an image and all of its tree with a root hash. Refuses as `IMAGE_VERITY_MISMATCH`: a kernel would
 * stop at the first read of such a block, which may be days after the start.
 */
export async function verifyVerity(imagePath: string, treePath: string, root: VerityRoot): Promise<void> {
  const image = await open(imagePath, 'r');
  const tree = await open(treePath, 'r').catch(async (error: unknown) => {
    await image.close();
    throw error;
  });
  try {
    await compare(image, tree, root);
  } finally {
    await Promise.all([image.close(), tree.close()]);
  }
}

async function compare(image: FileHandle, tree: FileHandle, root: VerityRoot): Promise<void> {
  if ((await image.stat()).size !== root.dataBlocks * BLOCK_BYTES) {
    throw mismatch('the image has another size');
  }
  if ((await tree.stat()).size !== treeBytes(root.dataBlocks)) throw mismatch('the tree has another size');
  const there = Buffer.alloc(BLOCK_BYTES);
  const expect = async ({ position, bytes }: TreeBlock): Promise<void> => {
    await readFully(tree, there, position * BLOCK_BYTES);
    if (!equalBytes(there, bytes)) throw mismatch(`block ${position} of the tree is another`);
  };
  const rootHash = await hashImage(image, root.dataBlocks, root.salt, expect);
  if (!equalBytes(rootHash, root.rootHash)) throw mismatch('the root hash is another');
  await expect({ position: 0, bytes: superblock(root) });
}

/** Bytes of the whole tree with its superblock. */
export function treeBytes(dataBlocks: number): number {
  const blocks = verityLevels(dataBlocks).reduce((sum, level) => sum + level.blocks, HASH_START);
  return blocks * BLOCK_BYTES;
}

async function hashImage(
  image: FileHandle,
  dataBlocks: number,
  salt: Uint8Array,
  onBlock: (block: TreeBlock) => Promise<unknown>,
): Promise<Uint8Array> {
  const tree = new VerityTree(dataBlocks, salt);
  const chunk = Buffer.alloc(Math.min(CHUNK_BYTES, dataBlocks * BLOCK_BYTES));
  const end = dataBlocks * BLOCK_BYTES;
  for (let start = 0; start < end; start += chunk.length) {
    const part = chunk.subarray(0, Math.min(chunk.length, end - start));
    await readFully(image, part, start);
    for (let offset = 0; offset < part.length; offset += BLOCK_BYTES) {
      for (const block of tree.feed(part.subarray(offset, offset + BLOCK_BYTES))) await onBlock(block);
    }
  }
  return tree.rootHash;
}

async function countBlocks(image: FileHandle, path: string): Promise<number> {
  const { size } = await image.stat();
  if (size === 0 || size % BLOCK_BYTES !== 0) {
    throw new ImageError('IMAGE_PART_MALFORMED', `${path} has ${size} bytes, which are no whole blocks`);
  }
  return size / BLOCK_BYTES;
}

/** A file that shrinks while it is read must not be hashed as zeros. */
async function readFully(file: FileHandle, target: Uint8Array, position: number): Promise<void> {
  for (let done = 0; done < target.length;) {
    const { bytesRead } = await file.read(target, done, target.length - done, position + done);
    if (bytesRead === 0)
      throw new ImageError('IMAGE_PART_MALFORMED', 'a file became shorter while it was read');
    done += bytesRead;
  }
}

/** `struct verity_sb` of cryptsetup (lib/verity/verity.c), in a block of its own. Kernels do not read it. */
function superblock({ rootHash, dataBlocks, salt }: VerityRoot): Uint8Array {
  const bytes = new Uint8Array(BLOCK_BYTES);
  const view = new DataView(bytes.buffer);
  bytes.set(utf8('verity\0\0'));
  view.setUint32(8, 1, true); // version of the superblock
  view.setUint32(12, 1, true); // type of hashes: salt before data
  // veritysetup shows text in the order of these bytes.
  bytes.set(rootHash.subarray(-16), 16);
  bytes.set(utf8('sha256'), 32);
  view.setUint32(64, BLOCK_BYTES, true);
  view.setUint32(68, BLOCK_BYTES, true);
  view.setBigUint64(72, BigInt(dataBlocks), true);
  view.setUint16(80, salt.length, true);
  bytes.set(salt, 88);
  return bytes;
}

function mismatch(why: string): ImageError {
  return new ImageError('IMAGE_VERITY_MISMATCH', `data, tree and root hash do not belong together: ${why}`);
}
