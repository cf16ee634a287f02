import { readFileSync } from 'node:fs';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { readElf } from '../../../../enclave/image/application/elf.ts';
import { reasonToLeaveOut } from '../../../../enclave/image/application/prune.ts';
import { propertyRuns } from '../../../support/runs.ts';
import { elfFile } from './elfFile.ts';

function isKept(path: string, content: Uint8Array = Buffer.alloc(0)): boolean {
  return reasonToLeaveOut(path, content) === undefined;
}

describe('what goes into the image of a package', () => {
  test.each([
    'package.json',
    'lib/index.js',
    'dist/esm/index.mjs',
    'index.cjs',
    'data/table.json',
    'src/proto/service.proto',
    'LICENSE',
    'LICENSE.md',
    'license.markdown',
    'NOTICE.txt',
    'docs/LICENSE',
    'ThirdPartyNotices.txt',
    'lib/test/run.js',
    'lib/docs.js',
    'lib/wasm/decoder.wasm',
  ])('%s is kept', (path) => {
    expect(isKept(path)).toBe(true);
  });

  test.each([
    'lib/index.js.map',
    'lib/index.d.ts',
    'src/index.ts',
    'types/index.d.mts',
    'index.d.cts',
    'README.md',
    'CHANGELOG.markdown',
    'docs/index.js',
    'test/run.js',
    '__tests__/run.js',
    'examples/server.js',
    'benchmark/run.js',
    'src/binding.cc',
    'include/api.h',
    'binding.gyp',
    '.eslintrc',
    '.github/workflows/ci.yml',
    'lib/.npmignore',
    'tsconfig.json',
    'Makefile',
    'bin/onnxruntime.dll',
    'bin/libonnxruntime.dylib',
  ])('%s is left out', (path) => {
    expect(isKept(path)).toBe(false);
  });

  test.each<[string, Uint8Array, boolean]>([
    ['a library for x86-64 and glibc', elfFile({ needed: ['libc.so.6'] }), true],
    ['a library that needs none', elfFile(), true],
    ['a library for another machine', elfFile({ needed: ['libc.so.6'], machine: 183 }), false],
    ['a library for musl', elfFile({ needed: ['libc.musl-x86_64.so.1'] }), false],
    ['a library for musl by its other name', elfFile({ needed: ['libc.so'] }), false],
    ['a library of another system', Buffer.from([0xcf, 0xfa, 0xed, 0xfe]), false],
  ])('%s: kept or not', (_, content, expected) => {
    for (const path of ['build/native.node', 'bin/libnative.so', 'bin/libnative.so.1.2']) {
      expect(isKept(path, content)).toBe(expected);
    }
  });
});

describe('ELF files', () => {
  test('say what they need', () => {
    const elf = readElf(elfFile({ needed: ['libdl.so.2', 'libc.so.6'], interpreter: '/lib64/ld.so' }));
    expect(elf).toEqual({ machine: 62, needed: ['libdl.so.2', 'libc.so.6'], interpreter: '/lib64/ld.so' });
  });

  test('Node, where it is one', () => {
    const elf = readElf(readFileSync(process.execPath));
    if (process.platform === 'linux') expect(elf?.needed).toContain('libc.so.6');
    else expect(elf).toBeUndefined();
  });

  test('damaged ones are read within their bytes', () => {
    const good = elfFile({ needed: ['libdl.so.2', 'libc.so.6'] });
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { maxLength: 8 }),
        fc.nat(good.length),
        (changes, length) => {
          const bytes = Buffer.from(good);
          for (const [at, value] of changes) bytes[at] = value;
          expect(() => readElf(bytes.subarray(0, length))).not.toThrow();
        },
      ),
      propertyRuns(500),
    );
  });
});
