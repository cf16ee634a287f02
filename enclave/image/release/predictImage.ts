import type { CryptoProvider, HashName } from '../../../attestation/crypto/provider.ts';
import { gptEvent } from '../../predict/boot/gpt.ts';
import { patchKernel } from '../../predict/boot/linuxHeader.ts';
import { type Boot, predictPcrs, UNPREDICTABLE_PCRS } from '../../predict/boot/pcrs.ts';
import { authenticodeDigest } from '../../predict/boot/portableExecutable.ts';
import { MEASURED_SECTIONS, measureUki, type StubRelease } from '../../predict/boot/uki.ts';
import {
  type Prediction,
  type ReferenceValue,
  referenceValue,
  type Unpredicted,
} from '../../predict/referenceValues.ts';
import { signatureOfModel } from '../../predict/snp/cpuModels.ts';
import { hashKernelParts } from '../../predict/snp/kernelHashes.ts';
import { measureFirmware, snpLaunchDigest } from '../../predict/snp/launchDigest.ts';
import { predictMrtd } from '../../predict/tdx/mrtd.ts';
import { predictRtmr1, predictRtmr2 } from '../../predict/tdx/rtmrs.ts';
import type { ManifestProfile } from './manifest.ts';

/** What is measured of an image, in memory. */
export interface ImageParts {
  readonly uki: Uint8Array;
  readonly stub: StubRelease;
  readonly kernel: Uint8Array;
  readonly initrd: Uint8Array;
  readonly cmdline: string;
  /** The disk from its first byte on, partition table included. */
  readonly diskStart: Uint8Array;
}

/** Names of parts that values follow from; `image diff` compares them. */
export const PART = {
  profile: 'the firmware profile: the same for all images',
  uki: 'unified kernel image',
  kernel: 'kernel',
  initrd: 'initrd',
  cmdline: 'command line',
  table: 'partition table',
  untouched: 'nothing is added to what is measured',
} as const;

/** QEMU keeps it free for ACPI tables, bytes. */
const ACPI_DATA_BYTES = 0x2_8000;
const DIGEST_BYTES = { sha256: 32, sha384: 48 } as const;
/** 12: additions to the command line, credentials; 13: extensions of the system. Both stay zero where there are none. */
const ADDITIONS = [12, 13];

type TpmProfile = Extract<ManifestProfile, { platform: 'tpm' }>;
type TdxProfile = Extract<ManifestProfile, { platform: 'tdx' }>;
type SnpProfile = Extract<ManifestProfile, { platform: 'snp' }>;

/** A profile in a few words, as the names of values have it. */
export function profileName(profile: ManifestProfile): string {
  switch (profile.platform) {
    case 'tpm':
      return `tpm ${profile.bank} ${bootName(profile)}`;
    case 'tdx':
      return `tdx ${bootName(profile)}${profile.firmware ? ` ${profile.firmware.name} ${profile.pageOrder}` : ''}`;
    case 'snp': {
      const { firmware, vmm, vcpus, cpu, guestFeatures } = profile;
      return `snp ${vmm} ${firmware.name} ${vcpus} vcpus${cpu === null ? '' : ` ${cpu}`} ${guestFeatures}`;
    }
  }
}

function bootName(profile: TpmProfile | TdxProfile): string {
  if (profile.boot === 'disk') return 'disk';
  return profile.rewrittenForMemory === null ? 'direct' : `direct ${profile.rewrittenForMemory}`;
}

/**
 * What a launch of these parts measures. `firmware` is the file that the profile names, whose digest the caller has
 * compared. Refuses with `PredictError` what no host launches.
 */
export function predictImage(
  parts: ImageParts,
  profile: ManifestProfile,
  firmware: Uint8Array | undefined,
  crypto: CryptoProvider,
): Prediction {
  switch (profile.platform) {
    case 'tpm':
      return predictTpm(parts, profile, crypto);
    case 'tdx':
      return predictTdx(parts, profile, firmware, crypto);
    case 'snp':
      return predictSnp(parts, profile, firmware, crypto);
  }
}

function predictTpm(parts: ImageParts, profile: TpmProfile, crypto: CryptoProvider): Prediction {
  const { bank } = profile;
  const boot = bootOf(parts, profile, bank, crypto);
  const untouched = profile.boot === 'direct' ? [11, ...ADDITIONS] : ADDITIONS;
  const zero = new Uint8Array(DIGEST_BYTES[bank]);
  const values: ReferenceValue[] = [
    ...[...predictPcrs(boot, bank, crypto)].map(([pcr, value]) =>
      referenceValue(`tpm.pcrs.${bank}.${pcr}`, value, pcrOrigin(pcr, profile)),
    ),
    ...untouched.map((pcr) => referenceValue(`tpm.pcrs.${bank}.${pcr}`, zero, [PART.untouched])),
  ];
  const unpredicted = Object.entries(UNPREDICTABLE_PCRS).map(([pcr, why]) => ({ what: `PCR ${pcr}`, why }));
  return { values, unpredicted };
}

