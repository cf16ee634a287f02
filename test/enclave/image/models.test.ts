import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { modelFacts } from '../../../enclave/image/inputFacts.ts';
import { modelsTree } from '../../../enclave/image/models.ts';
import { inFolder } from '../../support/folder.ts';

describe('models of an image', () => {
  test('are the folders of a folder, read when they are needed', async () => {
    await inFolder(async (folder) => {
      await mkdir(join(folder, 'small', 'onnx'), { recursive: true });
      await mkdir(join(folder, '.cache'));
      await writeFile(join(folder, 'README.md'), 'read me');
      await writeFile(join(folder, 'small', 'config.json'), '{}');
      await writeFile(join(folder, 'small', 'onnx', 'model.onnx'), 'weights');
      const { tree, names } = await modelsTree(folder);
      expect(names).toEqual(['small']);
      expect(tree.entries().map(([path]) => path)).toEqual([
        'small',
        'small/config.json',
        'small/onnx',
        'small/onnx/model.onnx',
      ]);
      expect(await modelFacts(names, tree)).toEqual([
        expect.objectContaining({ kind: 'model', name: 'small', path: 'small', bytes: 9, uses: ['models'] }),
      ]);
    });
  });

  test('a folder without any is refused, and so is none', async () => {
    const invalid = expect.objectContaining({ code: 'IMAGE_TREE_INVALID' });
    await inFolder(async (folder) => {
      await expect(modelsTree(folder)).rejects.toEqual(invalid);
      await expect(modelsTree(join(folder, 'none'))).rejects.toEqual(invalid);
    });
  });
});
