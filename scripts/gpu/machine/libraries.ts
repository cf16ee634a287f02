import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';

/** Where toolkits, drivers and Python's packages put the libraries of CUDA. */
const FOLDERS: readonly string[] = [
  '/usr/local/cuda/lib64',
  '/usr/local/cuda-13/lib64',
  '/usr/local/nvidia/lib64',
  '/usr/lib/x86_64-linux-gnu',
];
const PYTHON_ROOTS: readonly string[] = ['/usr/local/lib', '/usr/lib', '/opt'];
/** Deep enough for `/opt/NAME/.venv/lib/python3.N/site-packages`. */
const PYTHON_DEPTH = 5;

/** Folders among these, and among the usual ones, that hold a library of these names; each library once. */
export function foldersOf(names: readonly string[], given: readonly string[]): readonly string[] {
  const found = new Set<string>();
  const open = new Set(names);
  for (const folder of [...given, ...FOLDERS, ...pythonFolders()]) {
    for (const name of open) {
      if (!existsSync(join(folder, name))) continue;
      found.add(folder);
      open.delete(name);
    }
    if (open.size === 0) break;
  }
  return [...found];
}

/** `site-packages/nvidia/PACKAGE/lib` of the wheels of NVIDIA. */
function* pythonFolders(): Generator<string> {
  for (const root of PYTHON_ROOTS) {
    for (const packages of sitePackages(root, PYTHON_DEPTH)) {
      for (const name of foldersIn(join(packages, 'nvidia'))) yield join(packages, 'nvidia', name, 'lib');
    }
  }
}

function* sitePackages(folder: string, depth: number): Generator<string> {
  for (const name of foldersIn(folder)) {
    const path = join(folder, name);
    if (name === 'site-packages' || name === 'dist-packages') yield path;
    else if (depth > 0) yield* sitePackages(path, depth - 1);
  }
}

function foldersIn(folder: string): readonly string[] {
  try {
    const entries = readdirSync(folder, { withFileTypes: true });
    return entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  } catch {
    return [];
  }
}