function pcrOrigin(pcr: number, { boot }: TpmProfile): readonly string[] {
  if (pcr === 4) return boot === 'disk' ? [PART.uki, PART.kernel] : [PART.kernel];
  if (pcr === 5) return boot === 'disk' ? [PART.table] : [PART.profile];
  if (pcr === 9) return boot === 'disk' ? LOADED_PARTS : [PART.cmdline, PART.initrd];
  if (pcr === 11) return SECTION_PARTS;
  return [PART.profile];
}

/** Sections whose content has a name of its own here. */
const PART_OF_SECTION: Readonly<Record<string, string>> = {
  '.linux': PART.kernel,
  '.cmdline': PART.cmdline,
  '.initrd': PART.initrd,
};

/** What a section is called where values say what they follow from. */
export function partOfSection(name: string): string {
  return PART_OF_SECTION[name] ?? `section ${name}`;
}

const SECTION_PARTS = MEASURED_SECTIONS.map(partOfSection);
/** Stubs from 257 on pack these behind the initrd, and the kernel measures it so. */
const LOADED_PARTS = ['.cmdline', '.initrd', '.osrel', '.profile', '.pcrpkey', '.pcrsig', '.ucode'].map(
  partOfSection,
);

function predictTdx(
  parts: ImageParts,
  profile: TdxProfile,
  firmware: Uint8Array | undefined,
  crypto: CryptoProvider,
): Prediction {
  const boot = bootOf(parts, profile, 'sha384', crypto);
  const isDisk = profile.boot === 'disk';
  const start = isDisk ? [PART.uki, PART.kernel, PART.table] : [PART.kernel];
  const load = isDisk ? SECTION_PARTS : [PART.cmdline, PART.initrd];
  const values: ReferenceValue[] = [
    referenceValue('tdx.rtmr1', predictRtmr1(boot, profile.separators, crypto), start),
    referenceValue('tdx.rtmr2', predictRtmr2(boot, crypto), load),
  ];
  if (profile.firmware && firmware) {
    const mrTd = predictMrtd(firmware, profile.pageOrder, crypto);
    values.unshift(referenceValue('tdx.mrTd', mrTd, [`firmware ${profile.firmware.name}`]));
  }
  return { values, unpredicted: profile.firmware ? TDX_UNPREDICTED : [NO_MRTD, ...TDX_UNPREDICTED] };
}

const NO_MRTD: Unpredicted = { what: 'MRTD', why: 'no firmware was given: it follows from that file alone' };
const TDX_UNPREDICTED: readonly Unpredicted[] = [
  {
    what: 'RTMR0',
    why: 'it holds the memory map, ACPI tables and boot options of the host: take it from a boot of this platform',
  },
  { what: 'RTMR3', why: 'the running system extends it; this image does not' },
];

function predictSnp(
  parts: ImageParts,
  profile: SnpProfile,
  firmware: Uint8Array | undefined,
  crypto: CryptoProvider,
): Prediction {
  if (!firmware) {
    return { values: [], unpredicted: [{ what: 'launch digest', why: 'the firmware file is not at hand' }] };
  }
  const { kernel, initrd, cmdline } = parts;
  const { vmm, vcpus, cpu, guestFeatures } = profile;
  const launch = {
    vmm,
    vcpus,
    guestFeatures: BigInt(guestFeatures),
    cpuSignature: cpu === null ? 0 : signatureOfModel(cpu),
    firmware: measureFirmware(firmware, crypto),
    kernel: hashKernelParts({ kernel, initrd, cmdline }, crypto),
  };
  const from = [`firmware ${profile.firmware.name}`, PART.kernel, PART.initrd, PART.cmdline];
  return {
    values: [referenceValue('snp.measurements', snpLaunchDigest(launch, crypto), from)],
    unpredicted: [
      {
        what: 'memory, devices, disks and ACPI tables',
        why: 'they are in no launch digest; the disks are those that the command line names by their root hashes',
      },
    ],
  };
}

function bootOf(
  parts: ImageParts,
  profile: TpmProfile | TdxProfile,
  bank: HashName,
  crypto: CryptoProvider,
): Boot {
  const { uki, stub, kernel, initrd, cmdline, diskStart } = parts;
  if (profile.boot === 'disk') {
    return { kind: 'uki', uki: measureUki(uki, stub, bank, crypto), gpt: gptEvent(diskStart) };
  }
  const { rewrittenForMemory: memoryBytes } = profile;
  const load = { initrdBytes: initrd.length, memoryBytes: memoryBytes ?? 0, acpiDataBytes: ACPI_DATA_BYTES };
  const loaded = memoryBytes === null ? kernel : patchKernel(kernel, load);
  const digest = authenticodeDigest(loaded, bank, crypto);
  return { kind: 'direct', direct: { kernel: digest, initrd: { bytes: initrd }, cmdline } };
}
