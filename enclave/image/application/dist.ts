import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ImageError } from '../errors.ts';
import type { Tree } from '../tree.ts';

/** What the compiler keeps for itself, and what only debuggers and compilers read. */
const LEFT_OUT = /\.(?:map|d\.ts|tsbuildinfo)$|(?:^|\/)\.[^/]*$/;
/** Folders whose files the compiler turns into one file of code each. */
const COMPILED = ['attestation', 'enclave', 'src'];
/** Pages are bundles: their sources have no files of their own. */
const PAGES = 'src/page/';
const ENTRIES = ['src/cli/main.js', 'src/main.js', 'enclave/image/guest/main.js'];
/** A file that is larger is no code of ours. */
const MAX_FILE_BYTES = 64 * 1024 * 1024;

/** Puts the compiled service of a checkout below `folder`. A build that is not that of its sources is refused. */
export async function addDist(tree: Tree, folder: string, source: string): Promise<void> {
  const root = join(source, 'dist');
  const files = await listExisting(root, 'dist');
  await compareWithSources(source, new Set(files));
  for (const file of files.filter((path) => !LEFT_OUT.test(path))) {
    tree.add(`${folder}/${file}`, {
      kind: 'file',
      mode: 0o644,
      content: await readBounded(join(root, file)),
    });
  }
}

/** Every source has its code, and no code is without a source: what was deleted would else still run. */
async function compareWithSources(source: string, built: ReadonlySet<string>): Promise<void> {
  const sources = await Promise.all(
    COMPILED.map(async (name) =>
      (await listExisting(join(source, name), name)).map((path) => `${name}/${path}`),
    ),
  );
  const expected = new Set(
    sources
      .flat()
      .filter((path) => path.endsWith('.ts') && !path.endsWith('.d.ts') && !path.startsWith(PAGES))
      .map((path) => path.replace(/\.ts$/, '.js')),
  );
  const missing = [...expected, ...ENTRIES].find((path) => !built.has(path));
  if (missing !== undefined) throw new ImageError('IMAGE_APPLICATION_INVALID', `dist has no ${missing}`);
  const stray = [...built].find(
    (path) => path.endsWith('.js') && !path.startsWith(PAGES) && !expected.has(path),
  );
  if (stray !== undefined) throw new ImageError('IMAGE_APPLICATION_INVALID', `dist/${stray} has no source`);
}

async function listExisting(folder: string, name: string): Promise<readonly string[]> {
  return await listFiles(folder).catch((error: unknown) => {
    if (error instanceof ImageError) throw error;
    throw new ImageError('IMAGE_APPLICATION_INVALID', `The checkout has no ${name} folder`, { cause: error });
  });
}

/** Paths below a folder with slashes, sorted by code points. Links are refused: they lead to files that nobody looked at. */
export async function listFiles(root: string): Promise<readonly string[]> {
  const entries = await readdir(root, { withFileTypes: true, recursive: true });
  return entries
    .filter((entry) => !entry.isDirectory())
    .map((entry) => {
      const path = join(entry.parentPath, entry.name)
        .slice(root.length + 1)
        .replaceAll('\\', '/');
      if (!entry.isFile())
        throw new ImageError('IMAGE_TREE_INVALID', `${path} is neither a file nor a folder`);
      return path;
    })
    .sort();
}

async function readBounded(path: string): Promise<Uint8Array> {
  const { size } = await stat(path);
  if (size > MAX_FILE_BYTES) throw new ImageError('IMAGE_TOO_LARGE', `${path} has ${size} bytes`);
  return await readFile(path);
}
