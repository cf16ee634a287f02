import { createHash } from 'node:crypto';
import { readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { toHex } from '../../../../attestation/bytes/bytes.ts';
import { guidText } from '../../../../enclave/image/disk/guid.ts';
import { buildVerity, treeBytes, verifyVerity } from '../../../../enclave/image/disk/verity.ts';
import { BLOCK_BYTES, VerityTree, verityLevels } from '../../../../enclave/image/disk/verityTree.ts';
import { ImageError } from '../../../../enclave/image/errors.ts';
import { errorOfAsync } from '../../../support/refusal.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../../support/runs.ts';
import { inFolder } from '../../../support/folder.ts';
import { outputOf, testWith } from '../../../support/programs.ts';

const SALT = Uint8Array.from({ length: 32 }, (_, index) => index);

function dataOf(blocks: number): Buffer {
  const data = Buffer.alloc(blocks * BLOCK_BYTES);
  for (let block = 0; block < blocks; block++)
    data.fill(block + 1, block * BLOCK_BYTES, (block + 0.5) * BLOCK_BYTES);
  return data;
}

/** The same by the definition: whole levels in memory, the top first. */
function slowTree(data: Buffer, salt: Uint8Array): { root: Buffer; levels: Buffer } {
  const digests = Array.from({ length: data.length / BLOCK_BYTES }, (_, block) =>
    createHash('sha256')
      .update(salt)
      .update(data.subarray(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES))
      .digest(),
  );
  if (digests.length === 1) return { root: digests[0]!, levels: Buffer.alloc(0) };
  const level = Buffer.alloc(Math.ceil(digests.length / 128) * BLOCK_BYTES);
  Buffer.concat(digests).copy(level);
  const above = slowTree(level, salt);
  return { root: above.root, levels: Buffer.concat([above.levels, level]) };
}

async function build(folder: string, data: Uint8Array, salt = SALT) {
  const [image, tree] = [join(folder, 'image'), join(folder, 'tree')];
  await writeFile(image, data);
  return { image, tree, salt, ...(await buildVerity(image, tree, salt)) };
}

const codeOf = async (step: Promise<unknown>) => (await errorOfAsync(ImageError, () => step))?.code;

describe('the hash tree', () => {
  test('of one block has no level: its salted hash is the root hash', async () => {
    await inFolder(async (folder) => {
      const { rootHash, dataBlocks, tree } = await build(
        folder,
        Buffer.alloc(BLOCK_BYTES),
        Buffer.from('00', 'hex'),
      );
      // head -c 4097 /dev/zero | sha256sum
      expect(toHex(rootHash)).toBe('b587fa297299ce9c602e58292b51379402bf7b1074f6b18679c2fb871c917ca8');
      expect(dataBlocks).toBe(1);
      expect((await readFile(tree)).length).toBe(BLOCK_BYTES);
    });
  });

  test.each([1, 2, 127, 128, 129, 300, 16_384, 16_385])(
    'of %i blocks is that of the definition',
    async (blocks) => {
      await inFolder(async (folder) => {
        const data = dataOf(blocks);
        const { rootHash, tree } = await build(folder, data);
        const slow = slowTree(data, SALT);
        expect(toHex(rootHash)).toBe(slow.root.toString('hex'));
        const written = await readFile(tree);
        expect(written.length).toBe(treeBytes(blocks));
        expect(written.subarray(BLOCK_BYTES).equals(slow.levels)).toBe(true);
      });
    },
  );

  test('of several gigabytes has its levels where the kernel looks', () => {
    // 2 GiB are 524288 blocks: 4096, 32 and 1 blocks of hashes, the top first, behind the superblock.
    expect(verityLevels(524_288)).toEqual([
      { start: 34, blocks: 4096 },
      { start: 2, blocks: 32 },
      { start: 1, blocks: 1 },
    ]);
  });

  test('has a superblock that says what veritysetup has to know', async () => {
    await inFolder(async (folder) => {
      const { tree, rootHash } = await build(folder, dataOf(3));
      const block = (await readFile(tree)).subarray(0, BLOCK_BYTES);
      expect(block.toString('latin1', 0, 8)).toBe('verity\0\0');
      expect([
        block.readUInt32LE(8),
        block.readUInt32LE(12),
        block.readUInt32LE(64),
        block.readUInt32LE(68),
      ]).toEqual([1, 1, 4096, 4096]);
      expect(toHex(block.subarray(16, 32))).toBe(toHex(rootHash.subarray(16)));
      expect(block.readBigUInt64LE(72)).toBe(3n);
      expect(toHex(block.subarray(88, 88 + block.readUInt16LE(80)))).toBe(toHex(SALT));
    });
  });

  test.each([0, 1, 4095, 4097])('is refused over %i bytes', async (bytes) => {
    await inFolder(async (folder) => {
      expect(await codeOf(build(folder, Buffer.alloc(bytes)))).toBe('IMAGE_PART_MALFORMED');
    });
  });

  test.each([0, -1, 0.5, NaN, 2 ** 40])('has no %d blocks of data', (blocks) => {
    expect(() => new VerityTree(blocks, SALT)).toThrow(ImageError);
  });

  test('takes neither a long salt, nor other blocks, nor more than it was made for', () => {
    expect(() => new VerityTree(1, new Uint8Array(257))).toThrow(ImageError);
    const tree = new VerityTree(1, SALT);
    expect(() => tree.rootHash).toThrow(RangeError);
    expect(() => tree.feed(new Uint8Array(5))).toThrow(RangeError);
    tree.feed(new Uint8Array(BLOCK_BYTES));
    expect(() => tree.feed(new Uint8Array(BLOCK_BYTES))).toThrow(RangeError);
  });

  testWith('veritysetup', 'is the one that veritysetup makes, and verifies', async (veritysetup) => {
    for (const blocks of [2, 128, 129, 300]) {
      await inFolder(async (folder) => {
        const { image, tree, rootHash, salt } = await build(folder, dataOf(blocks));
        await outputOf(veritysetup, 'verify', image, tree, toHex(rootHash));
        const uuid = guidText(rootHash.subarray(-16));
        const other = join(folder, 'other');
        const said = await outputOf(
          veritysetup,
          'format',
          `--salt=${toHex(salt)}`,
          `--uuid=${uuid}`,
          image,
          other,
        );
        expect(said).toContain(toHex(rootHash));
        expect((await readFile(other)).equals(await readFile(tree))).toBe(true);
      });
    }
  });
});

describe('verification of data, tree and root hash', () => {
  const BLOCKS = 130;

  test('accepts what was built', async () => {
    await inFolder(async (folder) => {
      const built = await build(folder, dataOf(BLOCKS));
      await verifyVerity(built.image, built.tree, built);
    });
  });

  test(
    'refuses one changed bit wherever it is',
    async () => {
      await inFolder(async (folder) => {
        const built = await build(folder, dataOf(BLOCKS));
        const genuine = { image: await readFile(built.image), tree: await readFile(built.tree) };
        const change = fc.record({
          which: fc.constantFrom('image', 'tree'),
          place: fc.double({ min: 0, max: 1, noNaN: true, maxExcluded: true }),
          bit: fc.nat(7),
        });
        await fc.assert(
          fc.asyncProperty(change, async ({ which, place, bit }) => {
            const bytes = Buffer.from(genuine[which]);
            bytes[Math.floor(place * bytes.length)]! ^= 1 << bit;
            await writeFile(built[which], bytes);
            expect(await codeOf(verifyVerity(built.image, built.tree, built))).toBe('IMAGE_VERITY_MISMATCH');
            await writeFile(built[which], genuine[which]);
          }),
          propertyRuns(60),
        );
      });
    },
    PROPERTY_TIMEOUT,
  );

  test('refuses another root hash, salt, or number of blocks', async () => {
    await inFolder(async (folder) => {
      const built = await build(folder, dataOf(BLOCKS));
      for (const other of [
        { ...built, rootHash: SALT },
        { ...built, salt: SALT.slice(1) },
        { ...built, dataBlocks: BLOCKS - 1 },
      ]) {
        expect(await codeOf(verifyVerity(built.image, built.tree, other))).toBe('IMAGE_VERITY_MISMATCH');
      }
    });
  });

  test.each(['image', 'tree'] as const)('refuses a shorter or longer %s', async (which) => {
    await inFolder(async (folder) => {
      const built = await build(folder, dataOf(BLOCKS));
      const { length } = await readFile(built[which]);
      for (const size of [length - BLOCK_BYTES, length + 1]) {
        await truncate(built[which], size);
        expect(await codeOf(verifyVerity(built.image, built.tree, built))).toBe('IMAGE_VERITY_MISMATCH');
      }
    });
  });
});
