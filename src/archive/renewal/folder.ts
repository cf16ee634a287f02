import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { parseRenewalName, type RenewalFiles } from '../../../attestation/archive/renewalFiles.ts';
import { RENEWALS } from '../../../attestation/archive/renewal.ts';
import { hasSystemCode } from '../../log/errors.ts';
import { readIfPresent } from '../../log/files.ts';

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
    read: async (name) => (parseRenewalName(name) ? readIfPresent(join(directory, name)) : undefined),
  };
}
