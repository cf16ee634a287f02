import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { RENEWALS } from '../../attestation/archive/renewal.ts';
import { parseRenewalName, type RenewalFiles } from '../../attestation/archive/renewalFiles.ts';
import { hasSystemCode } from '../errors/systemCode.ts';
import { readNow } from './files.ts';
import type { SharedFiles } from './source.ts';

/** The folder of renewals below a data folder or an export. */
export function renewalsFolder(data: string): string {
  return join(data, RENEWALS);
}

/** Renewals in a folder of this machine; none where there is no folder. */
export function openRenewals(data: string): RenewalFiles {
  const directory = renewalsFolder(data);
  return {
    names: async () => {
      try {
        return (await readdir(directory)).filter((name) => parseRenewalName(name) !== undefined).sort();
      } catch (error) {
        if (hasSystemCode(error, 'ENOENT')) return [];
        throw error;
      }
    },
    read: (name) => Promise.resolve(parseRenewalName(name) ? readNow(join(directory, name)) : undefined),
  };
}

/** Renewals among the files of no instance. */
export function renewalsOf(shared: SharedFiles): RenewalFiles {
  const prefix = `${RENEWALS}/`;
  return {
    names: async () => {
      const names: string[] = [];
      for await (const path of shared.paths()) {
        if (path.startsWith(prefix)) names.push(path.slice(prefix.length));
      }
      return names;
    },
    read: (name) => shared.read(prefix + name),
  };
}
