import { beforeAll, describe, expect, test } from '@jest/globals';
import { fromHex, toHex } from '../../../../attestation/bytes/bytes.ts';
import { DEFAULT_POLICY } from '../../../../attestation/policy/defaults.ts';
import { parsePolicy, type Policy } from '../../../../attestation/policy/policy.ts';
import { ImageError } from '../../../../enclave/image/errors.ts';
import { type ImageManifest, manifestDigest } from '../../../../enclave/image/release/manifest.ts';
import { IMAGE_PCRS, policyOf, type PolicyRequest } from '../../../../enclave/image/release/policyOf.ts';
import type { Release, Releases } from '../../../../enclave/image/release/releases.ts';
import { judgeDocument, mintDocument } from '../../../support/evidenceDocument.ts';
import { mintTpm, pcrsOf, quotePcrs, type TpmMachine } from '../../../support/platforms.ts';
import { errorOf } from '../../../support/refusal.ts';
import { failures } from '../../../support/world.ts';
import { mintImage } from './mintedImage.ts';

const NOW = Date.parse('2026-06-01T00:00:00Z');
let [first, second]: ImageManifest[] = [];
let machine: TpmMachine;

beforeAll(async () => {
  machine = await mintTpm('tpm');
  first = (await mintImage()).manifest;
  second = (await mintImage({ name: 'vouchsafe-1.1.0', program: 'newer', nodeVersion: '24.1.0' })).manifest;
});

function request(changes: Partial<PolicyRequest> = {}): PolicyRequest {
  return {
    manifests: [first!, second!],
    platform: 'tpm',
    base: DEFAULT_POLICY,
    boots: ['disk'],
    bank: 'sha256',
    devices: 'none',
    ...changes,
  };
}

function valuesOf({ predictions }: ImageManifest): ReadonlyMap<number, string> {
  const [prediction] = predictions;
  return new Map(prediction!.values.map(({ member, value }) => [Number(member.split('.').at(-1)), value]));
}

/** Judges a machine whose registers are those of an image, with changes. */
async function judge(
  policy: Policy,
  manifest: ImageManifest,
  changes: Readonly<Record<number, string>> = {},
) {
  const document = await mintDocument(async (reportData) => {
    const values = new Map(pcrsOf('sha256'));
    for (const [pcr, value] of valuesOf(manifest)) values.set(pcr, fromHex(value));
    for (const [pcr, value] of Object.entries(changes)) values.set(Number(pcr), fromHex(value));
    const { keys, certificates } = machine;
    return { platform: 'tpm', tpm: await quotePcrs(keys, reportData, { certificates, values }) };
  });
  return judgeDocument(document, machine, { policy });
}

function statement(changes: readonly Partial<Release>[]): Releases {
  return {
    version: 'vouchsafe/image-releases/1',
    sequence: 1,
    issued: '2026-05-01T00:00:00Z',
    nextUpdate: '2026-07-01T00:00:00Z',
    releases: [first!, second!].map((manifest, index) => ({
      name: manifest.release.name,
      manifest: toHex(manifestDigest(manifest)),
      validFrom: '2026-01-01T00:00:00Z',
      validUntil: '2027-01-01T00:00:00Z',
      withdrawn: null,
      ...changes[index],
    })),
  };
}

const refusal = (changes: Partial<PolicyRequest>) =>
  errorOf(ImageError, () => policyOf(request(changes)))?.code ?? 'made';

describe('the policy of images on a TPM', () => {
  test('is complete, and accepts each of them by the verifier of clients', async () => {
    const { policy } = policyOf(request());
    expect(parsePolicy(JSON.parse(JSON.stringify(policy)))).toEqual(policy);
    for (const manifest of [first!, second!]) {
      const verdict = await judge(policy, manifest);
      expect([verdict.decision, failures(verdict)]).toEqual(['accepted', []]);
    }
  });

  test('says that a TPM protects no memory', () => {
    expect(policyOf(request()).policy.description).toMatch(/protects no memory/);
  });

  test.each(IMAGE_PCRS)('refuses another value of PCR %i', async (pcr) => {
    const verdict = await judge(policyOf(request()).policy, first!, { [pcr]: 'ee'.repeat(32) });
    expect(verdict.decision).toBe('refused');
    expect(failures(verdict)).toEqual([expect.stringContaining('cpu.measurement')]);
  });

  test('accepts no other platform', () => {
    const { cpu } = policyOf(request()).policy;
    const others = Object.entries(cpu).filter(([name]) => name !== 'tpm' && name !== 'bootLog');
    expect(new Set(others.map(([, said]) => said))).toEqual(new Set(['refused']));
  });

  test('names each value by its releases, and the same value once', () => {
    const { cpu } = policyOf(request()).policy;
    if (cpu.tpm === 'refused' || cpu.tpm.pcrs === 'any') throw new Error('the TPM is not named');
    const { values } = cpu.tpm.pcrs;
    expect(values['4']!.map(({ name }) => name)).toEqual([
      'vouchsafe-1.0.0 tpm sha256 disk',
      'vouchsafe-1.1.0 tpm sha256 disk',
    ]);
    expect(values['12']).toEqual([
      { name: 'vouchsafe-1.0.0 tpm sha256 disk, vouchsafe-1.1.0 tpm sha256 disk', value: '00'.repeat(32) },
    ]);
  });

  test('takes keys and registers of the platform from the caller, and says which registers are not compared', () => {
    const platformPcrs = { 7: [{ name: 'secure boot', value: '11'.repeat(32) }] };
    const { policy, notes } = policyOf(request({ attestationKeys: ['22'.repeat(32)], platformPcrs }));
    expect(policy.cpu.tpm).toMatchObject({
      attestationKeys: ['22'.repeat(32)],
      pcrs: { values: platformPcrs },
    });
    expect(notes).toEqual([expect.stringContaining('PCR 0, 1 ')]);
  });

  test('names the models of the image where their manifests are known', async () => {
    const modelManifest = '33'.repeat(32);
    const { manifest } = await mintImage({ models: 'weights', modelManifest });
    const { models } = policyOf(request({ manifests: [manifest] })).policy;
    expect(models).toEqual([{ name: 'vouchsafe-1.0.0 tiny', value: modelManifest }]);
    expect(policyOf(request()).policy.models).toBe('any');
  });
});

