import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { propertyRuns } from '../../../support/runs.ts';
import { ImageError } from '../../../../enclave/image/errors.ts';
import { readTar } from '../../../../enclave/image/inputs/tarReader.ts';
import { writeTar } from '../../../../enclave/image/inputs/tarWriter.ts';
import type { Tree } from '../../../../enclave/image/tree.ts';
import { inFolder } from '../../../support/folder.ts';
import { file, listing, tarEntry, tarOf, treeOf } from './archives.ts';

const malformed = expect.objectContaining({ code: 'IMAGE_INPUT_MALFORMED' });
const hello = { name: './usr/hello', content: Buffer.from('hello') };

function pax(key: string, value: string): Buffer {
  const rest = ` ${key}=${value}\n`;
  const length = rest.length + String(rest.length + 3).length;
  return Buffer.from(`${length}${rest}`);
}

function written(tree: Tree): Promise<Buffer> {
  return inFolder(async (folder) => {
    await writeTar(tree, join(folder, 'tree.tar'));
    return await readFile(join(folder, 'tree.tar'));
  });
}

describe('reading tar archives', () => {
  test('gives files, folders and links without owners and times', () => {
    const archive = tarOf(
      { name: './', type: '5', mode: 0o755 },
      { name: './usr/', type: '5', mode: 0o755, isGnu: true },
      { ...hello, isGnu: true },
      { name: './usr/link', type: '2', target: 'hello' },
      { name: './usr/same', type: '1', target: './usr/hello' },
      { name: 'name', prefix: 'a/long', content: Buffer.from('x'), mode: 0o755 },
    );
    expect(listing(readTar(archive))).toEqual([
      'a/ 755',
      'a/long/ 755',
      'a/long/name 755 x',
      'usr/ 755',
      'usr/hello 644 hello',
      'usr/link -> hello',
      'usr/same 644 hello',
    ]);
  });

  test('reads long names of GNU tar and of pax', () => {
    const long = `usr/${'long/'.repeat(30)}name`;
    const archive = tarOf(
      { name: '././@LongLink', type: 'L', content: Buffer.from(`${long}\0`), isGnu: true },
      { ...hello, name: 'cut', isGnu: true },
      { name: 'x', type: 'x', content: Buffer.concat([pax('mtime', '1.5'), pax('linkpath', 'target')]) },
      { name: 'link', type: '2', target: 'cut' },
    );
    const tree = readTar(archive);
    expect(tree.get(long)).toMatchObject({ kind: 'file' });
    expect(tree.get('link')).toEqual({ kind: 'link', target: 'target' });
  });

  test.each([
    ['nothing', Buffer.alloc(0)],
    ['no end mark', tarOf(hello).subarray(0, 1024)],
    ['something after its end', Buffer.concat([tarOf(hello), Buffer.from('x')])],
    ['a cut file', tarEntry({ ...hello, size: 5000 })],
    ['a damaged header', Buffer.concat([Buffer.from('y'), tarOf(hello).subarray(1)])],
    ['a path that leaves it', tarOf({ ...hello, name: 'usr/../../etc/passwd' })],
    ['an absolute path', tarOf({ ...hello, name: '/etc/passwd' })],
    ['a path twice', tarOf(hello, hello)],
    ['a device', tarOf({ name: 'null', type: '3' })],
    ['a link to nothing', tarOf({ name: 'link', type: '2' })],
    ['the same file as one that is not there', tarOf({ name: 'same', type: '1', target: 'hello' })],
    ['a file below a link', tarOf({ name: 'usr', type: '2', target: '/tmp' }, hello)],
    ['a file below a file', tarOf({ ...hello, name: 'usr' }, hello)],
    ['a long name without entry', tarOf({ name: 'x', type: 'L', content: Buffer.from('usr/name') })],
    ['a size in a pax record', tarOf({ name: 'x', type: 'x', content: pax('size', '9') }, hello)],
    ['a global pax record', tarOf({ name: 'x', type: 'g', content: pax('path', 'other') }, hello)],
    ['a damaged pax record', tarOf({ name: 'x', type: 'x', content: Buffer.from('99 path=x\n') }, hello)],
    ['a name that is not UTF-8', tarOf({ name: 'x', type: 'L', content: Buffer.from([0xff, 0xfe]) }, hello)],
  ])('refuses %s', (_, archive) => {
    expect(() => readTar(archive)).toThrow(malformed);
  });

  test('a damaged archive is read within its bytes, or refused', () => {
    const good = tarOf({ name: 'usr/', type: '5', mode: 0o755 }, hello, {
      name: 'l',
      type: '2',
      target: 'usr',
    });
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 4 }), (changes) => {
        const bytes = Buffer.from(good);
        for (const [at, value] of changes) bytes[at] = value;
        try {
          for (const [path] of readTar(bytes).entries()) expect(path).not.toMatch(/^\/|(?:^|\/)\.\.(?:\/|$)/);
        } catch (error) {
          expect(error).toBeInstanceOf(ImageError);
        }
      }),
      propertyRuns(1000),
    );
  });
});

describe('writing tar archives', () => {
  const name = fc.stringMatching(/^[a-zà-ü][a-z0-9 _-]{0,60}$/);
  const path = fc.array(name, { minLength: 1, maxLength: 4 }).map((parts) => parts.join('/'));
  const entry = fc.oneof(
    fc.record({
      kind: fc.constant('file' as const),
      mode: fc.constantFrom(0o644, 0o755),
      content: fc.uint8Array({ maxLength: 1500 }),
    }),
    fc.record({ kind: fc.constant('link' as const), target: path }),
    fc.record({ kind: fc.constant('folder' as const), mode: fc.constantFrom(0o755, 0o700) }),
  );

  test('what was written is what is read, and the same whatever the order was', async () => {
    const entries = fc.uniqueArray(fc.tuple(path, entry), {
      maxLength: 12,
      // Nothing stands below a file or a link.
      comparator: ([a], [b]) => a === b || a.startsWith(`${b}/`) || b.startsWith(`${a}/`),
    });
    await fc.assert(
      fc.asyncProperty(entries, async (list) => {
        const tree = treeOf(Object.fromEntries(list));
        const archive = await written(tree);
        expect(listing(readTar(archive))).toEqual(listing(tree));
        expect(await written(treeOf(Object.fromEntries(list.toReversed())))).toEqual(archive);
      }),
      propertyRuns(60),
    );
  });

  test('root owns everything at time zero', async () => {
    const archive = await written(treeOf({ 'etc/passwd': file('root') }));
    expect(archive.toString('latin1', 108, 124)).toBe('0000000\x000000000\0');
    expect(archive.toString('latin1', 136, 148)).toBe('00000000000\0');
  });

  test('reads files of the build machine when they are needed, and refuses one that changed', async () => {
    await inFolder(async (folder) => {
      const path = join(folder, 'weights');
      await writeFile(path, 'weights');
      const content = (size: number) => ({ kind: 'file' as const, mode: 0o644, content: { path, size } });
      expect(listing(readTar(await written(treeOf({ 'm/w': content(7) }))))).toContain('m/w 644 weights');
      const changed = expect.objectContaining({ code: 'IMAGE_TREE_INVALID' });
      await expect(written(treeOf({ 'm/w': content(6) }))).rejects.toEqual(changed);
      await expect(written(treeOf({ 'm/w': content(8) }))).rejects.toEqual(changed);
    });
  });
});
