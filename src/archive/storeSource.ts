import { type FilesParts, readFile } from './files.ts';
import { snapshotOf } from '../export/snapshot.ts';
import { policyFiles } from './policyFiles.ts';
import type { ArchiveSource, InstanceFiles } from './source.ts';
import { numberOf, textOf } from './sql.ts';

/** Paths of one query. */
const PAGE = 1000;

/** Everything that the archive has of all instances, for exports and audits. The archive itself stays open. */
export function storeSource(parts: FilesParts): ArchiveSource {
  return {
    instances: async () => {
      const rows = await parts.sql.query({
        text: 'SELECT instance, origin, created FROM archive_instances ORDER BY created, instance',
      });
      return rows.map((row) =>
        snapshotOf(() =>
          instanceFiles(parts, textOf(row, 'instance'), textOf(row, 'origin'), numberOf(row, 'created')),
        ),
      );
    },
    shared: policyFiles(parts),
    close: () => Promise.resolve(),
  };
}

function instanceFiles(parts: FilesParts, instance: string, origin: string, created: number): InstanceFiles {
  return {
    instance,
    origin,
    created,
    paths: () => listPaths(parts, instance),
    read: (path) => readFile(parts, instance, path),
  };
}

/** In code-unit order: the column compares by bytes, and paths are ASCII. */
async function* listPaths({ sql }: FilesParts, instance: string): AsyncIterable<string> {
  let after = '';
  for (;;) {
    const rows = await sql.query({
      text: `SELECT path FROM archive_files WHERE instance = ? AND removed IS NULL
        AND path > ? ORDER BY path LIMIT ${PAGE}`,
      values: [instance, after],
    });
    for (const row of rows) yield textOf(row, 'path');
    const last = rows.at(-1);
    if (!last || rows.length < PAGE) return;
    after = textOf(last, 'path');
  }
}
