import type { CryptoProvider, HashName } from '../../../attestation/crypto/provider.ts';
import { EVENTS, type Measured, registerOf, utf16WithNul } from './register.ts';
import { loadEvents, sectionEvents, type UkiMeasurements } from './uki.ts';

/** A kernel that the host passes (`-kernel`). */
export interface DirectBoot {
  /** Authenticode digest of the kernel as the firmware sees it: rewritten or not, as the platform profile says. */
  readonly kernel: Uint8Array;
  readonly initrd: Measured;
  readonly cmdline: string;
}

/** What a boot is predicted from: an image on a disk, with what was measured of its partition table, or a kernel. */
export type Boot =
  | { readonly kind: 'uki'; readonly uki: UkiMeasurements; readonly gpt?: Uint8Array | undefined }
  | { readonly kind: 'direct'; readonly direct: DirectBoot };

/** OVMF adds it to the command line of a kernel with an initrd. */
const INITRD_OPTION = ' initrd=initrd';

/**
 * Why a register cannot be predicted from an image. 0 depends on firmware, processor model and count; 1 on boot
 * options and, with newer firmware, ACPI tables; 7 on the variables of the firmware.
 */
export const UNPREDICTABLE_PCRS: Readonly<Record<0 | 1 | 7, string>> = {
  0: 'the firmware in memory, with processor model and count: take it from a boot of this platform',
  1: 'boot options and, from edk2 2025.02 on, ACPI tables: a value of the platform',
  7: 'secure boot variables of the firmware: take it from a boot of this platform',
};

/**
 * The registers that follow from the image, and those that are the same for all (FORMATS of launch, section 7).
 * 8, 10 and 13 to 15 belong to the running system and are left out; 12 stays zero where nobody overrides anything.
 */
export function predictPcrs(
  boot: Boot,
  bank: HashName,
  crypto: CryptoProvider,
): ReadonlyMap<number, Uint8Array> {
  const value = (events: readonly Measured[]): Uint8Array => registerOf(events, bank, crypto);
  const separator = value([EVENTS.separator]);
  const exit = [EVENTS.exitBootServices, EVENTS.exitedBootServices];
  const gpt = boot.kind === 'uki' && boot.gpt ? [{ bytes: boot.gpt }] : [];
  const pcrs = new Map([
    [2, separator],
    [3, separator],
    [4, value(applicationEvents(boot))],
    [5, value([EVENTS.separator, ...gpt, ...exit])],
    [6, separator],
    [9, value(boot.kind === 'uki' ? loadEvents(boot.uki) : directLoadEvents(boot.direct))],
  ]);
  if (boot.kind === 'uki') pcrs.set(11, value(sectionEvents(boot.uki.sections)));
  return pcrs;
}

/** What the firmware starts, in the order in which it says so. */
function applicationEvents(boot: Boot): readonly Measured[] {
  if (boot.kind === 'direct') {
    return [{ digest: boot.direct.kernel }, EVENTS.callingApplication, EVENTS.separator];
  }
  const { image, kernel } = boot.uki;
  return [EVENTS.callingApplication, EVENTS.separator, { digest: image }, { digest: kernel }];
}

/** Command line and initrd of a kernel that the host passes. */
export function directLoadEvents({ cmdline, initrd }: DirectBoot): readonly Measured[] {
  return [{ bytes: utf16WithNul(cmdline + INITRD_OPTION) }, initrd];
}
