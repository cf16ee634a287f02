import { parseSevTables } from '../../predict/firmware/sevMetadata.ts';
import { parseTdxSections } from '../../predict/firmware/tdxMetadata.ts';
import { PredictError } from '../../predict/errors.ts';
import { ImageError } from '../errors.ts';
import { readWhole } from './fileDigest.ts';
import type { LaunchProfile } from './profiles.ts';

const MAX_FIRMWARE_BYTES = 64 * 1024 * 1024;

export interface GuestShapes {
  /** Numbers of processors. */
  readonly vcpus: readonly number[];
  /** QEMU's names of processor models. */
  readonly cpus: readonly string[];
}

/** Launches under QEMU that a firmware file is made for, by its own tables. Refuses one that has none. */
export async function firmwareProfiles(
  firmware: string,
  { vcpus, cpus }: GuestShapes,
): Promise<readonly LaunchProfile[]> {
  const bytes = await readWhole('', firmware, MAX_FIRMWARE_BYTES);
  const profiles: LaunchProfile[] = [];
  if (hasTables(() => parseTdxSections(bytes).length > 0)) {
    const tdx = { platform: 'tdx', firmware, pageOrder: 'one-pass', separators: 1 } as const;
    profiles.push({ ...tdx, boot: 'disk' }, { ...tdx, boot: 'direct', rewrittenForMemory: null });
  }
  if (
    hasTables(() => parseSevTables(bytes).sections?.some(({ type }) => type === 'kernel-hashes') ?? false)
  ) {
    const snp = { platform: 'snp', boot: 'direct', firmware, vmm: 'qemu', guestFeatures: '0x1' } as const;
    for (const cpu of cpus) for (const count of vcpus) profiles.push({ ...snp, vcpus: count, cpu });
  }
  if (profiles.length > 0) return profiles;
  throw new ImageError(
    'IMAGE_PART_MALFORMED',
    `${firmware} has neither tables of TDX nor a place for the hashes of a kernel`,
  );
}

function hasTables(look: () => boolean): boolean {
  try {
    return look();
  } catch (error) {
    if (!(error instanceof PredictError)) throw error;
    return false;
  }
}
