import { toHex } from '../../attestation/bytes/bytes.ts';
import { ModelError } from './errors.ts';
import type { ManifestFile } from './manifest.ts';
import type { ModelFile } from './store.ts';

/**
 * Compares a file as it was loaded with the record of its release, and gives it back. Models that are no release have
 * no record.
 */
export function requireRecorded(id: string, { path, sha256 }: ModelFile, loaded: ManifestFile): ManifestFile {
  const digest = toHex(loaded.sha256);
  if (sha256 === undefined || sha256 === digest) return loaded;
  throw new ModelError('FILE_CHANGED', id, path, `has the digest ${digest}, recorded is ${sha256}`);
}
