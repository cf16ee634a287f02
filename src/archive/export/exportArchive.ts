import { hash } from 'node:crypto';
import { ExportError } from '../../export/errors.ts';
import {
  encodeManifest,
  EXPORT_FORMAT,
  type ExportedFile,
  type ExportedInstance,
} from '../../export/manifest.ts';
import { byCodeUnits, MANIFEST, memberName } from '../../export/paths.ts';
import type { ArchiveSource, InstanceFiles } from '../../export/source.ts';
import { indexInstance, requireFile } from './instanceIndex.ts';
import { selectFiles, type TimeRange } from './selection.ts';
import type { ExportSink } from './sinks.ts';

export interface ExportSummary {
  readonly instances: readonly ExportedInstance[];
  readonly files: number;
  readonly bytes: number;
  /** SHA-256 of the manifest, hex: names the export. */
  readonly digest: string;
}

/** Writes an export: the same source and range give the same bytes. Holds one file at a time. */
export async function exportArchive(
  source: ArchiveSource,
  range: TimeRange,
  sink: ExportSink,
  onBytes: (bytes: number) => void = () => undefined,
): Promise<ExportSummary> {
  const instances: ExportedInstance[] = [];
  const files: ExportedFile[] = [];
  // Members stand in the order of their names, so instances do as well.
  const found = [...(await source.instances())].sort((a, b) => byCodeUnits(a.instance, b.instance));
  for (const instance of found) {
    const { described, paths } = await selectFiles(await indexInstance(instance), range);
    instances.push(described);
    for (const path of paths) {
      const file = await writeFile(instance, path, sink);
      files.push(file);
      onBytes(file.size);
    }
  }
  for await (const path of source.shared?.paths() ?? []) {
    const bytes = await source.shared?.read(path);
    if (!bytes) throw new ExportError('SOURCE_CHANGED', `${path} is gone`);
    files.push(await put(path, bytes, sink));
    onBytes(bytes.length);
  }
  const manifest = encodeManifest({ format: EXPORT_FORMAT, ...rangeOf(range), instances, files });
  await sink.write(MANIFEST, manifest);
  await sink.finish(new Set(files.map(({ path }) => path)));
  const bytes = files.reduce((total, { size }) => total + size, 0);
  return { instances, files: files.length, bytes, digest: hash('sha256', manifest) };
}

async function writeFile(files: InstanceFiles, path: string, sink: ExportSink): Promise<ExportedFile> {
  const bytes = await requireFile(files, path);
  return put(memberName({ instance: files.instance, path }), bytes, sink);
}

async function put(name: string, bytes: Uint8Array, sink: ExportSink): Promise<ExportedFile> {
  await sink.write(name, bytes);
  return { path: name, size: bytes.length, sha256: hash('sha256', bytes) };
}

function rangeOf({ from, to }: TimeRange): { range?: { from?: string; to?: string } } {
  if (from === undefined && to === undefined) return {};
  return {
    range: {
      ...(from === undefined ? {} : { from: new Date(from).toISOString() }),
      ...(to === undefined ? {} : { to: new Date(to).toISOString() }),
    },
  };
}
