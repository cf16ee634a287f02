import type { PageOrder } from '../../predict/tdx/mrtd.ts';
import type { Vmm } from '../../predict/snp/vmsa.ts';

/** How the image comes up: the disk is started by the firmware, or the host passes kernel, initrd and command line. */
export type BootWay = 'disk' | 'direct';

interface Direct {
  readonly boot: 'direct';
  /**
   * Memory of the guest, bytes, where the host's QEMU rewrites the header of a kernel that it passes (up to 9.x);
   * `null` where the firmware measures the kernel as it is.
   */
  readonly rewrittenForMemory: number | null;
}

interface Disk {
  readonly boot: 'disk';
}

/** A TPM, virtual or not, below any hypervisor. */
export type TpmProfile = { readonly platform: 'tpm'; readonly bank: 'sha256' | 'sha384' } & (Disk | Direct);

/** A TD. Without firmware there is no MRTD. */
export type TdxProfile = {
  readonly platform: 'tdx';
  /** Path of the firmware file on the build machine; the manifest names it by its digest. */
  readonly firmware: string | null;
  readonly pageOrder: PageOrder;
  readonly separators: 0 | 1;
} & (Disk | Direct);

/** An SEV-SNP guest: only what the host passes is in its launch digest, so it boots directly. */
export interface SnpProfile {
  readonly platform: 'snp';
  readonly boot: 'direct';
  readonly firmware: string;
  readonly vmm: Vmm;
  readonly vcpus: number;
  /** QEMU's name of the processor model, which is in the digest there; `null` where the host is another. */
  readonly cpu: string | null;
  /** `SEV_FEATURES` as 0x and hex digits. */
  readonly guestFeatures: string;
}

export type LaunchProfile = TpmProfile | TdxProfile | SnpProfile;

/** What can be said of every image without any firmware file. */
export const DEFAULT_PROFILES: readonly LaunchProfile[] = [
  { platform: 'tpm', bank: 'sha256', boot: 'disk' },
  { platform: 'tpm', bank: 'sha384', boot: 'disk' },
  { platform: 'tpm', bank: 'sha256', boot: 'direct', rewrittenForMemory: null },
  { platform: 'tdx', firmware: null, pageOrder: 'one-pass', separators: 1, boot: 'disk' },
  {
    platform: 'tdx',
    firmware: null,
    pageOrder: 'one-pass',
    separators: 1,
    boot: 'direct',
    rewrittenForMemory: null,
  },
];
