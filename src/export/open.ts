import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ExportError } from './errors.ts';
import { readExport, type ExportReader } from './exportReader.ts';
import { readNow } from './files.ts';
import { INSTANCES, MANIFEST } from './paths.ts';
import type { ArchiveSource } from './source.ts';

/** An export, or a data folder as a service has it, which names no range and has no manifest. */
export type OpenedArchive = ArchiveSource & Partial<Pick<ExportReader, 'manifest' | 'digest'>>;

/** Opens what was named: a tar file, the folder of an export, or a data folder. */
export async function openArchive(path: string): Promise<OpenedArchive> {
  if (!(await isFolder(path))) return openExportAt(path);
  if (await isThere(join(path, MANIFEST))) return openExportAt(path);
  if (await isThere(join(path, INSTANCES))) return (await import('./dataFolder.ts')).openDataFolder(path);
  throw new ExportError('EXPORT_INCOMPLETE', `${path} holds neither ${MANIFEST} nor ${INSTANCES}`);
}

/** Opens an export: a tar file or a folder. */
export async function openExportAt(path: string): Promise<ExportReader> {
  if (!(await isFolder(path))) return readExport((await import('./tarFile.ts')).openTarFile(path));
  return readExport({
    read: (name) => Promise.resolve(readNow(join(path, name))),
    locate: (name) => join(path, name),
    close: () => Promise.resolve(),
  });
}

async function isFolder(path: string): Promise<boolean> {
  try {
    return (await stat(path)).isDirectory();
  } catch (error) {
    throw new ExportError('EXPORT_UNREADABLE', `${path} cannot be read`, error);
  }
}

async function isThere(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
