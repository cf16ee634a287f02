import type { KeyObject } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ImageError } from '../errors.ts';
import { PAYLOAD, signEnvelope } from './dsse.ts';
import { encodeManifest, FILES, type ImageManifest } from './manifest.ts';
import { provenanceOf, signProvenance } from './provenance.ts';

/**
 * Writes the provenance of an image beside its manifest and, where there is a key on P-256, both as signed envelopes.
 * Gives the names of the files. Payloads are reproducible; signatures are not.
 */
export async function signImage(
  folder: string,
  manifest: ImageManifest,
  builderId: string,
  key: KeyObject | undefined,
): Promise<readonly string[]> {
  const provenance = provenanceOf(manifest, builderId);
  const files = new Map<string, Uint8Array>([[FILES.provenance, provenance]]);
  if (key) {
    files.set(FILES.signedManifest, signEnvelope(PAYLOAD.manifest, encodeManifest(manifest), key));
    files.set(FILES.signedProvenance, signProvenance(provenance, key));
  }
  for (const [name, content] of files) {
    await writeFile(join(folder, name), content).catch((cause: unknown) => {
      const { code = 'unknown error' } = cause as NodeJS.ErrnoException;
      throw new ImageError('IMAGE_OUTPUT_FAILED', `${name} cannot be written: ${code}`, { cause });
    });
  }
  return [...files.keys()];
}
