import { basename, join } from 'node:path';
import { equalBytes, fromHex, toHex } from '../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { authenticodeDigest, peSections, sectionData } from '../../predict/boot/portableExecutable.ts';
import { measureUki, type StubRelease } from '../../predict/boot/uki.ts';
import { PredictError } from '../../predict/errors.ts';
import { TABLE_BYTES } from '../disk/gpt.ts';
import { ImageError } from '../errors.ts';
import { readFirst, readWhole } from './fileDigest.ts';
import type { ManifestParts, ManifestPrediction, ManifestProfile } from './manifest.ts';
import { type ImageParts, predictImage } from './predictImage.ts';
import type { LaunchProfile } from './profiles.ts';

/** Largest kernel, initrd or unified kernel image, bytes. */
const MAX_PART_BYTES = 512 * 1024 * 1024;
const MAX_FIRMWARE_BYTES = 64 * 1024 * 1024;

interface PartNames {
  readonly uki: string;
  readonly kernel: string;
  readonly initrd: string;
  readonly disk: string;
}

/** Reads what is measured of an image. Kernel and initrd beside the unified image must be those inside. */
export async function readImageParts(
  folder: string,
  names: PartNames,
  stub: StubRelease,
): Promise<ImageParts> {
  const [uki, kernel, initrd, diskStart] = await Promise.all([
    readWhole(folder, names.uki, MAX_PART_BYTES),
    readWhole(folder, names.kernel, MAX_PART_BYTES),
    readWhole(folder, names.initrd, MAX_PART_BYTES),
    readFirst(join(folder, names.disk), TABLE_BYTES),
  ]);
  requireInside(uki, '.linux', kernel, names);
  requireInside(uki, '.initrd', initrd, names);
  const { cmdline } = asImageError(() => measureUki(uki, stub, 'sha256', nodeCrypto));
  return { uki, stub, kernel, initrd, cmdline, diskStart };
}

function requireInside(uki: Uint8Array, name: string, file: Uint8Array, names: PartNames): void {
  const section = asImageError(() => peSections(uki)).find((found) => found.name === name);
  if (section && equalBytes(sectionData(uki, section), file)) return;
  throw new ImageError('IMAGE_PART_MALFORMED', `${name} of ${names.uki} is not the file beside it`);
}

/** What the manifest says of the unified image and the kernel. */
export function measuredParts(
  { uki, kernel, stub }: ImageParts,
  uname: string,
): Pick<ManifestParts, 'uki' | 'kernel'> {
  return asImageError(() => ({
    uki: {
      stub,
      uname,
      authenticode: bothDigests(uki),
      sections: peSections(uki).map((section) => {
        const data = sectionData(uki, section);
        return { name: section.name, bytes: data.length, sha256: toHex(nodeCrypto.hash('sha256', data)) };
      }),
    },
    kernel: { authenticode: bothDigests(kernel) },
  }));
}

function bothDigests(image: Uint8Array): { sha256: string; sha384: string } {
  const digest = (hash: 'sha256' | 'sha384'): string => toHex(authenticodeDigest(image, hash, nodeCrypto));
  return { sha256: digest('sha256'), sha384: digest('sha384') };
}

/** Firmware files that profiles name, each read once, by their SHA-256 in hex. */
export class FirmwareFiles {
  readonly #byPath = new Map<string, { readonly name: string; readonly sha256: string }>();
  readonly #byDigest = new Map<string, Uint8Array>();

  async add(path: string): Promise<{ readonly name: string; readonly sha256: string }> {
    const known = this.#byPath.get(path);
    if (known) return known;
    const bytes = await readWhole('', path, MAX_FIRMWARE_BYTES);
    const found = { name: basename(path), sha256: toHex(nodeCrypto.hash('sha256', bytes)) };
    this.#byPath.set(path, found);
    this.#byDigest.set(found.sha256, bytes);
    return found;
  }

  /** The file of a profile; undefined where it names none, or none that was added. */
  of({ firmware }: { readonly firmware: { readonly sha256: string } | null }): Uint8Array | undefined {
    return firmware ? this.#byDigest.get(firmware.sha256) : undefined;
  }
}

/** A profile as a manifest has it: firmware by its digest. */
export async function toManifestProfile(
  profile: LaunchProfile,
  files: FirmwareFiles,
): Promise<ManifestProfile> {
  switch (profile.platform) {
    case 'tpm':
      return { ...profile };
    case 'tdx':
      return { ...profile, firmware: profile.firmware === null ? null : await files.add(profile.firmware) };
    case 'snp':
      return { ...profile, firmware: await files.add(profile.firmware) };
  }
}

/** What a launch measures, as a manifest says it. */
export function predictionOf(
  parts: ImageParts,
  profile: ManifestProfile,
  files: FirmwareFiles,
): ManifestPrediction {
  const firmware = profile.platform === 'tpm' ? undefined : files.of(profile);
  const { values, unpredicted } = asImageError(() => predictImage(parts, profile, firmware, nodeCrypto));
  return {
    profile,
    values: values.map(({ member, value, from }) => ({ member, value, from: [...from] })),
    unpredicted: unpredicted.map(({ what, why }) => ({ what, why })),
  };
}

/** Whether a hash tree's root is the one that a command line names. */
export function namesRootHash(cmdline: string, rootHash: string): boolean {
  return cmdline.split(/[ ,]/).includes(rootHash) && fromHex(rootHash).length === 32;
}

function asImageError<Result>(act: () => Result): Result {
  try {
    return act();
  } catch (error) {
    if (!(error instanceof PredictError)) throw error;
    throw new ImageError('IMAGE_PART_MALFORMED', error.message, { cause: error });
  }
}
