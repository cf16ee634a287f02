import { describe, expect, test } from '@jest/globals';
import { z } from 'zod';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { DEFAULT_POLICY, SIMULATED_POLICY } from '../../../attestation/policy/defaults.ts';
import { policyDigest } from '../../../attestation/policy/digest.ts';
import { parsePolicy } from '../../../attestation/policy/policy.ts';
import { snpPolicySchema, type SnpPolicy } from '../../../attestation/policy/snp.ts';
import { refusalOf } from '../../support/refusal.ts';
import { LAX_SNP_POLICY } from '../../support/snpPolicy.ts';

const FLOOR = { product: 'genoa', cpuid: 'any', bootloader: 10, tee: 0, snp: 27, microcode: 84 } as const;
const FIRMWARE = { product: 'genoa', major: 1, minor: 55, build: 40 } as const;
const KEY = { name: 'release key', value: 'ab'.repeat(48) };
const BLOCK = { idKeyDigests: [KEY], authorKeyDigests: 'any' } as const;

/** What is wrong with a policy that is loose but for these members, as `member: message`. */
function problemsOf(members: Record<string, unknown>): readonly string[] {
  const result = snpPolicySchema.safeParse({ ...LAX_SNP_POLICY, ...members });
  return (result.error?.issues ?? []).map(({ path, message }) => `${path.join('.')}: ${message}`);
}

describe('policy for SNP', () => {
  test('the published policies and the loosest one are valid', () => {
    expect(parsePolicy(DEFAULT_POLICY)).toEqual(DEFAULT_POLICY);
    expect(parsePolicy(SIMULATED_POLICY)).toEqual(SIMULATED_POLICY);
    expect(snpPolicySchema.parse(LAX_SNP_POLICY)).toEqual(LAX_SNP_POLICY);
  });

  test.each(Object.keys(LAX_SNP_POLICY))('%s may not be left out', (member) => {
    const rest = Object.fromEntries(Object.entries(LAX_SNP_POLICY).filter(([name]) => name !== member));
    const issues = snpPolicySchema.safeParse(rest).error?.issues ?? [];
    expect(issues.map(({ path }) => path)).toEqual([[member]]);
    const policy = { ...DEFAULT_POLICY, cpu: { ...DEFAULT_POLICY.cpu, snp: rest } };
    expect(refusalOf(() => parsePolicy(policy))?.code).toBe('POLICY_INVALID');
  });

  test.each<[string, Record<string, unknown>]>([
    ['an unknown member', { smtt: 'accepted' }],
    ['an unknown member of the platform', { platformInfo: { ...LAX_SNP_POLICY.platformInfo, sme: 'any' } }],
    ['a platform member left out', { platformInfo: { smt: 'any' } }],
    ['a word of another member', { rapl: 'required' }],
    ['a level left out', { minimumTcb: { reported: 'any', committed: 'any' } }],
    [
      'one minimum where a list is expected',
      { minimumTcb: { ...LAX_SNP_POLICY.minimumTcb, reported: FLOOR } },
    ],
    ['no minimums', { minimumTcb: { ...LAX_SNP_POLICY.minimumTcb, launch: [] } }],
    ['FMC on Genoa', { minimumTcb: { ...LAX_SNP_POLICY.minimumTcb, launch: [{ ...FLOOR, fmc: 0 }] } }],
    [
      'no FMC on Turin',
      { minimumTcb: { ...LAX_SNP_POLICY.minimumTcb, launch: [{ ...FLOOR, product: 'turin' }] } },
    ],
    ['a version above 255', { minimumFirmware: [{ ...FIRMWARE, build: 256 }] }],
    ['two versions for one product', { minimumFirmware: [FIRMWARE, { ...FIRMWARE, build: 41 }] }],
    ['mitigation bit 64', { requiredMitigations: { launch: [64], current: 'any' } }],
    ['no mitigation bits', { requiredMitigations: { launch: [], current: 'any' } }],
    ['an id of another length', { hostData: [{ name: 'n', value: 'ab' }] }],
    ['an id in capitals', { hostData: [{ name: 'n', value: 'AB'.repeat(32) }] }],
    ['a value without a name', { hostData: ['ab'.repeat(32)] }],
    ['a nameless value', { hostData: [{ name: '', value: 'ab'.repeat(32) }] }],
    ['no migration agents in a list', { migrationAgents: [] }],
    ['providers twice', { cspIds: ['CN=a', 'CN=a'] }],
    ['no providers', { cspIds: [] }],
    ['a guest SVN above 32 bits', { idBlock: BLOCK, minimumGuestSvn: 2 ** 32 }],
    ['an ID block by anyone', { idBlock: { idKeyDigests: 'any', authorKeyDigests: 'any' } }],
  ])('refuses %s', (_what, members) => {
    expect(problemsOf(members)).not.toEqual([]);
  });

  test('takes every member in its strict form', () => {
    const strict: Partial<SnpPolicy> = {
      cspIds: ['CN=cloud.example'],
      migrationAgents: [{ name: 'agent', value: 'cd'.repeat(32) }],
      minimumAbi: { major: 1, minor: 55 },
      minimumTcb: {
        reported: [FLOOR, { ...FLOOR, cpuid: { model: 0xa0, stepping: 2 }, microcode: 25 }],
        committed: [{ ...FLOOR, product: 'turin', fmc: 1 }],
        launch: [{ ...FLOOR, product: 'milan' }],
      },
      minimumFirmware: [FIRMWARE, { ...FIRMWARE, product: 'turin', build: 65 }],
      requiredMitigations: { launch: [0, 1, 3], current: [63] },
      hostData: [],
      idBlock: { idKeyDigests: [KEY], authorKeyDigests: [KEY] },
      familyIds: [{ name: 'family', value: '01'.repeat(16) }],
      imageIds: [],
      minimumGuestSvn: 0xffffffff,
    };
    expect(problemsOf(strict)).toEqual([]);
  });

  test.each<[string, Record<string, unknown>]>([
    ['familyIds', { familyIds: [] }],
    ['imageIds', { imageIds: [] }],
    ['minimumGuestSvn', { minimumGuestSvn: 0 }],
  ])('%s means nothing without the keys that sign it', (member, members) => {
    expect(problemsOf(members)).toEqual([expect.stringMatching(`^${member}: .*name the keys in idBlock`)]);
    expect(problemsOf({ ...members, idBlock: BLOCK })).toEqual([]);
  });

  test('nothing could meet a list of chips and one of providers', () => {
    const chipIds = ['ab'.repeat(64)];
    expect(problemsOf({ chipIds, cspIds: ['CN=a'] })).toEqual([expect.stringMatching(/^cspIds: /)]);
    expect(problemsOf({ chipIds })).toEqual([]);
  });

  test('has a JSON Schema with every member required, and a digest', () => {
    const schema = z.toJSONSchema(snpPolicySchema);
    expect(schema.required?.toSorted()).toEqual(Object.keys(LAX_SNP_POLICY).sort());
    expect(schema.additionalProperties).toBe(false);
    const strict = { ...LAX_SNP_POLICY, minimumTcb: { ...LAX_SNP_POLICY.minimumTcb, reported: [FLOOR] } };
    const digests = [LAX_SNP_POLICY, strict].map((snp) =>
      policyDigest({ ...DEFAULT_POLICY, cpu: { ...DEFAULT_POLICY.cpu, snp } }, nodeCrypto).join(),
    );
    expect(new Set(digests).size).toBe(2);
  });
});