describe('releases', () => {
  const releasesWith = (changes: readonly Partial<Release>[]): Pick<PolicyRequest, 'releases'> => ({
    releases: { statement: statement(changes), now: NOW },
  });
  const withdrawn = { since: '2026-05-01T00:00:00Z', reason: 'a hole in node' };

  test.each<[what: string, change: Partial<Release>]>([
    ['withdrawn', { withdrawn }],
    ['expired', { validUntil: '2026-06-01T00:00:00Z' }],
    ['yet to come', { validFrom: '2026-06-01T00:00:01Z' }],
    ['of another digest', { manifest: '00'.repeat(32) }],
    ['of another name', { name: 'vouchsafe-0.9.0' }],
  ])('one that is %s is left out, with a note, and refused by the verifier', async (_what, change) => {
    const { policy, notes } = policyOf(request(releasesWith([change])));
    expect(notes[0]).toMatch(/^vouchsafe-1\.0\.0 is left out: /);
    expect((await judge(policy, first!)).decision).toBe('refused');
    expect((await judge(policy, second!)).decision).toBe('accepted');
  });

  test('the policy says until when it is good: the first end of a release, or of the statement', () => {
    expect(policyOf(request(releasesWith([]))).policy.description).toContain('2026-07-01T00:00:00Z');
    const sooner = releasesWith([{ validUntil: '2026-06-15T00:00:00Z' }]);
    expect(policyOf(request(sooner)).policy.description).toContain('2026-06-15T00:00:00Z');
  });

  test('without any that is left there is no policy', () => {
    expect(refusal(releasesWith([{ withdrawn }, { withdrawn }]))).toBe('IMAGE_REFERENCE_REFUSED');
  });

  test('one that measures the same as an accepted release is not withdrawn by leaving it out', async () => {
    const same = (await mintImage({ name: 'vouchsafe-1.0.1' })).manifest;
    const manifests = [first!, same];
    const both = statement([{ withdrawn }]);
    const releases = {
      now: NOW,
      statement: {
        ...both,
        releases: [
          both.releases[0]!,
          { ...both.releases[1]!, name: 'vouchsafe-1.0.1', manifest: toHex(manifestDigest(same)) },
        ],
      },
    };
    expect(refusal({ manifests, releases })).toBe('IMAGE_REFERENCE_REFUSED');
  });
});

describe('other platforms', () => {
  test('an image without values for them gives no policy that would accept any image', () => {
    expect(refusal({ platform: 'snp', boots: ['direct'] })).toBe('IMAGE_REFERENCE_MISSING');
    expect(refusal({ platform: 'tdx' })).toBe('IMAGE_REFERENCE_MISSING');
    expect(refusal({ boots: ['direct'], bank: 'sha384' })).toBe('IMAGE_REFERENCE_MISSING');
  });

  test('TDX takes the firmware of the caller’s own policy beside the registers of the image', () => {
    const mrTd = [{ name: 'firmware of the cloud', value: '44'.repeat(48) }];
    const { tdx } = DEFAULT_POLICY.cpu;
    if (tdx === 'refused') throw new Error('the default names TDX');
    const base = { ...DEFAULT_POLICY, cpu: { ...DEFAULT_POLICY.cpu, tdx: { ...tdx, mrTd } } };
    const { policy, notes } = policyOf(request({ platform: 'tdx', base }));
    if (policy.cpu.tdx === 'refused') throw new Error('TDX is refused');
    expect(policy.cpu.tdx.mrTd).toEqual(mrTd);
    expect([policy.cpu.tdx.rtmr1.length, policy.cpu.tdx.rtmr2.length]).toEqual([2, 2]);
    expect(notes.some((note) => note.startsWith('RTMR0'))).toBe(true);
  });

  test.each(['gcp-vtpm', 'azure-snp', 'azure-tdx'] as const)(
    '%s has the registers in its virtual TPM',
    (platform) => {
      const { cpu } = policyOf(request({ platform })).policy;
      const own = cpu[platform];
      if (own === 'refused') throw new Error('it is refused');
      const tpm = 'tpm' in own ? own.tpm : own;
      if (!('pcrs' in tpm) || tpm.pcrs === 'any') throw new Error('no registers are named');
      expect(Object.keys(tpm.pcrs.values)).toEqual(IMAGE_PCRS.map(String));
      expect(cpu.tpm).toBe('refused');
    },
  );
});
