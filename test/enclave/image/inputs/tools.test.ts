import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { InputCache } from '../../../../enclave/image/inputs/cache.ts';
import { readPins } from '../../../../enclave/image/inputs/pins.ts';
import { Tools } from '../../../../enclave/image/inputs/tools.ts';
import { writeTar } from '../../../../enclave/image/inputs/tarWriter.ts';
import { buildErofs } from '../../../../enclave/image/disk/erofs.ts';
import { inFolder } from '../../../support/folder.ts';
import { file, treeOf } from './archives.ts';

/** Folder with the pinned inputs; nothing is fetched for tests. */
const CACHE = process.env['VOUCHSAFE_IMAGE_CACHE'];
const UUID = '6f3b3c7e-5a0d-4c55-9d8e-2b1f7a64c007';

/** Runs with the pinned tools, where their packages are at hand. */
function testWithTools(name: string, body: (tools: Tools, folder: string) => Promise<void>): void {
  if (CACHE === undefined) test.skip(`${name}: skipped: VOUCHSAFE_IMAGE_CACHE is not set`, () => undefined);
  else {
    test(
      name,
      async () => {
        await inFolder(async (folder) => {
          const cache = new InputCache({ folder: CACHE, offline: true });
          await body(await Tools.prepare(cache, await readPins(), join(folder, 'tools')), folder);
        });
      },
      120_000,
    );
  }
}

describe('pinned tools', () => {
  testWithTools('make the same file system under every umask', async (tools, folder) => {
    await writeTar(
      treeOf({ 'a/b': file('content '.repeat(2000)), 'a/c': file('c') }),
      join(folder, 'tree.tar'),
    );
    const made: Buffer[] = [];
    for (const umask of [0o022, 0o077]) {
      const before = process.umask(umask);
      const out = join(folder, `${umask}.erofs`);
      await buildErofs(tools, join(folder, 'tree.tar'), out, { uuid: UUID, compressed: true });
      expect(process.umask(before)).toBe(umask);
      made.push(await readFile(out));
    }
    expect(made[0]?.equals(made[1] ?? Buffer.alloc(0))).toBe(true);
  });

  testWithTools('a tool that fails says why', async (tools) => {
    await expect(tools.run('tcc', ['--nonsense'])).rejects.toMatchObject({
      code: 'IMAGE_TOOL_FAILED',
      message: expect.stringContaining('nonsense'),
    });
  });

  testWithTools('start without the environment of the build', async (tools) => {
    process.env['MTOOLSRC'] = '/nonexistent';
    try {
      expect(await tools.run('mcopy', ['--version'])).toContain('mtools');
    } finally {
      delete process.env['MTOOLSRC'];
    }
  });
});
