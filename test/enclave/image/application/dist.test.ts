import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { addDist, listFiles } from '../../../../enclave/image/application/dist.ts';
import { Tree } from '../../../../enclave/image/tree.ts';
import { inFolder } from '../../../support/folder.ts';
import { listing } from '../inputs/archives.ts';

const SOURCES = [
  'src/cli/main.ts',
  'src/main.ts',
  'enclave/image/guest/main.ts',
  'attestation/index.ts',
  'src/page/page.ts',
];
const CODE = SOURCES.filter((path) => !path.startsWith('src/page/')).map(
  (path) => `dist/${path.replace(/\.ts$/, '.js')}`,
);
const BESIDE = ['dist/src/page/page.html', 'dist/enclave/image/guest/init.c', 'dist/src/main.js.map', 'dist/src/main.d.ts', 'dist/service.tsbuildinfo', 'dist/.vouchsafe-stamp']; // prettier-ignore

/** A checkout with these files besides those that make it whole, and without some of them. */
async function build(
  more: readonly string[] = [],
  without: readonly string[] = [],
): Promise<readonly string[]> {
  return await inFolder(async (source) => {
    await mkdir(join(source, 'attestation'));
    for (const path of [...SOURCES, ...CODE, ...BESIDE, ...more].filter((file) => !without.includes(file))) {
      await mkdir(dirname(join(source, path)), { recursive: true });
      await writeFile(join(source, path), path);
    }
    const tree = new Tree();
    await addDist(tree, 'app/dist', source);
    return listing(tree).filter((line) => !line.includes('/ '));
  });
}

describe('the build of a checkout', () => {
  test('goes into the image without what only compilers and debuggers read', async () => {
    expect(await build()).toEqual(
      [...CODE, 'dist/enclave/image/guest/init.c', 'dist/src/page/page.html']
        .sort()
        .map((path) => `app/${path} 644 ${path}`),
    );
  });

  test.each<[string, readonly string[], readonly string[]]>([
    ['code is missing', ['src/new.ts'], []],
    ['code is without a source', ['dist/src/old.js'], []],
    ['nothing was built', [], [...CODE, ...BESIDE]],
    [
      'the program of the guest is missing',
      [],
      ['enclave/image/guest/main.ts', 'dist/enclave/image/guest/main.js'],
    ],
  ])('is refused where %s', async (_, more, without) => {
    await expect(build(more, without)).rejects.toEqual(
      expect.objectContaining({ code: 'IMAGE_APPLICATION_INVALID' }),
    );
  });

  test('links are refused: they lead to files that nobody looked at', async () => {
    await inFolder(async (folder) => {
      await symlink('/etc/passwd', join(folder, 'link'));
      await expect(listFiles(folder)).rejects.toEqual(
        expect.objectContaining({ code: 'IMAGE_TREE_INVALID' }),
      );
    });
  });
});
