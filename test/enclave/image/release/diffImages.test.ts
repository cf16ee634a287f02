import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from '@jest/globals';
import { diffImages, type ImageDiff, type Side } from '../../../../enclave/image/release/diffImages.ts';
import { parseFileLists } from '../../../../enclave/image/release/fileLists.ts';
import { FILES } from '../../../../enclave/image/release/manifest.ts';
import { type MintedImage, mintImage } from './mintedImage.ts';

async function sideOf(changes: MintedImage = {}): Promise<Side> {
  const { folder, manifest } = await mintImage(changes);
  return { manifest, files: parseFileLists(await readFile(join(folder, FILES.fileLists))) };
}

let base: Side;
beforeAll(async () => {
  base = await sideOf();
});

/** Registers of the SHA-256 bank of a boot from disk, each with what changed it. */
function registers({ values }: ImageDiff): Readonly<Record<string, readonly string[]>> {
  return Object.fromEntries<readonly string[]>(
    values
      .filter(({ profile }) => profile === 'tpm sha256 disk')
      .map(({ member, because }) => [member.split('.').at(-1) ?? '', because] as const),
  );
}

describe('the difference of images', () => {
  test('that are the same is none', async () => {
    expect(diffImages(base, await sideOf())).toEqual({
      measuresSame: true, parameters: [], inputs: [], files: [], parts: [], values: [],
    }); // prettier-ignore
  });

  test('leads from a package over root file system and command line to the registers', async () => {
    const diff = diffImages(base, await sideOf({ nodeVersion: '24.1.0', program: 'newer' }));
    expect(diff.inputs).toMatchObject([
      { change: 'changed', kind: 'npm', name: '@scope/node-linux-x64', uses: ['root'] },
    ]);
    expect(diff.files).toEqual([{ change: 'changed', layer: 'root', path: 'usr/bin/node' }]);
    const [root, cmdline] = diff.parts;
    expect(root?.part).toBe('root file system');
    expect(root?.because[0]).toBe('npm @scope/node-linux-x64 24.0.0 -> 24.1.0');
    expect(cmdline?.part).toBe('command line');
    expect(cmdline?.because[0]).toBe('root file system');
    expect(registers(diff)).toEqual({
      '4': ['unified kernel image'],
      '5': ['partition table'],
      '9': ['command line'],
      '11': ['command line'],
    });
  });

  test('an initrd changes no command line and no partition', async () => {
    const diff = diffImages(base, await sideOf({ init: 'other' }));
    expect(diff.parts.map(({ part }) => part)).toEqual(['initrd', 'unified kernel image']);
    expect(registers(diff)).toEqual({ '4': ['unified kernel image'], '9': ['initrd'], '11': ['initrd'] });
  });

  test('a kernel shows in the registers of what is started, and a word in those of the command line', async () => {
    const kernel = diffImages(base, await sideOf({ kernel: 'other' }));
    expect(kernel.parts[0]).toEqual({ part: 'kernel', because: ['debian linux-image-6.12.0-cloud-amd64'] });
    expect(registers(kernel)).toEqual({ '4': ['unified kernel image', 'kernel'], '11': ['kernel'] });
    const quiet = diffImages(base, await sideOf({ quiet: true }));
    expect(quiet.parts[0]).toEqual({ part: 'command line', because: ['with «quiet»'] });
    expect(registers(quiet)).toEqual({
      '4': ['unified kernel image'],
      '9': ['command line'],
      '11': ['command line'],
    });
  });

  test('models that come and go are a part of their own', async () => {
    const diff = diffImages(base, await sideOf({ models: 'weights' }));
    expect(diff.parts[0]?.part).toBe('models');
    expect(diff.files?.every(({ change, layer }) => change === 'added' && layer === 'models')).toBe(true);
    expect(Object.keys(registers(diff))).toEqual(['4', '5', '9', '11']);
  });

  test('every changed value has a changed part, and every other value none', async () => {
    for (const changes of [
      { kernel: 'b' },
      { init: 'b' },
      { program: 'b' },
      { quiet: true },
      { models: 'b' },
    ]) {
      const { values } = diffImages(base, await sideOf(changes));
      expect(values.length).toBeGreaterThan(0);
      expect(values.filter(({ because }) => because.length === 0)).toEqual([]);
    }
  });

  test('values that one of them alone was predicted for are said to be so', async () => {
    const diff = diffImages(
      base,
      await sideOf({ profiles: [{ platform: 'tpm', bank: 'sha256', boot: 'disk' }] }),
    );
    expect(new Set(diff.values.map(({ because }) => because.join()))).toEqual(
      new Set(['only one of them was predicted so']),
    );
  });

  test('without lists of files the files are not compared', () => {
    expect(diffImages({ ...base, files: undefined }, base).files).toBeUndefined();
  });
});
