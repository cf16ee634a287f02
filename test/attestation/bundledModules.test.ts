import { expect, test } from '@jest/globals';
import { build } from 'esbuild';
import { ROOT } from '../support/sources.ts';

test('the browser bundle of the verifier has messages of the schema library in one language', async () => {
  const { metafile } = await build({
    absWorkingDir: ROOT,
    entryPoints: ['attestation/index.ts'],
    bundle: true,
    minify: true,
    format: 'esm',
    platform: 'browser',
    metafile: true,
    write: false,
    logLevel: 'silent',
  });
  const inputs = Object.values(metafile.outputs)[0]?.inputs ?? {};
  const bundled = Object.entries(inputs).flatMap(([path, { bytesInOutput }]) =>
    bytesInOutput > 0 ? [path] : [],
  );
  expect(bundled.filter((path) => path.includes('/zod/'))).not.toEqual([]);
  expect(bundled.filter((path) => /\/locales\/[\w-]+\.js$/.test(path))).toEqual([
    'node_modules/zod/v4/locales/en.js',
  ]);
});
