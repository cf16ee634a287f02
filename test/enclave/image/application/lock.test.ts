import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { readLock } from '../../../../enclave/image/application/lock.ts';
import { ROOT } from '../../../support/sources.ts';
import { inFolder } from '../../../support/folder.ts';

const integrity = `sha512-${Buffer.alloc(64).toString('base64')}`;
const invalid = expect.objectContaining({ code: 'IMAGE_APPLICATION_INVALID' });

async function read(
  packages: Readonly<Record<string, object>>,
  lockfileVersion = 3,
): Promise<readonly string[]> {
  return await inFolder(async (folder) => {
    const file = join(folder, 'package-lock.json');
    await writeFile(file, JSON.stringify({ lockfileVersion, packages: { '': { name: 'x' }, ...packages } }));
    return (await readLock(file)).map(({ location, pin }) => `${location} ${pin.path}`);
  });
}

function locked(more: object = {}): object {
  return { version: '1.0.0', integrity, ...more };
}

describe('packages of the lock file', () => {
  test('are those of production on Linux, x86-64 and glibc', async () => {
    const optional = true;
    const found = await read({
      'node_modules/needed': locked({ license: 'MIT' }),
      'node_modules/needed/node_modules/@scope/inner': locked(),
      'node_modules/alias': locked({ name: 'other' }),
      'node_modules/own': locked({ optional, os: ['linux'], cpu: ['x64'], libc: ['glibc'] }),
      'node_modules/not-windows': locked({ optional, os: ['!win32'] }),
      'node_modules/dev': locked({ dev: true }),
      'node_modules/darwin': locked({ optional, os: ['darwin'] }),
      'node_modules/arm': locked({ optional, os: ['linux'], cpu: ['arm64'] }),
      'node_modules/not-linux': locked({ optional, os: ['!linux'] }),
      'node_modules/musl': locked({ optional, libc: ['musl'] }),
      'node_modules/@scope/linux-x64-musl': locked({ optional, os: ['linux'], cpu: ['x64'] }),
      'node_modules/@types/node': locked(),
    });
    expect(found).toEqual([
      'node_modules/alias other/-/other-1.0.0.tgz',
      'node_modules/needed needed/-/needed-1.0.0.tgz',
      'node_modules/needed/node_modules/@scope/inner @scope/inner/-/inner-1.0.0.tgz',
      'node_modules/not-windows not-windows/-/not-windows-1.0.0.tgz',
      'node_modules/own own/-/own-1.0.0.tgz',
    ]);
  });

  test('of this checkout have native code for one system', async () => {
    const names = (await readLock(join(ROOT, 'package-lock.json'))).map(({ pin }) => pin.name);
    expect(names.filter((name) => /koffi-|@libsql\/(?:linux|darwin|win32)/.test(name))).toEqual([
      '@koromix/koffi-linux-x64',
      '@libsql/linux-x64-gnu',
    ]);
    expect(names).toContain('onnxruntime-node');
    expect(names).not.toContain('typescript');
  });

  test.each<[string, Readonly<Record<string, object>>]>([
    ['a needed package is for another system', { 'node_modules/a': locked({ os: ['darwin'] }) }],
    ['a package has no digest', { 'node_modules/a': { version: '1.0.0' } }],
    [
      'a package has a weak digest',
      { 'node_modules/a': locked({ integrity: 'sha1-2jmj7l5rSw0yVb/vlWAYkK/YBwk=' }) },
    ],
    ['a package is a folder of the build machine', { '../a': locked() }],
    ['a package is a link', { 'node_modules/a': locked({ link: true }) }],
    ['a package has no version', { 'node_modules/a': { integrity } }],
    ['a location leaves the application', { 'node_modules/../../a': locked() }],
    ['a version is an address', { 'node_modules/a': locked({ version: 'https://example.com/a.tgz' }) }],
  ])('are refused where %s', async (_, packages) => {
    await expect(read(packages)).rejects.toEqual(invalid);
  });

  test('are refused in other files', async () => {
    await expect(read({}, 2)).rejects.toEqual(invalid);
    await expect(readLock('/nonexistent')).rejects.toEqual(invalid);
    await inFolder(async (folder) => {
      await writeFile(join(folder, 'lock'), '{');
      await expect(readLock(join(folder, 'lock'))).rejects.toEqual(invalid);
    });
  });
});
