import { chmod, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { filesOf, layoutOf } from '../../../src/models/release/layout.ts';
import { changeStore } from '../../../src/models/release/releaseStore.ts';
import { readRelease } from '../../../src/models/store.ts';
import { startTestEngine } from '../../support/engine.ts';
import { craftOnnx } from '../../support/onnx.ts';
import { add, modelFolder, temporaryFolder } from '../../support/releases.ts';

/** The same length, another weight. */
function otherWeights(): Uint8Array {
  const bytes = Buffer.from(craftOnnx());
  bytes[bytes.indexOf(Buffer.from(Float32Array.of(1, 2, 3, 4).buffer))]! ^= 1;
  return bytes;
}

async function spoil(directory: string): Promise<void> {
  const path = join(filesOf(layoutOf(directory), 'tiny@1'), 'model.onnx');
  await chmod(path, 0o644);
  await writeFile(path, otherWeights());
}

const INPUT = { name: 'x', datatype: 'FP32', shape: [4], data: Float32Array.of(0, 0, 0, 0) } as const;

describe('the engine and releases', () => {
  test('a changed byte is caught when the release is loaded', async () => {
    const directory = await temporaryFolder();
    await add({ directory, source: await modelFolder() });
    await spoil(directory);
    await expect(startTestEngine(directory)).rejects.toMatchObject({ code: 'FILE_CHANGED', file: 'model.onnx' });
  });

  test('what changes after the load changes no answer, and is refused at the next load', async () => {
    const directory = await temporaryFolder();
    await add({ directory, source: await modelFolder() });
    const engine = await startTestEngine(directory);
    try {
      const before = await engine.infer('tiny', [INPUT]);
      await spoil(directory);
      expect(await engine.infer('tiny', [INPUT])).toEqual(before);
      const source = await readRelease(directory, 'tiny@1');
      await expect(engine.load(source)).rejects.toMatchObject({ code: 'FILE_CHANGED' });
    } finally {
      await engine.close();
    }
  });

  test('a name serves another release once it is loaded anew', async () => {
    const directory = await temporaryFolder();
    await add({ directory, source: await modelFolder() });
    const engine = await startTestEngine(directory);
    try {
      const first = engine.models.get('tiny')!.manifestDigest;
      await add({ directory, source: await modelFolder({ 'model.onnx': otherWeights() }), release: 'tiny@2' });
      await changeStore(directory, (store) => store.setAlias('tiny', 'tiny@2'));
      const loaded = await engine.load({ ...(await readRelease(directory, 'tiny@2')), id: 'tiny' });
      expect(loaded.manifestDigest).not.toEqual(first);
      expect((await engine.load(await readRelease(directory, 'tiny@1'))).manifestDigest).toEqual(first);
      expect([...engine.models.keys()].sort()).toEqual(['tiny', 'tiny@1']);
    } finally {
      await engine.close();
    }
  });
});
