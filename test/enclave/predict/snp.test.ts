import { describe, expect, test } from '@jest/globals';
import { toHex } from '../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { portableCrypto } from '../../../attestation/crypto/portable.ts';
import { PredictError } from '../../../enclave/predict/errors.ts';
import { cpuSignature, signatureOfModel } from '../../../enclave/predict/snp/cpuModels.ts';
import { encodeIdBlock } from '../../../enclave/predict/snp/idBlock.ts';
import { hashKernelParts, kernelHashPage } from '../../../enclave/predict/snp/kernelHashes.ts';
import {
  LaunchDigest,
  measureFirmware,
  snpLaunchDigest,
  type SnpLaunch,
} from '../../../enclave/predict/snp/launchDigest.ts';
import { sevLaunchDigest } from '../../../enclave/predict/snp/sevDigest.ts';
import { type MintedFirmware, mintFirmware } from '../../support/mintedFirmware.ts';
import { errorOf } from '../../support/refusal.ts';

const SECTIONS = [
  { address: 0x80_0000, size: 0x3000, type: 1 },
  { address: 0x80_d000, size: 0x1000, type: 2 },
  { address: 0x80_e000, size: 0x1000, type: 3 },
  { address: 0x80_f000, size: 0x1000, type: 4 },
  { address: 0x81_0000, size: 0x1000, type: 16 },
];
const AMD_SEV: MintedFirmware = { sev: SECTIONS, hashTable: 0x81_0c00, reset: 0x80_b004 };
const PARTS = { kernel: Uint8Array.of(1, 2, 3), initrd: Uint8Array.of(4), cmdline: 'console=ttyS0' };

const codeOf = (run: () => unknown) => errorOf(PredictError, run)?.code ?? 'none';

function launchOf(firmware: MintedFirmware, changes: Partial<SnpLaunch> = {}): SnpLaunch {
  return {
    vmm: 'qemu',
    vcpus: 2,
    guestFeatures: 1n,
    cpuSignature: signatureOfModel('EPYC-Milan'),
    firmware: measureFirmware(mintFirmware(firmware), nodeCrypto),
    kernel: hashKernelParts(PARTS, nodeCrypto),
    ...changes,
  };
}

const digestOf = (launch: SnpLaunch): string => toHex(snpLaunchDigest(launch, nodeCrypto));

describe('the launch digest of SEV-SNP', () => {
  test('of three pages whose content is known', () => {
    const pages = new Uint8Array(3 * 4096);
    pages.set(Buffer.from('LGTM'.repeat(4)), 0);
    pages.set(Buffer.from('LGTM'.repeat(4)), pages.length - 16);
    const digest = new LaunchDigest(nodeCrypto);
    digest.addPages('normal', 0, pages);
    // Known answer of the test vectors of virtee/sev-snp-measure.
    expect(toHex(digest.value)).toBe(
      'cba1cd767c33b30f96271837dbbae4081a945464a5af397b9b0336b5d8759ee88cc6b62c05d915c4424a9ac5747437d4',
    );
  });

  test('is the same with the cryptography of a page', () => {
    const launch = launchOf(AMD_SEV);
    expect(toHex(snpLaunchDigest(launch, portableCrypto))).toBe(digestOf(launch));
    const firmware = measureFirmware(mintFirmware(AMD_SEV), portableCrypto);
    expect(digestOf({ ...launch, firmware })).toBe(digestOf(launch));
  });

  test('differs with everything that goes into it', () => {
    const base = launchOf(AMD_SEV);
    const kernel = (changes: Partial<typeof PARTS>) => hashKernelParts({ ...PARTS, ...changes }, nodeCrypto);
    const variants: readonly SnpLaunch[] = [
      base,
      { ...base, vmm: 'ec2' },
      { ...base, vmm: 'gce' },
      { ...base, vcpus: 3 },
      { ...base, guestFeatures: 0x21n },
      { ...base, cpuSignature: signatureOfModel('EPYC-Genoa') },
      { ...base, kernel: undefined },
      { ...base, kernel: kernel({ kernel: Uint8Array.of(9) }) },
      { ...base, kernel: kernel({ initrd: Uint8Array.of(9) }) },
      { ...base, kernel: kernel({ cmdline: '' }) },
      launchOf({ ...AMD_SEV, reset: 0x80_b008 }),
      launchOf({ ...AMD_SEV, size: 12_288 }),
      launchOf({ ...AMD_SEV, hashTable: 0x81_0400 }),
    ];
    expect(new Set(variants.map(digestOf)).size).toBe(variants.length);
  });

  test('of EC2 and Google does not depend on the model of the processor', () => {
    for (const vmm of ['ec2', 'gce'] as const) {
      const launch = launchOf(AMD_SEV, { vmm });
      expect(digestOf({ ...launch, cpuSignature: 0 })).toBe(digestOf(launch));
    }
  });

  test('no command line and no initrd are empty ones', () => {
    const { kernel } = PARTS;
    expect(hashKernelParts({ kernel }, nodeCrypto)).toEqual(
      hashKernelParts({ kernel, initrd: new Uint8Array(0), cmdline: '' }, nodeCrypto),
    );
  });

  test.each([
    ['a kernel that the firmware has no section for', { ...AMD_SEV, sev: SECTIONS.slice(0, 4) }],
    ['a kernel that the firmware has no table for', { ...AMD_SEV, hashTable: 0 }],
  ])('refuses %s', (_name, firmware) => {
    expect(codeOf(() => digestOf(launchOf(firmware)))).toBe('KERNEL_HASHES_UNSUPPORTED');
  });

  test.each<[name: string, run: () => unknown, code: string]>([
    [
      'firmware without SEV metadata',
      () => digestOf(launchOf({ reset: 1 }, { kernel: undefined })),
      'FIRMWARE_MALFORMED',
    ],
    [
      'firmware without a reset address',
      () => digestOf(launchOf({ ...AMD_SEV, reset: undefined! })),
      'FIRMWARE_MALFORMED',
    ],
    ['no processor', () => digestOf(launchOf(AMD_SEV, { vcpus: 0 })), 'PROFILE_INVALID'],
    ['a million processors', () => digestOf(launchOf(AMD_SEV, { vcpus: 1e6 })), 'PROFILE_INVALID'],
    ['a seed of another length', () => new LaunchDigest(nodeCrypto, new Uint8Array(32)), 'PROFILE_INVALID'],
    ['an unknown processor', () => signatureOfModel('EPYC-Naples'), 'PROFILE_INVALID'],
    [
      'a hash table across two pages',
      () => kernelHashPage(hashKernelParts(PARTS, nodeCrypto), 0x81_0fff),
      'FIRMWARE_MALFORMED',
    ],
  ])('refuses %s', (_name, run, code) => {
    expect(codeOf(run)).toBe(code);
  });
});

