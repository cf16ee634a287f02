import { access } from 'node:fs/promises';
import { join } from 'node:path';
import { equalBytes } from '../../../attestation/bytes/bytes.ts';
import { ImageError } from '../errors.ts';
import { keyId, openEnvelope, PAYLOAD } from './dsse.ts';
import { readWhole } from './fileDigest.ts';
import { encodeManifest, FILES, type ImageManifest } from './manifest.ts';
import { openProvenance, parseProvenance, type Provenance, unspokenFiles } from './provenance.ts';
import { MAX_STATEMENT_BYTES, type OnStep, type VerifyStep } from './verifyImage.ts';

/**
 * Whose word manifest and provenance are. With pinned keys, envelopes have to be there and good; without any, nothing
 * is said of who wrote them.
 */
export async function verifyStatements(
  folder: string,
  manifest: ImageManifest,
  pinned: readonly Uint8Array[],
  onStep: OnStep,
): Promise<void> {
  onStep(await asStep('signature of the manifest', () => manifestSigned(folder, manifest, pinned)));
  onStep(await asStep('provenance', () => provenanceSpeaks(folder, manifest, pinned)));
}

type Outcome = Pick<VerifyStep, 'result' | 'detail'>;

async function asStep(what: string, act: () => Promise<Outcome>): Promise<VerifyStep> {
  try {
    return { what, ...(await act()) };
  } catch (error) {
    if (!(error instanceof ImageError)) throw error;
    return { what, result: 'bad', detail: `${error.code}: ${error.message}` };
  }
}

async function manifestSigned(
  folder: string,
  manifest: ImageManifest,
  pinned: readonly Uint8Array[],
): Promise<Outcome> {
  if (pinned.length === 0)
    return { result: 'skipped', detail: 'no key was named: whose word this is, is not known' };
  const envelope = await readWhole(folder, FILES.signedManifest, MAX_STATEMENT_BYTES);
  const payload = await openEnvelope(envelope, PAYLOAD.manifest, pinned);
  if (!equalBytes(payload, encodeManifest(manifest))) {
    throw new ImageError('IMAGE_MANIFEST_MISMATCH', 'what was signed is another manifest');
  }
  return { result: 'good', detail: `by one of ${pinned.map(keyId).join(', ')}` };
}

async function provenanceSpeaks(
  folder: string,
  manifest: ImageManifest,
  pinned: readonly Uint8Array[],
): Promise<Outcome> {
  if (pinned.length === 0 && !(await isThere(folder, FILES.provenance))) {
    return { result: 'skipped', detail: 'there is none' };
  }
  const statement = await readStatement(folder, pinned);
  const unspoken = unspokenFiles(statement, manifest);
  if (unspoken.length > 0) {
    throw new ImageError(
      'IMAGE_MANIFEST_MISMATCH',
      `it says nothing, or something else, of ${unspoken.join(', ')}`,
    );
  }
  const { id } = statement.predicate.runDetails.builder;
  const whose = pinned.length === 0 ? 'unsigned' : 'signed';
  return { result: 'good', detail: `${whose}, ${statement.subject.length} files, built by ${id}` };
}

async function readStatement(folder: string, pinned: readonly Uint8Array[]): Promise<Provenance> {
  if (pinned.length === 0)
    return parseProvenance(await readWhole(folder, FILES.provenance, MAX_STATEMENT_BYTES));
  return openProvenance(await readWhole(folder, FILES.signedProvenance, MAX_STATEMENT_BYTES), pinned);
}

async function isThere(folder: string, name: string): Promise<boolean> {
  try {
    await access(join(folder, name));
    return true;
  } catch {
    return false;
  }
}
