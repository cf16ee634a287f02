import { describe, expect, test } from '@jest/globals';
import { utf8 } from '../../../../attestation/bytes/bytes.ts';
import { parseCudaPins, pinCudaPackages } from '../../../../enclave/image/cuda/cudaPins.ts';
import { cudaTree } from '../../../../enclave/image/cuda/cudaTree.ts';
import { Tree, type TreeEntry } from '../../../../enclave/image/tree.ts';
import { refusalCode } from '../release/refusalCode.ts';

const INDEX = `Package: libcuda1
Version: 580.1-1
Filename: ./libcuda1_580.1-1_amd64.deb
Size: 100
SHA256: ${'ab'.repeat(32)}
Description: a library
 on two lines

Package: libcuda1
Version: 580.2-1
Filename: ./libcuda1_580.2-1_amd64.deb
Size: 101
SHA256: ${'cd'.repeat(32)}
`;
const PINS = {
  version: 'vouchsafe/cuda-pins/1',
  kernel: '6.12.117+deb13-cloud-amd64',
  packages: pinCudaPackages(INDEX, [['libcuda1', '580.1-1']]),
  modules: [],
};

describe('pins of CUDA', () => {
  test('are exactly the version that was asked for', () => {
    expect(PINS.packages).toEqual([
      {
        name: 'libcuda1',
        version: '580.1-1',
        path: 'libcuda1_580.1-1_amd64.deb',
        bytes: 100,
        sha256: 'ab'.repeat(32),
      },
    ]);
    expect(parseCudaPins(utf8(JSON.stringify(PINS)))).toEqual(PINS);
  });

  test('a version that is not there is not replaced by another', async () => {
    expect(await refusalCode(() => pinCudaPackages(INDEX, [['libcuda1', '580.3-1']]))).toBe(
      'IMAGE_PINS_INVALID',
    );
  });

  test.each<[what: string, pins: unknown]>([
    ['a member more', { ...PINS, more: 1 }],
    ['a path that leads away', { ...PINS, packages: [{ ...PINS.packages[0], path: '../x.deb' }] }],
    ['no digest', { ...PINS, packages: [{ ...PINS.packages[0], sha256: '' }] }],
    ['another module', { ...PINS, modules: [{ name: 'other.ko', bytes: 1, sha256: 'ab'.repeat(32) }] }],
  ])('with %s are refused', async (_what, pins) => {
    expect(await refusalCode(() => parseCudaPins(utf8(JSON.stringify(pins))))).toBe('IMAGE_PINS_INVALID');
  });
});

describe('the tree of CUDA', () => {
  const file: TreeEntry = { kind: 'file', mode: 0o755, content: utf8('library') };
  const toolkit = ['libcudart.so.13', 'libcublas.so.13', 'libcublasLt.so.13', 'libcurand.so.10'];

  function packageTree(change: (tree: Tree) => void = () => undefined): Tree {
    const tree = new Tree();
    tree.add('usr/lib/x86_64-linux-gnu/libcuda.so.580.1', file);
    tree.add('usr/lib/x86_64-linux-gnu/libcuda.so.1', { kind: 'link', target: 'libcuda.so.580.1' });
    tree.add('usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1', file);
    for (const name of toolkit) tree.add(`usr/local/cuda-13.0/targets/x86_64-linux/lib/${name}`, file);
    tree.add('lib/firmware/nvidia/580.1/gsp_ga10x.bin', file);
    tree.add('usr/bin/nvidia-smi', file);
    change(tree);
    return tree;
  }

  test('has libraries and firmware where the image looks for them, and no program', () => {
    const paths = cudaTree([packageTree()])
      .entries()
      .filter(([, entry]) => entry.kind !== 'folder');
    expect(paths.map(([path]) => path)).toEqual([
      'usr/lib/firmware/nvidia/580.1/gsp_ga10x.bin',
      ...[...toolkit, 'libcuda.so.1', 'libcuda.so.580.1', 'libnvidia-ml.so.1']
        .toSorted()
        .map((name) => `usr/lib/x86_64-linux-gnu/${name}`),
    ]);
    expect(
      paths.every(([, entry]) => entry.kind === 'link' || (entry.kind === 'file' && entry.mode === 0o644)),
    ).toBe(true);
  });

  test.each<[what: string, change: (tree: Tree) => void, code: string]>([
    [
      'a link into nothing',
      (tree) => tree.add('usr/lib/x86_64-linux-gnu/libnvidia-ml.so.1', { kind: 'link', target: 'nothing' }),
      'IMAGE_INPUT_MISSING',
    ],
    [
      'a link to itself',
      (tree) => tree.add('usr/lib/x86_64-linux-gnu/libcuda.so.1', { kind: 'link', target: 'libcuda.so.1' }),
      'IMAGE_INPUT_MISSING',
    ],
    [
      'a link out of the folder',
      (tree) => tree.add('usr/lib/x86_64-linux-gnu/libx.so.1', { kind: 'link', target: '/data/x' }),
      'IMAGE_INPUT_MALFORMED',
    ],
  ])('with %s is refused', async (_what, change, code) => {
    expect(await refusalCode(() => cudaTree([packageTree(change)]))).toBe(code);
  });

  test('without firmware or libraries is refused', async () => {
    expect(await refusalCode(() => cudaTree([new Tree()]))).toBe('IMAGE_INPUT_MISSING');
  });
});
