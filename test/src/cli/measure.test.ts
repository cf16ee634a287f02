import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { toHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { SIMULATED_POLICY } from '../../../attestation/policy/defaults.ts';
import { parsePolicy } from '../../../attestation/policy/policy.ts';
import { predictPcrs } from '../../../enclave/predict/boot/pcrs.ts';
import { measureUki } from '../../../enclave/predict/boot/uki.ts';
import type { PolicyPart, Prediction } from '../../../enclave/predict/referenceValues.ts';
import { signatureOfModel } from '../../../enclave/predict/snp/cpuModels.ts';
import { hashKernelParts } from '../../../enclave/predict/snp/kernelHashes.ts';
import { measureFirmware, snpLaunchDigest } from '../../../enclave/predict/snp/launchDigest.ts';
import { predictMrtd } from '../../../enclave/predict/tdx/mrtd.ts';
import { mintFirmware, mintPe, SEV_AND_TDX } from '../../support/mintedFirmware.ts';
import { vouchsafe } from './program.ts';

const FIRMWARE = mintFirmware(SEV_AND_TDX);
const KERNEL = mintPe({ sections: [{ name: '.text', data: utf8('no code') }] });
const INITRD = Uint8Array.of(1, 2, 3);
const UKI = mintPe({
  sections: [
    { name: '.linux', data: KERNEL },
    { name: '.cmdline', data: utf8('quiet') },
    { name: '.initrd', data: INITRD },
  ],
});

let folder: string;
const file = (name: string): string => join(folder, name);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'vouchsafe-cli-measure-'));
  const files = { 'fw.fd': FIRMWARE, kernel: KERNEL, initrd: INITRD, 'image.efi': UKI };
  await Promise.all(Object.entries(files).map(([name, bytes]) => writeFile(file(name), bytes)));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

type Printed = Prediction & { readonly policy: PolicyPart };

async function measure(...args: readonly string[]): Promise<Printed> {
  const { code, stdout, stderr } = await vouchsafe(['measure', ...args, '--json']);
  expect([code, stderr]).toEqual([0, '']);
  return JSON.parse(stdout) as Printed;
}

const valuesOf = ({ values }: Prediction) =>
  Object.fromEntries(values.map(({ member, value }) => [member, value]));

describe('vouchsafe measure', () => {
  test('snp: the digest of firmware, kernel and profile, in the form of a policy', async () => {
    const parts = ['--firmware', file('fw.fd'), '--kernel', file('kernel'), '--initrd', file('initrd')];
    const printed = await measure(
      'snp',
      ...parts,
      '--cmdline',
      'quiet',
      '--vcpus',
      '2',
      '--cpu',
      'EPYC-Milan',
    );
    const digest = snpLaunchDigest(
      {
        vmm: 'qemu',
        vcpus: 2,
        guestFeatures: 1n,
        cpuSignature: signatureOfModel('EPYC-Milan'),
        firmware: measureFirmware(FIRMWARE, nodeCrypto),
        kernel: hashKernelParts({ kernel: KERNEL, initrd: INITRD, cmdline: 'quiet' }, nodeCrypto),
      },
      nodeCrypto,
    );
    expect(valuesOf(printed)).toEqual({ 'snp.measurements': toHex(digest) });
    expect(printed.unpredicted).toEqual([]);
    expect(printed.policy).toEqual({
      snp: { measurements: [{ name: 'predicted', value: toHex(digest) }] },
    });
  });

  test('tdx: MRTD in the order of the host, and the registers of the image', async () => {
    const args = ['--firmware', file('fw.fd'), '--uki', file('image.efi')];
    const [one, two] = [
      await measure('tdx', ...args),
      await measure('tdx', ...args, '--page-order', 'two-pass'),
    ];
    expect(valuesOf(one)['tdx.mrTd']).toBe(toHex(predictMrtd(FIRMWARE, 'one-pass', nodeCrypto)));
    expect(valuesOf(two)['tdx.mrTd']).toBe(toHex(predictMrtd(FIRMWARE, 'two-pass', nodeCrypto)));
    expect(Object.keys(valuesOf(one))).toEqual(['tdx.mrTd', 'tdx.rtmr1', 'tdx.rtmr2']);
    expect(one.unpredicted.map(({ what }) => what)).toEqual(['RTMR0', 'RTMR3']);
  });

  test('boot: values that a policy takes as they are', async () => {
    const { policy } = await measure('boot', '--uki', file('image.efi'), '--name', 'release 1');
    const uki = measureUki(UKI, 'systemd-254', 'sha256', nodeCrypto);
    const pcrs = predictPcrs({ kind: 'uki', uki }, 'sha256', nodeCrypto);
    const values = Object.fromEntries(
      [...pcrs].map(([pcr, value]) => [pcr, [{ name: 'release 1', value: toHex(value) }]]),
    );
    expect(policy).toEqual({ tpm: { pcrs: { bank: 'sha256', values } } });
    const tpm = {
      attestationKeys: 'any',
      googleProjects: 'any',
      minimumFirmware: 'any',
      clock: 'any',
      revocation: 'when-present',
      ...(policy['tpm'] as object),
    };
    const { cpu } = SIMULATED_POLICY;
    expect(parsePolicy({ ...SIMULATED_POLICY, cpu: { ...cpu, tpm } }).cpu.tpm).toEqual(tpm);
  });

  test('says what no image says, and where the values come from', async () => {
    const { code, stdout, stderr } = await vouchsafe(['measure', 'boot', '--uki', file('image.efi')]);
    expect(code).toBe(0);
    expect(stdout).toContain('tpm.pcrs.sha256.11');
    expect(stderr).toMatch(/PCR 0[^]*PCR 1[^]*PCR 7/);
  });

  test.each<[name: string, args: () => readonly string[], exit: number]>([
    [
      'a kernel that firmware would not check',
      () => ['snp', '--firmware', file('image.efi'), '--vcpus', '1', '--cpu', 'EPYC'],
      2,
    ],
    ['no model of processor under QEMU', () => ['snp', '--firmware', file('fw.fd'), '--vcpus', '1'], 64],
    ['nothing that boots', () => ['boot'], 64],
    ['an image that is none', () => ['boot', '--uki', file('initrd')], 2],
    ['a file that is not there', () => ['boot', '--uki', file('missing')], 4],
    [
      'a rewritten kernel without the size of memory',
      () => ['boot', '--kernel', file('kernel'), '--initrd', file('initrd'), '--rewritten-kernel'],
      64,
    ],
  ])('%s: an exit code that says what is wrong', async (_name, args, exit) => {
    const { code, stderr } = await vouchsafe(['measure', ...args()]);
    expect([code, stderr]).toEqual([exit, expect.stringMatching(/\S/)]);
  });
});
