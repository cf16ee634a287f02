import { join } from 'node:path';
import { readNow } from '../../export/files.ts';
import { ExportError } from '../../export/errors.ts';
import type { ExportReader } from '../../export/exportReader.ts';
import { writeMember } from './sinks.ts';

export interface ImportSummary {
  readonly written: number;
  /** Files that were there already with the same bytes. */
  readonly present: number;
}

/**
 * Puts the files of an export back under a data folder: each is compared with the manifest first, and other bytes
 * under one of its names are refused as `EXPORT_CONFLICT` before anything is written.
 */
export async function importArchive(
  reader: ExportReader,
  data: string,
  onBytes: (bytes: number) => void = () => undefined,
): Promise<ImportSummary> {
  const { files } = reader.manifest;
  const missing = [];
  for (const file of files) {
    const bytes = await reader.readChecked(file);
    const found = readNow(join(data, file.path));
    if (!found) missing.push(file);
    else if (Buffer.compare(found, bytes) !== 0) {
      throw new ExportError('EXPORT_CONFLICT', `${file.path} is there with other bytes`);
    }
    onBytes(file.size);
  }
  for (const file of missing) await writeMember(join(data, file.path), await reader.readChecked(file));
  return { written: missing.length, present: files.length - missing.length };
}
