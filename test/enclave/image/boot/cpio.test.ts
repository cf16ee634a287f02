import { mkdir, readFile, readlink, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execFileSync } from 'node:child_process';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { toHex, utf8 } from '../../../../attestation/bytes/bytes.ts';
import { buildCpio, cpioEntry } from '../../../../enclave/image/boot/cpio.ts';
import { readCpio } from '../../../../enclave/image/boot/readCpio.ts';
import { ImageError } from '../../../../enclave/image/errors.ts';
import { Tree, type TreeEntry } from '../../../../enclave/image/tree.ts';
import { errorOf } from '../../../support/refusal.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../../support/runs.ts';
import { inFolder } from '../../../support/folder.ts';
import { testWith } from '../../../support/programs.ts';

const NOTHING = new Uint8Array();

function treeOf(entries: Readonly<Record<string, TreeEntry>>): Tree {
  const tree = new Tree();
  for (const [path, entry] of Object.entries(entries)) tree.add(path, entry);
  return tree;
}

const TREE = treeOf({
  init: { kind: 'file', mode: 0o755, content: utf8('#!') },
  'modules/dm-mod.ko': { kind: 'file', mode: 0o644, content: Uint8Array.from({ length: 4097 }, (_, i) => i) },
  'modules/latest': { kind: 'link', target: 'dm-mod.ko' },
  empty: { kind: 'folder', mode: 0o700 },
});

const codeOf = (step: () => unknown) => errorOf(ImageError, step)?.code;

describe('an initrd', () => {
  test('has the bytes of the format', async () => {
    const archive = Buffer.from(
      await buildCpio(treeOf({ a: { kind: 'file', mode: 0o755, content: utf8('hello') } })),
    );
    const number = (value: number) => value.toString(16).padStart(8, '0');
    expect(archive.toString('latin1')).toBe(
      [
        '070701', ...[1, 0o100755, 0, 0, 1, 0, 5, 0, 0, 0, 0, 2, 0].map(number), 'a\0', 'hello\0\0\0',
        '070701', ...[0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 11, 0].map(number), 'TRAILER!!!\0', '\0\0\0',
      ].join(''),
    ); // prettier-ignore
  });

  test('has folders before what is in them, in the order of their bytes', async () => {
    const read = readCpio(await buildCpio(TREE));
    expect(read.entries().map(([path]) => path)).toEqual([
      'empty', 'init', 'modules', 'modules/dm-mod.ko', 'modules/latest',
    ]); // prettier-ignore
    expect(read.entries()).toEqual(TREE.entries());
  });

  test('does not depend on the order in which a tree was filled', async () => {
    const other = new Tree();
    for (const [path, entry] of [...TREE.entries()].reverse()) other.add(path, entry);
    expect(toHex(await buildCpio(other))).toBe(toHex(await buildCpio(TREE)));
  });

  test('takes files of the build machine, and refuses one that is not as large as it was', async () => {
    await inFolder(async (folder) => {
      const path = join(folder, 'file');
      await writeFile(path, 'content');
      const of = (size: number) =>
        buildCpio(treeOf({ f: { kind: 'file', mode: 0o644, content: { path, size } } }));
      expect(readCpio(await of(7)).get('f')).toEqual({ kind: 'file', mode: 0o644, content: utf8('content') });
      await expect(of(8)).rejects.toMatchObject({ code: 'IMAGE_TREE_INVALID' });
      await expect(of(2 ** 30)).rejects.toMatchObject({ code: 'IMAGE_TOO_LARGE' });
    });
  });

  test('refuses a path that no kernel takes', async () => {
    const tree = treeOf({ ['n'.repeat(4096)]: { kind: 'folder', mode: 0o755 } });
    await expect(buildCpio(tree)).rejects.toMatchObject({ code: 'IMAGE_TREE_INVALID' });
  });

  test('of any tree is read as it was written', async () => {
    const name = fc.stringMatching(/^[a-zé_-]{1,12}$/);
    const path = fc.array(name, { minLength: 1, maxLength: 3 }).map((parts) => parts.join('/'));
    const mode = fc.nat(0o7777);
    const entry: fc.Arbitrary<TreeEntry> = fc.oneof(
      fc.record({ kind: fc.constant('file' as const), mode, content: fc.uint8Array({ maxLength: 40 }) }),
      fc.record({ kind: fc.constant('link' as const), target: fc.stringMatching(/^[a-z/.]{1,20}$/) }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(fc.tuple(path, entry), { maxLength: 12 }), async (chosen) => {
        const tree = new Tree();
        const isFree = (one: string): boolean =>
          one.split('/').every((_, index, parts) => {
            const above = tree.get(parts.slice(0, index + 1).join('/'));
            return above === undefined || (index + 1 < parts.length && above.kind === 'folder');
          });
        for (const [one, what] of chosen) if (isFree(one)) tree.add(one, what);
        const archive = await buildCpio(tree);
        expect(archive.length % 4).toBe(0);
        expect(readCpio(archive).entries()).toEqual(tree.entries());
      }),
      propertyRuns(100),
    );
  });

  testWith('cpio', 'is what cpio unpacks', async (cpio) => {
    await inFolder(async (folder) => {
      const into = join(folder, 'into');
      await mkdir(into);
      execFileSync(cpio, ['-i', '--quiet', '--no-preserve-owner'], {
        cwd: into,
        input: await buildCpio(TREE),
      });
      expect((await readFile(join(into, 'modules/dm-mod.ko'))).length).toBe(4097);
      expect(await readlink(join(into, 'modules/latest'))).toBe('dm-mod.ko');
      expect((await stat(join(into, 'empty'))).mode & 0o777).toBe(0o700);
    });
  });
});

