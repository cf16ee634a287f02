import { describe, expect, test } from '@jest/globals';
import { DEFAULT_ANCHORS } from '../../../attestation/defaultAnchors.ts';
import { SIMULATED_POLICY } from '../../../attestation/policy/defaults.ts';
import { ConfigError } from '../../../src/config/errors.ts';
import { readSelfCheckPolicy, selfCheckAnchors } from '../../../src/config/selfCheck.ts';
import { testConfig } from '../../support/service.ts';

const DIGEST = '0123456789abcdef'.repeat(4);
const SIMULATED = DEFAULT_ANCHORS.find(({ simulated }) => simulated)!;
const PUBLISHED = DEFAULT_ANCHORS.find(({ role }) => role === 'intel-sgx-root')!;

describe('selfCheck.anchors', () => {
  test('is empty by default: the published ones count', () => {
    expect(selfCheckAnchors(testConfig().selfCheck)).toEqual(DEFAULT_ANCHORS);
  });

  test('adds what the operator names, which is not simulated', () => {
    const anchors = [`tpm:${DIGEST.toUpperCase()}`, `amd-ark/genoa:${DIGEST}`];
    const { selfCheck } = testConfig({ selfCheck: { anchors } });
    expect(selfCheckAnchors(selfCheck).slice(DEFAULT_ANCHORS.length)).toMatchObject([
      { role: 'tpm', spkiSha256: DIGEST, simulated: false },
      { role: 'amd-ark', product: 'genoa', spkiSha256: DIGEST, simulated: false },
    ]);
  });

  test.each([
    ['no role', DIGEST],
    ['an unknown role', `root:${DIGEST}`],
    ['AMD without a product', `amd-ark:${DIGEST}`],
    ['a digest that is too short', `tpm:${DIGEST.slice(2)}`],
    ['a root of simulated hardware under another role', `tpm:${SIMULATED.spkiSha256}`],
    ['a root that is trusted anyway', `${PUBLISHED.role}:${PUBLISHED.spkiSha256}`],
  ])('refuses %s', (_, anchor) => {
    expect(() => testConfig({ selfCheck: { anchors: [anchor] } })).toThrow(ConfigError);
  });
});

describe('selfCheck.policy', () => {
  test('stands in the configuration itself, where it is the only file', async () => {
    const { selfCheck } = testConfig({ selfCheck: { policy: { ...SIMULATED_POLICY } } });
    expect(await readSelfCheckPolicy(selfCheck)).toEqual(SIMULATED_POLICY);
    expect(await readSelfCheckPolicy(testConfig().selfCheck)).toBeUndefined();
  });

  test('is refused where it is none', async () => {
    const { selfCheck } = testConfig({ selfCheck: { policy: { ...SIMULATED_POLICY, nonce: 'never' } } });
    await expect(readSelfCheckPolicy(selfCheck)).rejects.toMatchObject({ code: 'CONFIG_INVALID' });
  });
});
