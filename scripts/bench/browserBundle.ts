import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { build, type Metafile } from 'esbuild';
import { figure, type Figure } from './figure.ts';

const DOOR = fileURLToPath(new URL('../../attestation/index.ts', import.meta.url));
const ENTRY = 'verifier.js';
/** As a page would have it: minified modules. */
export const PAGE_BUILD = {
  bundle: true,
  minify: true,
  format: 'esm',
  platform: 'browser',
  outdir: '/',
  write: false,
} as const;

/** How much a page loads for the verifier: with its code split, and as one file. */
export async function bundleFigures(): Promise<readonly Figure[]> {
  const split = await bundle(true);
  const first = loadedWith(ENTRY, split.metafile);
  const late = [...split.files.keys()].filter((name) => !first.has(name));
  const whole = await bundle(false);
  return [
    ...sizeOf('browser verifier, loaded at once', [...first], split.files),
    ...sizeOf('  with the first manifest', late, split.files),
    ...sizeOf('  all of it in one file', [ENTRY], whole.files),
  ];
}

interface Bundle {
  readonly files: ReadonlyMap<string, Uint8Array>;
  readonly metafile: Metafile;
}

async function bundle(splitting: boolean): Promise<Bundle> {
  const { outputFiles, metafile } = await build({
    entryPoints: { verifier: DOOR },
    ...PAGE_BUILD,
    splitting,
    absWorkingDir: '/',
    metafile: true,
  });
  return { files: new Map(outputFiles.map(({ path, contents }) => [path.slice(1), contents])), metafile };
}

/** The file and all that it imports by statement. */
function loadedWith(name: string, metafile: Metafile): ReadonlySet<string> {
  const found = new Set([name]);
  for (const file of found) {
    const imports = metafile.outputs[file]?.imports ?? [];
    for (const { path, kind } of imports) if (kind === 'import-statement') found.add(path);
  }
  return found;
}

function sizeOf(
  name: string,
  files: readonly string[],
  contents: ReadonlyMap<string, Uint8Array>,
): readonly Figure[] {
  const sum = (size: (file: Uint8Array) => number) =>
    files.reduce((total, file) => total + size(contents.get(file) ?? new Uint8Array(0)), 0) / 1000;
  const zipped = (file: Uint8Array) => gzipSync(file, { level: 9 }).length;
  return [
    figure(
      name,
      sum(({ length }) => length),
      'kB',
    ),
    figure(`${name}, gzip`, sum(zipped), 'kB'),
  ];
}