test('signatures of processors', () => {
  expect(signatureOfModel('EPYC-v4')).toBe(0x80_0f12);
  expect(signatureOfModel('EPYC-Turin')).toBe(0xb0_0f00);
  expect(cpuSignature(14, 1, 2)).toBe(0xe12);
});

describe('SEV and SEV-ES', () => {
  const firmware = mintFirmware(AMD_SEV);
  const kernel = hashKernelParts(PARTS, nodeCrypto);
  const es = { vcpus: 1, cpuSignature: 0 };

  test('measure firmware, hashes of the kernel, and the states of processors', () => {
    const launches = [
      { firmware, kernel: undefined, es: undefined },
      { firmware, kernel, es: undefined },
      { firmware, kernel, es },
      { firmware, kernel, es: { ...es, vcpus: 2 } },
    ];
    const digests = launches.map((launch) => toHex(sevLaunchDigest(launch, nodeCrypto)));
    expect(digests[0]).toBe(toHex(nodeCrypto.hash('sha256', firmware)));
    expect(new Set(digests).size).toBe(launches.length);
  });

  test('refuse a kernel that the firmware does not check, and processors without a start', () => {
    const bare = mintFirmware({ sev: SECTIONS });
    expect(codeOf(() => sevLaunchDigest({ firmware: bare, kernel, es: undefined }, nodeCrypto))).toBe(
      'KERNEL_HASHES_UNSUPPORTED',
    );
    expect(codeOf(() => sevLaunchDigest({ firmware: bare, kernel: undefined, es }, nodeCrypto))).toBe(
      'FIRMWARE_MALFORMED',
    );
  });
});

test('an ID block has its fields in their places', () => {
  const block = encodeIdBlock({
    launchDigest: new Uint8Array(48).fill(1),
    familyId: new Uint8Array(16).fill(2),
    imageId: new Uint8Array(16).fill(3),
    guestSvn: 4,
    policy: 0x3_0000n,
  });
  const fields = [
    '01'.repeat(48),
    '02'.repeat(16),
    '03'.repeat(16),
    '01000000',
    '04000000',
    '0000030000000000',
  ];
  expect(toHex(block)).toBe(fields.join(''));
  expect(
    codeOf(() =>
      encodeIdBlock({
        launchDigest: new Uint8Array(47),
        familyId: block,
        imageId: block,
        guestSvn: 0,
        policy: 0n,
      }),
    ),
  ).toBe('PROFILE_INVALID');
});
