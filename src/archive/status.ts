import { chainFindings, type ChainFinding, type InstanceStatus, toLink } from './chain.ts';
import { type FilesParts, readFile } from './files.ts';
import { numberOf, textOf } from './sql.ts';

/** How many of everything the archive has. */
export interface ArchiveCounts {
  readonly entries: number;
  readonly documents: number;
  readonly files: number;
  readonly fileBytes: number;
  readonly contentKept: number;
  readonly contentErased: number;
  readonly holds: number;
  readonly acts: number;
  /** Begun and not done: a crash interrupted them, and their log is not in the archive yet. */
  readonly actsPending: number;
}

/** What the database says; the state of the mirror is the running service's to say. */
export interface StoreStatus {
  readonly store: 'embedded' | 'postgresql';
  readonly instances: readonly InstanceStatus[];
  readonly findings: readonly ChainFinding[];
  readonly counts: ArchiveCounts;
}

const COUNTS = `SELECT
  (SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM archive_instances) AS entries,
  (SELECT COUNT(*) FROM archive_documents) AS documents,
  (SELECT COUNT(*) FROM archive_files WHERE removed IS NULL) AS files,
  (SELECT CAST(COALESCE(SUM(size), 0) AS BIGINT) FROM archive_files WHERE removed IS NULL) AS bytes,
  (SELECT COUNT(*) FROM archive_content WHERE wrapped IS NOT NULL) AS kept,
  (SELECT COUNT(*) FROM archive_content WHERE wrapped IS NULL) AS erased,
  (SELECT COUNT(*) FROM archive_holds WHERE lifted IS NULL) AS holds,
  (SELECT COUNT(*) FROM archive_acts WHERE state = 'done') AS acts,
  (SELECT COUNT(*) FROM archive_acts WHERE state = 'pending') AS pending`;

export async function storeStatus(parts: FilesParts): Promise<StoreStatus> {
  const { sql } = parts;
  const rows = await sql.query({ text: 'SELECT * FROM archive_instances ORDER BY created, instance' });
  const links = await Promise.all(
    rows.map(async (row) => toLink(row, await readFile(parts, textOf(row, 'instance'), 'checkpoint'))),
  );
  const [counts] = await sql.query({ text: COUNTS });
  const count = (column: string): number => (counts ? numberOf(counts, column) : 0);
  return {
    store: sql.kind,
    instances: links.map(
      ({ instance, origin, created, live, entries, documents, complete, problem, predecessor }) => ({
        instance,
        origin,
        created,
        live,
        entries,
        documents,
        complete,
        problem,
        predecessor,
      }),
    ),
    findings: chainFindings(links),
    counts: {
      entries: count('entries'),
      documents: count('documents'),
      files: count('files'),
      fileBytes: count('bytes'),
      contentKept: count('kept'),
      contentErased: count('erased'),
      holds: count('holds'),
      acts: count('acts'),
      actsPending: count('pending'),
    },
  };
}
