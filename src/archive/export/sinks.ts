import { once } from 'node:events';
import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { Header } from 'tar';
import { readNow } from '../../export/files.ts';
import { INSTANCES, isMember, MANIFEST, SHARED_FOLDERS } from '../../export/paths.ts';
import { TAR_BLOCK } from '../../export/tarFile.ts';

/** Where an export is written to, member by member in order, the manifest last. */
export interface ExportSink {
  write(name: string, bytes: Uint8Array): Promise<void>;
  /** All was written; `names` are all members. */
  finish(names: ReadonlySet<string>): Promise<void>;
}

/** A tar stream (ustar) without times, owners or order of its own: the same members give the same bytes. */
export function createTarSink(stream: Writable): ExportSink {
  const put = async (bytes: Uint8Array): Promise<void> => {
    if (!stream.write(bytes)) await once(stream, 'drain');
  };
  return {
    async write(path, bytes) {
      const block = Buffer.alloc(TAR_BLOCK);
      const header = {
        path,
        size: bytes.length,
        mode: 0o644,
        uid: 0,
        gid: 0,
        type: 'File',
        mtime: new Date(0),
      } as const;
      new Header(header).encode(block);
      await put(block);
      await put(bytes);
      const rest = bytes.length % TAR_BLOCK;
      if (rest > 0) await put(new Uint8Array(TAR_BLOCK - rest));
    },
    async finish() {
      await put(new Uint8Array(2 * TAR_BLOCK));
      if (stream === process.stdout) return;
      stream.end();
      await finished(stream);
    },
  };
}

/**
 * A folder. A member that is there with the same bytes is not written again, so that an export that was stopped goes
 * on; members of an earlier state are replaced or removed, and without its manifest it is no export.
 */
export async function createFolderSink(folder: string): Promise<ExportSink> {
  await mkdir(folder, { recursive: true });
  await rm(join(folder, MANIFEST), { force: true });
  return {
    async write(name, bytes) {
      const path = join(folder, name);
      const found = readNow(path);
      if (found && Buffer.compare(found, bytes) === 0) return;
      await writeMember(path, bytes);
    },
    async finish(names) {
      for (const top of [INSTANCES, ...SHARED_FOLDERS]) {
        const below = await readdir(join(folder, top), { recursive: true }).catch(() => []);
        const stale = below
          .map((path) => `${top}/${path}`)
          .filter((name) => isMember(name) && !names.has(name));
        for (const name of stale) await rm(join(folder, name));
      }
    },
  };
}

/** By temporary file and rename: a member is whole or not there. */
export async function writeMember(path: string, bytes: Uint8Array): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(`${path}.tmp`, bytes);
  await rename(`${path}.tmp`, path);
}
