import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

/** The repository. */
export const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** One import or re-export, static or dynamic. */
export interface ImportLine {
  readonly specifier: string;
  /** Path from the repository where the specifier is relative, else undefined. */
  readonly target: string | undefined;
}

/** One file of ours, parsed. */
export interface Source {
  /** Path from the repository, with `/`. */
  readonly path: string;
  readonly tree: ts.SourceFile;
  readonly imports: readonly ImportLine[];
}

/** All source files below the folders, in order of their paths. */
export function readSources(...folders: readonly string[]): readonly Source[] {
  return folders
    .flatMap((folder) =>
      readdirSync(join(ROOT, folder), { recursive: true, encoding: 'utf8' }).map((file) =>
        join(folder, file),
      ),
    )
    .map((path) => path.replaceAll('\\', '/'))
    .filter((path) => /\.(?:m?ts|tsx|mjs)$/.test(path))
    .sort()
    .map(readSource);
}

function readSource(path: string): Source {
  const tree = ts.createSourceFile(
    path,
    readFileSync(join(ROOT, path), 'utf8'),
    ts.ScriptTarget.Latest,
    true,
  );
  const imports = ts
    .preProcessFile(tree.text, true, true)
    .importedFiles.map(({ fileName }) => ({ specifier: fileName, target: targetOf(path, fileName) }));
  return { path, tree, imports };
}

function targetOf(path: string, specifier: string): string | undefined {
  if (!specifier.startsWith('.')) return undefined;
  return relative(ROOT, resolve(ROOT, dirname(path), specifier)).replaceAll('\\', '/');
}

/** Every node of the file, parents first. */
export function* nodesOf(node: ts.Node): Generator<ts.Node> {
  yield node;
  for (const child of node.getChildren()) yield* nodesOf(child);
}
