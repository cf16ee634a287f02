import { ExportError } from '../export/errors.ts';
import type { ExportReader } from '../export/exportReader.ts';
import { parseMember } from '../export/paths.ts';
import type { PlacedFinding } from './instanceLine.ts';

export type CheckedFiles = Pick<ExportReader, 'manifest' | 'readChecked'>;

/**
 * Compares files with the manifest. Bundles of entries, and the tiles of their hashes, are left out: the tree that is
 * computed from them is compared with what the log signed, which says more than a manifest that nobody signed, and hashing them twice would double
 * the work of the audit.
 */
export async function checkFiles(
  { manifest, readChecked }: Partial<CheckedFiles>,
  onBytes: (bytes: number) => void,
): Promise<readonly PlacedFinding[]> {
  if (!manifest || !readChecked) return [];
  const findings: PlacedFinding[] = [];
  const listed = new Set(manifest.files.map(({ path }) => path));
  for (const file of manifest.files) {
    const { instance = '', path = '' } = parseMember(file.path) ?? {};
    const isFullTile = path.startsWith('tile/0/') && !path.includes('.p/');
    const bundle = file.path.replace('/tile/0/', '/tile/entries/');
    if (path.startsWith('tile/entries/') || (isFullTile && listed.has(bundle))) continue;
    try {
      await readChecked(file);
    } catch (error) {
      if (!(error instanceof ExportError) || error.code !== 'EXPORT_MISMATCH') throw error;
      findings.push({
        check: 'export.files',
        code: 'FILE_ALTERED',
        severity: 'fail',
        detail: error.message,
        instance,
      });
    }
    onBytes(file.size);
  }
  return findings;
}
