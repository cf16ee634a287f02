import { createHash } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { readPartitionTable } from '../disk/readGpt.ts';
import { ImageError } from '../errors.ts';
import type { ImageFacts, InputFact, OutputNames } from './facts.ts';
import { digestFile } from './fileDigest.ts';
import { encodeFileLists, listFiles } from './fileLists.ts';
import {
  FirmwareFiles,
  measuredParts,
  predictionOf,
  readImageParts,
  toManifestProfile,
} from './imageParts.ts';
import {
  encodeManifest,
  FILES,
  type ImageManifest,
  manifestSchema,
  type ManifestInput,
  type ManifestOutput,
  type ManifestParts,
  type OutputRole,
  type ManifestPrediction,
} from './manifest.ts';
import type { ImageParts } from './predictImage.ts';
import { DEFAULT_PROFILES } from './profiles.ts';
import { encodeSbom } from './sbom.ts';

/** Hears of each file that is read: its name, bytes of it so far. */
export type OnFile = (name: string, bytes: number) => void;

/**
 * Writes lists of files, SBOM and manifest beside the files of an image, and returns the manifest. Nothing in it is of
 * the build machine: the same inputs give the same bytes. Throws `ImageError`.
 */
export async function writeManifest(
  outFolder: string,
  facts: ImageFacts,
  onFile: OnFile = () => undefined,
): Promise<ImageManifest> {
  const fileLists = encodeFileLists(await listFiles(facts.trees));
  const inputs = facts.inputs.map(toInput).toSorted(byKindAndName);
  const parts = await readImageParts(outFolder, facts.outputs, facts.stub);
  const outputs = await digestOutputs(outFolder, facts.outputs, onFile);
  const sbom = encodeSbom({ name: facts.name, version: facts.version, inputs, outputs });
  await write(outFolder, FILES.fileLists, fileLists);
  await write(outFolder, FILES.sbom, sbom);
  const { commit = null, tree } = facts.source;
  const manifest: ImageManifest = {
    version: 'vouchsafe/image/1',
    release: { name: facts.name, version: facts.version },
    source: { commit, tree },
    parameters: { ...facts.parameters },
    inputs,
    parts: partsOf(facts, parts),
    outputs: [
      ...outputs,
      inMemory('fileLists', FILES.fileLists, fileLists),
      inMemory('sbom', FILES.sbom, sbom),
    ],
    predictions: await predictAll(facts, parts),
  };
  await write(outFolder, FILES.manifest, encodeManifest(requireValid(manifest)));
  return manifest;
}

/** What the builder hands over must be what can be read again. */
function requireValid(manifest: ImageManifest): ImageManifest {
  const result = manifestSchema.safeParse(manifest);
  if (result.success) return manifest;
  const [issue] = result.error.issues;
  const where = issue ? `${issue.path.join('.')}: ${issue.message}` : '';
  throw new ImageError('IMAGE_MANIFEST_INVALID', `the manifest cannot say what was built: ${where}`);
}

function toInput({ integrity, licence, uses, ...rest }: InputFact): ManifestInput {
  return { ...rest, integrity: integrity ?? null, licence: licence ?? null, uses: [...uses] };
}

function byKindAndName(a: ManifestInput, b: ManifestInput): number {
  const [left, right] = [a, b].map(({ kind, name, version, path }) => [kind, name, version, path].join('\0'));
  return Buffer.compare(Buffer.from(left ?? ''), Buffer.from(right ?? ''));
}

async function digestOutputs(folder: string, names: OutputNames, onFile: OnFile): Promise<ManifestOutput[]> {
  const roles = [
    'disk',
    'uki',
    'kernel',
    'initrd',
    'cmdline',
    'root',
    'rootTree',
    'models',
    'modelsTree',
  ] as const;
  const outputs: ManifestOutput[] = [];
  for (const role of roles) {
    const file = names[role];
    if (file === undefined) continue;
    let done = 0;
    const digest = await digestFile(join(folder, file), (bytes) => {
      onFile(file, (done += bytes));
    });
    outputs.push({ role, file, ...digest });
  }
  return outputs;
}

function inMemory(role: OutputRole, file: string, content: Uint8Array): ManifestOutput {
  const sha256 = createHash('sha256').update(content).digest('hex');
  return { role, file, bytes: content.length, sha256 };
}

function partsOf({ uname, root, models }: ImageFacts, parts: ImageParts): ManifestParts {
  const { rootHash, dataBlocks, salt } = root;
  return {
    ...measuredParts(parts, uname),
    cmdline: parts.cmdline,
    partitions: readPartitionTable(parts.diskStart).partitions.map((partition) => ({ ...partition })),
    root: { rootHash, dataBlocks, salt },
    models: models
      ? {
          rootHash: models.rootHash,
          dataBlocks: models.dataBlocks,
          salt: models.salt,
          models: models.models.map(({ name, manifest = null }) => ({ name, manifest })),
        }
      : null,
  };
}

async function predictAll({ profiles }: ImageFacts, parts: ImageParts): Promise<ManifestPrediction[]> {
  const files = new FirmwareFiles();
  const predictions: ManifestPrediction[] = [];
  for (const profile of profiles ?? DEFAULT_PROFILES) {
    predictions.push(predictionOf(parts, await toManifestProfile(profile, files), files));
  }
  return predictions;
}

async function write(folder: string, name: string, content: Uint8Array): Promise<void> {
  try {
    await writeFile(join(folder, name), content);
  } catch (cause) {
    const { code = 'unknown error' } = cause as NodeJS.ErrnoException;
    throw new ImageError('IMAGE_OUTPUT_FAILED', `${name} cannot be written: ${code}`, { cause });
  }
}
