import { concat } from '../../../attestation/bytes/bytes.ts';
import type { CryptoProvider } from '../../../attestation/crypto/provider.ts';
import { PredictError } from '../errors.ts';
import { firmwareAddress, malformed, PAGE_BYTES } from '../firmware/guidTable.ts';
import { parseSevTables, type SevSection, type SevTables } from '../firmware/sevMetadata.ts';
import { kernelHashPage, type KernelHashes } from './kernelHashes.ts';
import { vmsaPages, type VmsaProfile } from './vmsa.ts';

const DIGEST_BYTES = 48;
const NO_CONTENT = new Uint8Array(DIGEST_BYTES);
/** Bytes that one step hashes: `PAGE_INFO` of `SNP_LAUNCH_UPDATE` (SEV-SNP ABI, section 8.17). */
const PAGE_INFO_BYTES = 0x70;
/** Address under which every VMSA is measured. */
const VMSA_ADDRESS = 0xffff_ffff_f000;

export const PAGE_TYPES = { normal: 1, vmsa: 2, zero: 3, unmeasured: 4, secrets: 5, cpuid: 6 } as const;
export type PageType = keyof typeof PAGE_TYPES;

/** MEASUREMENT of a guest as its pages are added. */
export class LaunchDigest {
  readonly #crypto: CryptoProvider;
  #value: Uint8Array;

  /** `seed` is the digest after the firmware; zero before any page. */
  constructor(crypto: CryptoProvider, seed: Uint8Array = NO_CONTENT) {
    if (seed.length !== DIGEST_BYTES)
      throw new PredictError('PROFILE_INVALID', 'a launch digest has 48 bytes');
    this.#crypto = crypto;
    this.#value = seed;
  }

  /** 48 bytes. */
  get value(): Uint8Array {
    return this.#value;
  }

  /** Adds pages with content, from an address on. */
  addPages(type: 'normal' | 'vmsa', address: number, content: Uint8Array): void {
    for (let offset = 0; offset < content.length; offset += PAGE_BYTES) {
      const page = content.subarray(offset, offset + PAGE_BYTES);
      this.#add(type, type === 'vmsa' ? VMSA_ADDRESS : address + offset, this.#crypto.hash('sha384', page));
    }
  }

  /** Adds pages whose content is not measured, or known. */
  addRange(type: Exclude<PageType, 'normal' | 'vmsa'>, address: number, size: number): void {
    for (let offset = 0; offset < size; offset += PAGE_BYTES) this.#add(type, address + offset, NO_CONTENT);
  }

  #add(type: PageType, address: number, content: Uint8Array): void {
    const info = new Uint8Array(PAGE_INFO_BYTES);
    info.set(this.#value, 0);
    info.set(content, DIGEST_BYTES);
    const view = new DataView(info.buffer);
    view.setUint16(0x60, PAGE_INFO_BYTES, true);
    // Then zeros: no initial migration image, no permission for lower privilege levels.
    view.setUint8(0x62, PAGE_TYPES[type]);
    view.setBigUint64(0x68, BigInt(address), true);
    this.#value = this.#crypto.hash('sha384', info);
  }
}

/** What firmware contributes: enough to predict without the file, so that it can be published in its place. */
export interface SnpFirmware extends SevTables {
  /** Launch digest after its pages, 48 bytes. */
  readonly digest: Uint8Array;
}

/** Measures the pages of a firmware file. */
export function measureFirmware(firmware: Uint8Array, crypto: CryptoProvider): SnpFirmware {
  const tables = parseSevTables(firmware);
  const launch = new LaunchDigest(crypto);
  launch.addPages('normal', firmwareAddress(firmware), firmware);
  return { ...tables, digest: launch.value };
}

export interface SnpLaunch extends VmsaProfile {
  readonly firmware: SnpFirmware;
  /** What the host passes beside the firmware; undefined where the firmware finds the image on a disk. */
  readonly kernel: KernelHashes | undefined;
}

/**
 * MEASUREMENT in the report of a guest that is launched so (FORMATS of launch, section 2). It covers neither the size
 * of the memory nor devices, ACPI tables and disks.
 */
export function snpLaunchDigest(launch: SnpLaunch, crypto: CryptoProvider): Uint8Array {
  const { firmware, kernel } = launch;
  const { sections, resetAddress } = firmware;
  if (!sections) throw malformed('there is no SEV metadata');
  if (resetAddress === undefined) throw malformed('it does not say where the application processors start');
  requirePlaceForHashes(firmware, kernel);
  const digest = new LaunchDigest(crypto, firmware.digest);
  for (const section of inOrder(sections, launch)) addSection(digest, section, launch);
  digest.addPages('vmsa', VMSA_ADDRESS, concat(...vmsaPages(launch, resetAddress)));
  return digest.value;
}

function requirePlaceForHashes(
  { sections, hashTableAddress }: SnpFirmware,
  kernel: KernelHashes | undefined,
): void {
  if (!kernel) return;
  const hasPlace = sections?.some(({ type }) => type === 'kernel-hashes') ?? false;
  if (hasPlace && hashTableAddress !== undefined) return;
  throw new PredictError('KERNEL_HASHES_UNSUPPORTED', 'the firmware has no section for hashes of a kernel');
}

/** EC2 adds the pages of CPUID last. */
function inOrder(sections: readonly SevSection[], { vmm }: SnpLaunch): readonly SevSection[] {
  if (vmm !== 'ec2') return sections;
  const isLast = ({ type }: SevSection): boolean => type === 'cpuid';
  return [...sections.filter((section) => !isLast(section)), ...sections.filter(isLast)];
}

function addSection(digest: LaunchDigest, { address, size, type }: SevSection, launch: SnpLaunch): void {
  const { vmm, kernel, firmware } = launch;
  switch (type) {
    case 'memory':
      digest.addRange(vmm === 'gce' ? 'unmeasured' : 'zero', address, size);
      break;
    case 'secrets':
    case 'cpuid':
      digest.addRange(type, address, PAGE_BYTES);
      break;
    case 'calling-area':
      digest.addRange('zero', address, size);
      break;
    case 'kernel-hashes':
      if (kernel) digest.addPages('normal', address, kernelHashPage(kernel, firmware.hashTableAddress ?? 0));
      else digest.addRange('zero', address, size);
  }
}
