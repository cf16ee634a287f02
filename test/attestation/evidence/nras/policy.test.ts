import { describe, expect, test } from '@jest/globals';
import { toHex } from '../../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import {
  DEFAULT_NRAS_POLICY,
  nrasPolicyDigest,
  parseNrasPolicy,
} from '../../../../attestation/policy/nras.ts';
import { parsePolicy } from '../../../../attestation/policy/policy.ts';
import { refusalOf } from '../../../support/refusal.ts';

const digestOf = (policy: unknown) => toHex(nrasPolicyDigest(parseNrasPolicy(policy), nodeCrypto));

describe('the policy of NRAS answers', () => {
  test('is closed: every member is given and none is unknown', () => {
    expect(parseNrasPolicy(DEFAULT_NRAS_POLICY)).toEqual(DEFAULT_NRAS_POLICY);
    for (const member of Object.keys(DEFAULT_NRAS_POLICY)) {
      const rest = Object.fromEntries(
        Object.entries(DEFAULT_NRAS_POLICY).filter(([name]) => name !== member),
      );
      expect(refusalOf(() => parseNrasPolicy(rest))?.code).toBe('POLICY_INVALID');
    }
    const more = { ...DEFAULT_NRAS_POLICY, devices: 'none' };
    expect(refusalOf(() => parseNrasPolicy(more))?.code).toBe('POLICY_INVALID');
  });

  test('is no policy of evidence, nor the reverse', () => {
    expect(refusalOf(() => parsePolicy(DEFAULT_NRAS_POLICY))?.code).toBe('POLICY_INVALID');
  });

  test.each([
    { issuers: [] },
    { issuers: ['https://nras.attestation.nvidia.com'] },
    { issuers: ['production', 'production'] },
    { claimsVersions: ['1.0'] },
    { clockSkewSeconds: 301 },
    { clockSkewSeconds: -1 },
    { maximumAgeSeconds: 86_401 },
    { gpus: { minimum: 2, maximum: 1 } },
    { architectures: [] },
    { serials: [] },
    { serials: ['5'] },
    { minimumDriver: '550' + '.1'.repeat(4) },
    { firmware: ['96.00.9f.00.01'] },
    { warnings: true },
  ])('refuses %j', (changes) => {
    expect(refusalOf(() => parseNrasPolicy({ ...DEFAULT_NRAS_POLICY, ...changes }))?.code).toBe(
      'POLICY_INVALID',
    );
  });

  test('trusts production alone by default', () => {
    expect(DEFAULT_NRAS_POLICY.issuers).toEqual(['production']);
    expect(DEFAULT_NRAS_POLICY.warnings).toBe('refused');
  });

  test('has a digest that no order changes and every member does', () => {
    const reversed = Object.fromEntries(Object.entries(DEFAULT_NRAS_POLICY).toReversed());
    const genuine = digestOf(DEFAULT_NRAS_POLICY);
    expect(digestOf(reversed)).toBe(genuine);
    const changes = [
      { description: 'another' },
      { issuers: ['production', 'staging'] },
      { claimsVersions: ['3.0'] },
      { clockSkewSeconds: 0 },
      { maximumAgeSeconds: 'any' },
      { gpus: { minimum: 1, maximum: 64 } },
      { switches: { minimum: 0, maximum: 4 } },
      { architectures: ['hopper'] },
      { serials: ['53'] },
      { minimumDriver: '550.90.07' },
      { firmware: ['96.00.9F.00.01'] },
      { warnings: 'accepted' },
    ];
    const digests = changes.map((change) => digestOf({ ...DEFAULT_NRAS_POLICY, ...change }));
    expect(new Set([genuine, ...digests]).size).toBe(changes.length + 1);
    expect(digestOf({ ...DEFAULT_NRAS_POLICY, clockSkewSeconds: -0 })).toBe(
      digestOf({ ...DEFAULT_NRAS_POLICY, clockSkewSeconds: 0 }),
    );
  });
});
