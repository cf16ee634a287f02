import { describe, expect, test } from '@jest/globals';
import { addCopyrights, addLibraries, addNode } from '../../../../enclave/image/application/runtime.ts';
import { addSettings, osRelease } from '../../../../enclave/image/application/settings.ts';
import { Tree, type TreeEntry } from '../../../../enclave/image/tree.ts';
import { file, listing, treeOf } from '../inputs/archives.ts';
import { elfFile } from './elfFile.ts';

const LIBRARIES = 'usr/lib/x86_64-linux-gnu';

function library(...needed: readonly string[]): TreeEntry {
  return { kind: 'file', mode: 0o644, content: elfFile({ needed }) };
}

function libc(): Tree {
  const names = [
    'libc.so.6',
    'ld-linux-x86-64.so.2',
    'libdl.so.2',
    'libpthread.so.0',
    'librt.so.1',
    'libresolv.so.2',
  ];
  return treeOf(Object.fromEntries(names.map((name) => [`${LIBRARIES}/${name}`, library()])));
}

const gcc = treeOf({
  [`${LIBRARIES}/libgcc_s.so.1`]: library('libc.so.6'),
  [`${LIBRARIES}/libstdc++.so.6`]: { kind: 'link', target: 'libstdc++.so.6.0.33' },
  [`${LIBRARIES}/libstdc++.so.6.0.33`]: library('libm.so.6'),
  [`${LIBRARIES}/libm.so.6`]: library(),
  [`${LIBRARIES}/libunused.so.1`]: library(),
});

function code(act: () => unknown): unknown {
  try {
    return act();
  } catch (error) {
    return (error as { readonly code?: string }).code;
  }
}

describe('libraries of the root', () => {
  test('are those that something needs, under the name that it asks for', () => {
    const root = treeOf({
      'usr/bin/node': library('libstdc++.so.6'),
      'app/a.node': library('libown.so.1'),
      'app/libown.so.1': library(),
    });
    addLibraries(root, [libc(), gcc]);
    const added = root
      .entries()
      .filter(([path]) => path.startsWith('usr/lib/x86_64-linux-gnu/') || path.startsWith('lib64/'));
    expect(added.map(([path, entry]) => `${path} ${entry.kind === 'file' ? entry.mode.toString(8) : entry.kind}`)).toEqual([
      'lib64/ld-linux-x86-64.so.2 755',
      ...['libc.so.6', 'libdl.so.2', 'libgcc_s.so.1', 'libm.so.6', 'libpthread.so.0', 'libresolv.so.2', 'librt.so.1', 'libstdc++.so.6']
        .map((name) => `${LIBRARIES}/${name} 644`),
    ]); // prettier-ignore
  });

  test('one that no package has stops the build, and so does a program for another machine', () => {
    expect(code(() => addLibraries(treeOf({ a: library('libssl.so.3') }), [libc(), gcc]))).toBe(
      'IMAGE_INPUT_MISSING',
    );
    const arm: TreeEntry = { kind: 'file', mode: 0o644, content: elfFile({ machine: 183 }) };
    expect(code(() => addLibraries(treeOf({ a: arm }), [libc(), gcc]))).toBe('IMAGE_TREE_INVALID');
  });

  test('Node comes without its package manager', () => {
    const root = new Tree();
    addNode(
      root,
      treeOf({
        'package/bin/node': file('node', 0o755),
        'package/bin/npm': file('npm', 0o755),
        'package/LICENSE': file('free'),
      }),
    );
    expect(root.entries().filter(([, entry]) => entry.kind === 'file').map(([path]) => path)).toEqual([
      'usr/bin/node',
      'usr/share/doc/node/LICENSE',
    ]); // prettier-ignore
    expect(code(() => addNode(root, new Tree()))).toBe('IMAGE_INPUT_MISSING');
  });

  test('licences follow the links of packages that share them', () => {
    const root = new Tree();
    addCopyrights(root, [
      {
        name: 'libgcc-s1',
        tree: treeOf({ 'usr/share/doc/libgcc-s1': { kind: 'link', target: 'gcc-14-base' } }),
      },
      { name: 'gcc-14-base', tree: treeOf({ 'usr/share/doc/gcc-14-base/copyright': file('GPL') }) },
    ]);
    expect(listing(root)).toContain('usr/share/doc/libgcc-s1/copyright 644 GPL');
    expect(code(() => addCopyrights(root, [{ name: 'other', tree: new Tree() }]))).toBe(
      'IMAGE_INPUT_MISSING',
    );
  });
});

describe('settings of the root', () => {
  test('name servers are those of the lease, nobody has a shell', () => {
    const root = new Tree();
    addSettings(root, osRelease('vouchsafe-1.0.0', '1.0.0'), Buffer.from('{}'));
    expect(listing(root)).toEqual(
      expect.arrayContaining([
        'etc/resolv.conf -> /run/resolv.conf',
        'etc/vouchsafe/config.json 644 {}',
        'etc/passwd 644 root:x:0:0:root:/:/nonexistent\n',
        'models/ 755',
        'data/ 755',
      ]),
    );
  });

  test.each([
    ['no JSON', '{'],
    ['no object', '[]'],
    ['nothing', 'null'],
    ['too long', `{"a":"${'a'.repeat(1024 * 1024)}"}`],
  ])('a configuration that is %s is refused', (_, text) => {
    expect(code(() => addSettings(new Tree(), '', Buffer.from(text)))).toBe('IMAGE_CONFIG_INVALID');
  });
});
