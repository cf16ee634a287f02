import { hash } from 'node:crypto';
import { ExportError } from './errors.ts';
import type { FilePlace } from './files.ts';
import { parseManifest, type ExportedFile, type ExportManifest } from './manifest.ts';
import { INSTANCES, isSharedPath, MANIFEST } from './paths.ts';
import type { ArchiveSource, InstanceFiles, SharedFiles } from './source.ts';

/** How the members of an export are reached: a tar file or a folder. */
export interface ExportMembers {
  read(name: string): Promise<Uint8Array | undefined>;
  locate(name: string): FilePlace | undefined;
  close(): Promise<void>;
}

/** An export that was opened. Its manifest is not signed: the signatures in the logs and documents count. */
export interface ExportReader extends ArchiveSource {
  readonly manifest: ExportManifest;
  /** SHA-256 of the manifest's bytes, hex: names the export. */
  readonly digest: string;
  /** A file that the manifest lists, compared with it: `EXPORT_MISMATCH` where it differs. */
  readChecked(file: ExportedFile): Promise<Uint8Array>;
}

export async function readExport(members: ExportMembers): Promise<ExportReader> {
  const bytes = await members.read(MANIFEST);
  if (!bytes) throw new ExportError('EXPORT_INCOMPLETE', `there is no ${MANIFEST}`);
  const manifest = parseManifest(bytes);
  const readChecked = async (file: ExportedFile): Promise<Uint8Array> => {
    const found = await members.read(file.path);
    if (!found) throw new ExportError('EXPORT_MISMATCH', `${file.path} is missing`);
    if (found.length !== file.size || hash('sha256', found) !== file.sha256) {
      throw new ExportError('EXPORT_MISMATCH', `${file.path} has other bytes`);
    }
    return found;
  };
  return {
    manifest,
    digest: hash('sha256', bytes),
    readChecked,
    instances: () => Promise.resolve(instancesOf(manifest, members)),
    shared: sharedOf(manifest, members),
    close: () => members.close(),
  };
}

function sharedOf({ files }: ExportManifest, members: ExportMembers): SharedFiles {
  const own = new Set(files.map(({ path }) => path).filter(isSharedPath));
  return {
    // eslint-disable-next-line @typescript-eslint/require-await -- the interface is for sources that wait
    async *paths() {
      yield* own;
    },
    read: async (path) => (own.has(path) ? members.read(path) : undefined),
  };
}

/** Files as they lie there: `readChecked` compares them with the manifest. */
function instancesOf({ instances, files }: ExportManifest, members: ExportMembers): readonly InstanceFiles[] {
  const byInstance = new Map<string, Set<string>>();
  for (const { path } of files) {
    const [folder, instance = '', ...below] = path.split('/');
    if (folder !== INSTANCES) continue;
    const own = byInstance.get(instance) ?? new Set<string>();
    byInstance.set(instance, own.add(below.join('/')));
  }
  return instances.map(({ instance, origin, created }) => {
    const own = byInstance.get(instance) ?? new Set<string>();
    return {
      instance,
      origin,
      created,
      // eslint-disable-next-line @typescript-eslint/require-await -- the interface is for sources that wait
      async *paths() {
        yield* own;
      },
      read: async (path) => (own.has(path) ? members.read(`${INSTANCES}/${instance}/${path}`) : undefined),
      locate: (path) => (own.has(path) ? members.locate(`${INSTANCES}/${instance}/${path}`) : undefined),
    };
  });
}
