import { PAGE_BYTES } from '../firmware/guidTable.ts';
import { PredictError } from '../errors.ts';

/** Who loads the guest: their first processor states differ. */
export type Vmm = 'qemu' | 'ec2' | 'gce';

export interface VmsaProfile {
  readonly vmm: Vmm;
  /** Number of processors. */
  readonly vcpus: number;
  /** `SEV_FEATURES`: 1 is SNP, 0x21 adds debug swap (hosts 6.6 and 6.7). The host chooses it. */
  readonly guestFeatures: bigint;
  /** In RDX at reset under QEMU; the others have a constant there. */
  readonly cpuSignature: number;
}

/** Where the first processor starts. */
const RESET_VECTOR = 0xffff_fff0;
/** Of the largest hosts. */
const MAX_VCPUS = 4096;

/** Attributes of segments that hosts set differently. */
interface Segments {
  readonly firstCs: number;
  readonly otherCs: number;
  readonly ss: number;
  readonly tr: number;
}

const SEGMENTS: Readonly<Record<Vmm, Segments>> = {
  qemu: { firstCs: 0x9b, otherCs: 0x9b, ss: 0x93, tr: 0x8b },
  ec2: { firstCs: 0x9a, otherCs: 0x9b, ss: 0x92, tr: 0x83 },
  gce: { firstCs: 0x9b, otherCs: 0x9b, ss: 0x93, tr: 0x8b },
};

interface Registers {
  readonly pat: bigint;
  /** Undefined where it is the signature of the processor. */
  readonly rdx: bigint | undefined;
  readonly mxcsr: number;
  readonly fcw: number;
}

const REGISTERS: Readonly<Record<Vmm, Registers>> = {
  qemu: { pat: 0x7040600070406n, rdx: undefined, mxcsr: 0x1f80, fcw: 0x37f },
  ec2: { pat: 0x7040600070406n, rdx: 0x600n, mxcsr: 0, fcw: 0 },
  gce: { pat: 0x70106n, rdx: 0x600n, mxcsr: 0, fcw: 0 },
};

/**
 * The page of each processor's first state (AMD64 Architecture Programmer's Manual, volume 2, appendix B), as host
 * kernels from 6.10 on load it: the first processor starts at the reset vector, the others at `resetAddress`.
 */
export function vmsaPages(profile: VmsaProfile, resetAddress: number): readonly Uint8Array[] {
  const { vcpus } = profile;
  if (!Number.isInteger(vcpus) || vcpus < 1 || vcpus > MAX_VCPUS) {
    throw new PredictError('PROFILE_INVALID', `${vcpus} processors`);
  }
  const first = vmsaPage(profile, RESET_VECTOR);
  const other = vcpus > 1 ? vmsaPage(profile, resetAddress) : first;
  return Array.from({ length: vcpus }, (_, index) => (index === 0 ? first : other));
}

function vmsaPage({ vmm, guestFeatures, cpuSignature }: VmsaProfile, start: number): Uint8Array {
  const page = new Uint8Array(PAGE_BYTES);
  const view = new DataView(page.buffer);
  writeSegments(view, SEGMENTS[vmm], start);
  const { pat, rdx, mxcsr, fcw } = REGISTERS[vmm];
  const u64 = (offset: number, value: bigint) => {
    view.setBigUint64(offset, value, true);
  };
  u64(0x0d0, 0x1000n); // EFER: SVME
  u64(0x148, 0x40n); // CR4: MCE
  u64(0x158, 0x10n); // CR0: ET
  u64(0x160, 0x400n); // DR7
  u64(0x168, 0xffff_0ff0n); // DR6
  u64(0x170, 2n); // RFLAGS
  u64(0x178, BigInt(start & 0xffff)); // RIP
  u64(0x268, pat);
  u64(0x310, rdx ?? BigInt(cpuSignature));
  u64(0x3b0, guestFeatures);
  u64(0x3e8, 1n); // XCR0: x87
  view.setUint32(0x408, mxcsr, true);
  view.setUint16(0x410, fcw, true);
  return page;
}

function writeSegments(view: DataView, { firstCs, otherCs, ss, tr }: Segments, start: number): void {
  const segment = (offset: number, selector: number, attributes: number, base = 0) => {
    view.setUint16(offset, selector, true);
    view.setUint16(offset + 2, attributes, true);
    view.setUint32(offset + 4, 0xffff, true);
    view.setBigUint64(offset + 8, BigInt(base), true);
  };
  segment(0x000, 0, 0x93); // ES
  segment(0x010, 0xf000, start === RESET_VECTOR ? firstCs : otherCs, (start & 0xffff_0000) >>> 0);
  segment(0x020, 0, ss);
  for (const offset of [0x030, 0x040, 0x050]) segment(offset, 0, 0x93); // DS, FS, GS
  segment(0x060, 0, 0); // GDTR
  segment(0x070, 0, 0x82); // LDTR
  segment(0x080, 0, 0); // IDTR
  segment(0x090, 0, tr);
}
