import { basename, join } from 'node:path';
import { expect, test } from '@jest/globals';
import { build } from 'esbuild';
import { ROOT } from '../../../support/sources.ts';

test('a page that splits its code loads the XML parser with the first manifest', async () => {
  const { metafile } = await build({
    entryPoints: [join(ROOT, 'attestation/index.ts')],
    bundle: true,
    splitting: true,
    format: 'esm',
    platform: 'browser',
    outdir: join(ROOT, 'dist'),
    metafile: true,
    write: false,
  });
  const outputs = Object.entries(metafile.outputs);
  const atOnce = new Set(outputs.filter(([path]) => basename(path) === 'index.js').map(([path]) => path));
  for (const path of atOnce) {
    for (const { path: target, kind } of metafile.outputs[path]!.imports) {
      if (kind === 'import-statement') atOnce.add(target);
    }
  }
  const withParser = outputs.filter(([, { inputs }]) =>
    Object.keys(inputs).some((path) => path.includes('@xmldom/')),
  );
  expect(withParser.map(([path]) => atOnce.has(path))).toEqual([false]);
});
