import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { equalBytes, fromHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import { canonicalJson } from '../../../attestation/json/canonical.ts';
import { PARTITION_TYPES, SECTOR_BYTES, TABLE_BYTES } from '../disk/gpt.ts';
import { readPartitionTable } from '../disk/readGpt.ts';
import { verifyVerity } from '../disk/verity.ts';
import { ImageError } from '../errors.ts';
import { digestFile, reading, readRange, readWhole } from './fileDigest.ts';
import { FirmwareFiles, measuredParts, namesRootHash, predictionOf, readImageParts } from './imageParts.ts';
import {
  FILES,
  type ImageManifest,
  type ManifestPrediction,
  outputOf,
  type OutputRole,
  parseManifest,
} from './manifest.ts';
import { type ImageParts, profileName } from './predictImage.ts';

/** Largest statement beside an image, bytes. */
export const MAX_STATEMENT_BYTES = 64 * 1024 * 1024;
/** Largest system partition, bytes. */
const MAX_ESP_BYTES = 1024 * 1024 * 1024;
const PIECE_BYTES = 1024 * 1024;
const MAX_CMDLINE_BYTES = 4096;

/** One thing that was looked at. */
export interface VerifyStep {
  readonly what: string;
  /** `skipped`: it cannot be known from what is at hand. */
  readonly result: 'good' | 'bad' | 'skipped';
  /** What was found; empty where there is nothing to say. */
  readonly detail: string;
}

export type OnStep = (step: VerifyStep) => void;

/** Reads the manifest of an output folder. Throws `ImageError`. */
export async function readManifest(folder: string, name: string = FILES.manifest): Promise<ImageManifest> {
  return parseManifest(await readWhole(folder, name, MAX_STATEMENT_BYTES));
}

/**
 * Computes again from the files what a manifest says of them: every digest, both hash trees, what the disk holds, and
 * every predicted value. Whose word the manifest is, it does not say. Steps that need a file that is there go on after
 * one that failed.
 */
export async function verifyFiles(
  folder: string,
  manifest: ImageManifest,
  firmware: readonly string[],
  onStep: OnStep,
): Promise<void> {
  const step = stepper(onStep);
  for (const { file, bytes, sha256 } of manifest.outputs) {
    await step(`file ${file}`, async () => {
      const found = await digestFile(join(folder, file));
      if (found.bytes !== bytes) throw mismatch(`${found.bytes} bytes, the manifest says ${bytes}`);
      if (found.sha256 !== sha256) throw mismatch(`SHA-256 ${found.sha256}, the manifest says ${sha256}`);
      return `${bytes} bytes, SHA-256 ${sha256}`;
    });
  }
  await verifyTree(folder, manifest, 'root', step);
  if (manifest.parts.models) await verifyTree(folder, manifest, 'models', step);
  await step('disk', () => verifyDisk(folder, manifest));
  await verifyMeasured(folder, manifest, firmware, step, onStep);
}

type Step = (what: string, act: () => Promise<string>) => Promise<void>;

function stepper(onStep: OnStep): Step {
  return async (what, act) => {
    try {
      onStep({ what, result: 'good', detail: await act() });
    } catch (error) {
      if (!(error instanceof ImageError)) throw error;
      onStep({ what, result: 'bad', detail: `${error.code}: ${error.message}` });
    }
  };
}

const TREES = { root: ['root', 'rootTree'], models: ['models', 'modelsTree'] } as const;

async function verifyTree(
  folder: string,
  manifest: ImageManifest,
  layer: 'root' | 'models',
  step: Step,
): Promise<void> {
  const verity = manifest.parts[layer];
  if (!verity) return;
  await step(`hash tree of ${layer}`, async () => {
    const [data, tree] = TREES[layer].map((role) => requireFile(manifest, role)) as [string, string];
    const { rootHash, dataBlocks, salt } = verity;
    const root = { rootHash: fromHex(rootHash), dataBlocks, salt: fromHex(salt) };
    await verifyVerity(join(folder, data), join(folder, tree), root);
    if (!namesRootHash(manifest.parts.cmdline, rootHash)) {
      throw mismatch(`the command line does not name the root hash ${rootHash}`);
    }
    return `root hash ${rootHash}, which the command line names`;
  });
}

/** Files that lie on the disk as they are, by the types of their partitions. */
const ON_DISK = [
  ['root', PARTITION_TYPES.root],
  ['rootTree', PARTITION_TYPES.rootVerity],
  ['models', PARTITION_TYPES.models],
  ['modelsTree', PARTITION_TYPES.modelsVerity],
] as const;

async function verifyDisk(folder: string, manifest: ImageManifest): Promise<string> {
  const disk = requireFile(manifest, 'disk');
  const uki = await readWhole(folder, requireFile(manifest, 'uki'), MAX_ESP_BYTES);
  return reading(join(folder, disk), async (handle) => {
    const { partitions } = readPartitionTable(await readRange(handle, 0, TABLE_BYTES, disk));
    if (!isSame(partitions, manifest.parts.partitions)) throw mismatch('its partitions are others');
    const start = (type: string): number => {
      const found = partitions.filter((partition) => partition.type === type);
      if (found.length !== 1) throw mismatch(`it has ${found.length} partitions of the type ${type}`);
      return (found[0]?.firstSector ?? 0) * SECTOR_BYTES;
    };
    for (const [role, type] of ON_DISK) {
      const output = outputOf(manifest, role);
      if (!output) continue;
      const sha256 = await digestRange(handle, start(type), output.bytes, disk);
      if (sha256 !== output.sha256) throw mismatch(`the partition of ${output.file} holds something else`);
    }
    const esp = partitions.find(({ type }) => type === PARTITION_TYPES.esp);
    const espBytes = esp ? (esp.lastSector - esp.firstSector + 1) * SECTOR_BYTES : 0;
    if (espBytes > MAX_ESP_BYTES) throw mismatch('its system partition is too large');
    const system = await readRange(handle, start(PARTITION_TYPES.esp), espBytes, disk);
    if (!holds(system, uki)) throw mismatch('its system partition does not hold the unified kernel image');
    return `${partitions.length} partitions, which hold the files beside it`;
  });
}

/** Clusters of a new FAT follow each other: the image lies there in one piece, from the begin of a sector on. */
function holds(system: Uint8Array, image: Uint8Array): boolean {
  const bytes = Buffer.from(system.buffer, system.byteOffset, system.byteLength);
  const first = image.subarray(0, SECTOR_BYTES);
  for (let at = bytes.indexOf(first); at >= 0; at = bytes.indexOf(first, at + 1)) {
    if (at % SECTOR_BYTES === 0 && equalBytes(system.subarray(at, at + image.length), image)) return true;
  }
  return false;
}

async function digestRange(handle: FileHandle, start: number, length: number, name: string): Promise<string> {
  const hash = createHash('sha256');
  for (let done = 0; done < length; done += PIECE_BYTES) {
    hash.update(await readRange(handle, start + done, Math.min(PIECE_BYTES, length - done), name));
  }
  return hash.digest('hex');
}

async function verifyMeasured(
  folder: string,
  manifest: ImageManifest,
  firmware: readonly string[],
  step: Step,
  onStep: OnStep,
): Promise<void> {
  let parts: ImageParts | undefined;
  await step('measured parts', async () => {
    parts = await readParts(folder, manifest);
    const { uki, kernel } = measuredParts(parts, manifest.parts.uki.uname);
    const said = { uki: manifest.parts.uki, kernel: manifest.parts.kernel };
    if (!isSame({ uki, kernel }, said)) throw mismatch('image or kernel are others than the manifest says');
    if (parts.cmdline !== manifest.parts.cmdline) throw mismatch('the command line is another');
    const text = outputOf(manifest, 'cmdline');
    const beside = text && (await readWhole(folder, text.file, MAX_CMDLINE_BYTES));
    if (beside && !equalBytes(beside, utf8(parts.cmdline)))
      throw mismatch(`${text.file} says another command line`);
    return `${uki.sections.length} sections, kernel, initrd and command line`;
  });
  if (!parts) return;
  const files = new FirmwareFiles();
  for (const path of firmware) await files.add(path);
  for (const prediction of manifest.predictions) {
    const { profile } = prediction;
    const what = `values of ${profileName(profile)}`;
    if (profile.platform !== 'tpm' && profile.firmware && !files.of(profile)) {
      const { name, sha256 } = profile.firmware;
      onStep({ what, result: 'skipped', detail: `needs the firmware ${name}, SHA-256 ${sha256}` });
      continue;
    }
    const measured = parts;
    await step(what, () =>
      Promise.resolve(comparePrediction(prediction, predictionOf(measured, profile, files))),
    );
  }
}

function readParts(folder: string, manifest: ImageManifest): Promise<ImageParts> {
  const names = {
    uki: requireFile(manifest, 'uki'),
    kernel: requireFile(manifest, 'kernel'),
    initrd: requireFile(manifest, 'initrd'),
    disk: requireFile(manifest, 'disk'),
  };
  return readImageParts(folder, names, manifest.parts.uki.stub);
}

function comparePrediction(said: ManifestPrediction, found: ManifestPrediction): string {
  if (!isSame(said, found)) {
    const other = found.values.find(
      ({ member, value }) => !said.values.some((known) => known.member === member && known.value === value),
    );
    throw mismatch(other ? `${other.member} is ${other.value}` : 'the manifest has other words or values');
  }
  return `${found.values.length} values`;
}

function requireFile(manifest: ImageManifest, role: OutputRole): string {
  const output = outputOf(manifest, role);
  if (output) return output.file;
  throw mismatch(`the manifest names no file for ${role}`);
}

function isSame(a: unknown, b: unknown): boolean {
  return canonicalJson(a) === canonicalJson(b);
}

function mismatch(message: string): ImageError {
  return new ImageError('IMAGE_MANIFEST_MISMATCH', message);
}
