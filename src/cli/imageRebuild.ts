import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { canonicalJson } from '../../attestation/json/canonical.ts';
import { diffImages, type ImageDiff } from '../../enclave/image/release/diffImages.ts';
import type { ImageManifest } from '../../enclave/image/release/manifest.ts';
import { profileName } from '../../enclave/image/release/predictImage.ts';
import type { VerifyStep } from '../../enclave/image/release/verifyImage.ts';
import { buildFrom } from './imageBuild.ts';
import type { SourceFlags } from './imageSources.ts';

/** Members of a manifest that a build decides: predictions follow from them, and were computed again already. */
const BUILT = ['release', 'source', 'parameters', 'inputs', 'parts', 'outputs'] as const;

export interface Rebuilt {
  readonly step: VerifyStep;
  /** What is another; undefined where nothing is. */
  readonly diff: ImageDiff | undefined;
}

/** Builds again elsewhere from this checkout, and compares every file by its digest. */
export async function rebuild(manifest: ImageManifest, flags: SourceFlags): Promise<Rebuilt> {
  const folder = await mkdtemp(join(tmpdir(), 'vouchsafe-image-'));
  try {
    const again = await buildFrom(flags, folder, manifest.release.name, undefined);
    const others = BUILT.filter((member) => canonicalJson(again[member]) !== canonicalJson(manifest[member]));
    const what = 'rebuild';
    if (others.length === 0) {
      const detail = `${manifest.outputs.length} files of this checkout have the same digests`;
      return { step: { what, result: 'good', detail }, diff: undefined };
    }
    const built = new Set(again.predictions.map(({ profile }) => profileName(profile)));
    const predictions = manifest.predictions.filter(({ profile }) => built.has(profileName(profile)));
    const before = { manifest: { ...manifest, predictions }, files: undefined };
    const diff = diffImages(before, { manifest: again, files: undefined });
    return {
      step: { what, result: 'bad', detail: `this checkout gives another image: ${others.join(', ')}` },
      diff,
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