describe('an archive of others is refused', () => {
  const end = cpioEntry('TRAILER!!!', { inode: 0, mode: 0 }, NOTHING);
  const file = (path: string, inode = 1, mode = 0o100644) => cpioEntry(path, { inode, mode }, utf8('x'));
  const folder = (path: string, inode: number) => cpioEntry(path, { inode, mode: 0o040755 }, NOTHING);

  test.each<[why: string, archive: Uint8Array]>([
    ['empty', NOTHING],
    ['without its end', file('a')],
    ['with something behind its end', Buffer.concat([end, Buffer.alloc(4)])],
    ['with paths out of order', Buffer.concat([file('b'), file('a', 2), end])],
    ['with a path twice', Buffer.concat([file('a'), file('a', 2), end])],
    ['with a file in no folder', Buffer.concat([file('a/b'), end])],
    ['with a file below a file', Buffer.concat([file('a'), file('a/b', 2), end])],
    ['that leads above its root', Buffer.concat([folder('..', 1), end])],
    ['with an absolute path', Buffer.concat([file('/a'), end])],
    ['with a device', Buffer.concat([cpioEntry('a', { inode: 1, mode: 0o020644 }, NOTHING), end])],
    [
      'with content of a folder',
      Buffer.concat([cpioEntry('a', { inode: 1, mode: 0o040755 }, utf8('x')), end]),
    ],
    ['with inodes out of order', Buffer.concat([file('a', 7), end])],
    ['with an impossible mode', Buffer.concat([file('a', 1, 0o1_100644), end])],
    ['with an end that has content', cpioEntry('TRAILER!!!', { inode: 0, mode: 0 }, utf8('more'))],
    ['of the format with checksums', Buffer.concat([utf8('070702'), end.subarray(6)])],
  ])('%s', (_why, archive) => {
    expect(codeOf(() => readCpio(archive))).toBe('IMAGE_PART_MALFORMED');
  });

  test.each<[why: string, field: number, value: string]>([
    ['an owner', 2, '00000001'],
    ['a time', 5, '00000001'],
    ['a second link', 4, '00000002'],
    ['a device', 9, '00000001'],
    ['a size beyond it', 6, '7fffffff'],
    ['a name without end', 11, '7fffffff'],
    ['an empty name', 11, '00000000'],
    ['digits in upper case', 12, '0000000A'],
  ])('with %s', (_why, field, value) => {
    const archive = Buffer.concat([file('a'), end]);
    archive.write(value, 6 + 8 * field, 'latin1');
    expect(codeOf(() => readCpio(archive))).toBe('IMAGE_PART_MALFORMED');
  });

  test(
    'or read, and then written again, whatever was changed',
    async () => {
      const genuine = await buildCpio(TREE);
      await fc.assert(
        fc.asyncProperty(
          fc.nat(genuine.length - 1),
          fc.nat(255),
          fc.nat(genuine.length),
          async (at, value, length) => {
            const bytes = Uint8Array.from(genuine);
            bytes[at] = value;
            expect(length === bytes.length || codeOf(() => readCpio(bytes.subarray(0, length)))).toBeTruthy();
            let read: Tree;
            try {
              read = readCpio(bytes);
            } catch (error) {
              expect(error).toMatchObject({ code: 'IMAGE_PART_MALFORMED' });
              return;
            }
            expect(toHex(await buildCpio(read))).toBe(toHex(bytes));
          },
        ),
        propertyRuns(300),
      );
    },
    PROPERTY_TIMEOUT,
  );
});
