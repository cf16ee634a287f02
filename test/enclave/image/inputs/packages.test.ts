import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { propertyRuns } from '../../../support/runs.ts';
import { ImageError } from '../../../../enclave/image/errors.ts';
import { readDebPackage, readNpmPackage } from '../../../../enclave/image/inputs/packages.ts';
import { unpackXz } from '../../../../enclave/image/inputs/xz.ts';
import { inFolder } from '../../../support/folder.ts';
import { arOf, listing, tarOf } from './archives.ts';

const TEXT = 'Vouchsafe vouches. Vouchsafe vouches again, and again, and again.\n';
/** `xz -9 --check=…` of the text. */
const PACKED = {
  crc32:
    '/Td6WFoAAAFpIt42AgAhARwAAAAQz1jM4ABBACddACsbyqZFKv5ksZ/I/laDiPkOOvDv6prbvaXRuLND+kESh0Kr6YQAAAAA+nJLlwABP0Krv4rgkEKZDQEAAAAAAVla',
  crc64:
    '/Td6WFoAAATm1rRGAgAhARwAAAAQz1jM4ABBACddACsbyqZFKv5ksZ/I/laDiPkOOvDv6prbvaXRuLND+kESh0Kr6YQAAAAAsn9qeowRtRIAAUNCUYkAYx+2830BAAAAAARZWg==',
};
const malformed = expect.objectContaining({ code: 'IMAGE_INPUT_MALFORMED' });
const tar = tarOf({ name: './usr/share/doc/p/copyright', content: Buffer.from('free') });

async function readAs(read: typeof readDebPackage, bytes: Uint8Array): Promise<readonly string[]> {
  return await inFolder(async (folder) => {
    await writeFile(join(folder, 'package'), bytes);
    return listing(await read(join(folder, 'package')));
  });
}

describe('xz files', () => {
  test.each(Object.entries(PACKED))('are unpacked with %s', async (_, packed) => {
    expect(Buffer.from(await unpackXz(Buffer.from(packed, 'base64'))).toString()).toBe(TEXT);
  });

  test('are refused when they unpack to more than there is room for', async () => {
    await expect(unpackXz(Buffer.from(PACKED.crc64, 'base64'), TEXT.length - 1)).rejects.toEqual(malformed);
  });

  test('a damaged file gives the same bytes or is refused', async () => {
    const good = Buffer.from(PACKED.crc64, 'base64');
    await fc.assert(
      fc.asyncProperty(fc.nat(good.length - 1), fc.integer({ min: 1, max: 255 }), async (at, change) => {
        const bytes = Buffer.from(good);
        bytes.writeUInt8(bytes.readUInt8(at) ^ change, at);
        const result = await unpackXz(bytes).catch((error: unknown) => error);
        if (result instanceof Uint8Array) expect(Buffer.from(result).toString()).toBe(TEXT);
        else expect(result).toBeInstanceOf(ImageError);
      }),
      propertyRuns(60),
    );
  });

  test.each([
    ['nothing', Buffer.alloc(0)],
    ['a cut file', Buffer.from(PACKED.crc64, 'base64').subarray(0, -4)],
    ['something after its end', Buffer.concat([Buffer.from(PACKED.crc64, 'base64'), Buffer.from('more')])],
  ])('refuses %s', async (_, bytes) => {
    await expect(unpackXz(bytes)).rejects.toEqual(malformed);
  });
});

describe('packages', () => {
  test.each([
    ['another format', arOf({ 'debian-binary': Buffer.from('3.0\n'), 'data.tar.xz': Buffer.alloc(2) })],
    ['another order', arOf({ 'data.tar.xz': Buffer.alloc(2), 'debian-binary': Buffer.from('2.0\n') })],
    ['another compression', arOf({ 'debian-binary': Buffer.from('2.0\n'), 'data.tar.zst': Buffer.alloc(2) })],
    [
      'no archive',
      arOf({ 'debian-binary': Buffer.from('2.0\n'), 'data.tar.xz': Buffer.from(PACKED.crc64, 'base64') }),
    ],
  ])('of Debian are refused with %s', async (_, bytes) => {
    await expect(readAs(readDebPackage, bytes)).rejects.toEqual(malformed);
  });

  test('of npm give what they consist of', async () => {
    expect(await readAs(readNpmPackage, gzipSync(tar))).toContain('usr/share/doc/p/copyright 644 free');
    await expect(readAs(readNpmPackage, tar)).rejects.toEqual(malformed);
    await expect(readAs(readNpmPackage, gzipSync('free'))).rejects.toEqual(malformed);
  });
});
