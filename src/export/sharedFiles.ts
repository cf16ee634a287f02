import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { hasSystemCode } from '../errors/systemCode.ts';
import { readNow } from './files.ts';
import { byCodeUnits, isSharedPath, SHARED_FOLDERS } from './paths.ts';
import type { SharedFiles } from './source.ts';

/** Renewals and policies below a data folder. */
export function openSharedFolder(data: string): SharedFiles {
  return {
    async *paths() {
      for (const folder of SHARED_FOLDERS) {
        const names = await readdir(join(data, folder)).catch(ifAbsent);
        const paths = names.map((name) => `${folder}/${name}`).filter(isSharedPath);
        yield* paths.sort(byCodeUnits);
      }
    },
    read: (path) => Promise.resolve(isSharedPath(path) ? readNow(join(data, path)) : undefined),
  };
}

/** The files of several sources; of one name the first that has it counts. */
export function joinShared(...sources: readonly SharedFiles[]): SharedFiles {
  return {
    async *paths() {
      const all = new Set<string>();
      for (const source of sources) for await (const path of source.paths()) all.add(path);
      yield* [...all].sort(byCodeUnits);
    },
    read: async (path) => {
      for (const source of sources) {
        const bytes = await source.read(path);
        if (bytes) return bytes;
      }
      return undefined;
    },
  };
}

function ifAbsent(error: unknown): [] {
  if (hasSystemCode(error, 'ENOENT') || hasSystemCode(error, 'ENOTDIR')) return [];
  throw error;
}
