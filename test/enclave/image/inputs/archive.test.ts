import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { archiveInputs, LIST } from '../../../../enclave/image/inputs/archive.ts';
import { InputCache } from '../../../../enclave/image/inputs/cache.ts';
import type { NpmPin, SourcePin } from '../../../../enclave/image/inputs/pins.ts';
import { inFolder } from '../../../support/folder.ts';

const CONTENT = Buffer.from('sources');
const sha256 = createHash('sha256').update(CONTENT).digest('hex');
const sha512 = createHash('sha512').update(CONTENT).digest();
const SOURCE: SourcePin = {
  kind: 'source',
  name: 'glibc',
  version: '2.41+x',
  archive: 'debian',
  path: 'pool/main/g/glibc/glibc_2.41+x.dsc',
  bytes: CONTENT.length,
  sha256,
};
const NPM: NpmPin = {
  kind: 'npm',
  name: 'a',
  version: '1.0.0',
  path: 'a/-/a-1.0.0.tgz',
  integrity: `sha512-${sha512.toString('base64')}`,
  uses: ['root'],
};

describe('an archive of inputs', () => {
  test('lists what it holds, and is a mirror and a registry afterwards', async () => {
    await inFolder(async (folder) => {
      const [first, archive, second] = ['first', 'archive', 'second'].map((name) => join(folder, name)) as [string, string, string]; // prettier-ignore
      await mkdir(first);
      await writeFile(join(first, `sha256-${sha256}`), CONTENT);
      await writeFile(join(first, `sha512-${sha512.toString('hex')}`), CONTENT);
      const list = await archiveInputs(
        new InputCache({ folder: first, offline: true }),
        [SOURCE, NPM],
        archive,
      );
      expect(list).toBe(`${sha256}  debian/${SOURCE.path}\n${sha256}  npm/${NPM.path}\n`);
      expect(await readFile(join(archive, LIST), 'utf8')).toBe(list);
      const mirrors = [join(archive, '{archive}/{path}')];
      const restored = new InputCache({ folder: second, mirrors, registry: join(archive, 'npm') });
      expect(await readFile(await restored.file(SOURCE))).toEqual(CONTENT);
      expect(await readFile(await restored.file(NPM))).toEqual(CONTENT);
    });
  });
});
