import { describe, expect, test } from '@jest/globals';
import { NO_COLLATERAL, type Collateral } from '../../../attestation/collateral.ts';
import { createNodeCrypto, nodeCrypto } from '../../../attestation/crypto/node.ts';
import { DEFAULT_ANCHORS } from '../../../attestation/defaultAnchors.ts';
import type { AppraisalContext } from '../../../attestation/evidence/context.ts';
import { SIMULATED_POLICY } from '../../../attestation/policy/defaults.ts';
import { verifiedBefore, VerifiedBefore } from '../../../src/client/verifiedBefore.ts';

const NOW = 1_800_000_000_000;
const supplied: Collateral = { ...NO_COLLATERAL };
const source = { supplied, own: undefined, anchors: DEFAULT_ANCHORS };

function at(now: number): AppraisalContext {
  return {
    policy: SIMULATED_POLICY,
    anchors: DEFAULT_ANCHORS,
    collateral: supplied,
    crypto: nodeCrypto,
    now,
  };
}

describe('manifests that were verified before', () => {
  test('serve again for minutes', () => {
    const before = new VerifiedBefore();
    const library = before.manifests(source, at(NOW));
    expect(before.manifests({ ...source }, at(NOW))).toBe(library);
    expect(before.manifests(source, at(NOW + 299_999))).toBe(library);
  });

  test.each<[string, typeof source | { readonly own: Collateral }, number]>([
    ['other collateral', { ...source, supplied: { ...NO_COLLATERAL } }, NOW],
    ['collateral of the caller', { ...source, own: NO_COLLATERAL }, NOW],
    ['other anchors', { ...source, anchors: [...DEFAULT_ANCHORS] }, NOW],
    ['later', source, NOW + 300_000],
    ['a clock that went back', source, NOW - 1],
  ])('do not serve for %s', (_name, other, now) => {
    const before = new VerifiedBefore();
    const library = before.manifests(source, at(NOW));
    expect(before.manifests({ ...source, ...other }, at(now))).not.toBe(library);
  });

  test('are forgotten where something failed that says nothing of them', () => {
    const before = new VerifiedBefore();
    const library = before.manifests(source, at(NOW));
    before.forgetManifests();
    expect(before.manifests(source, at(NOW))).not.toBe(library);
  });

  test('are believed of one cryptography alone', () => {
    expect(verifiedBefore(nodeCrypto)).toBe(verifiedBefore(nodeCrypto));
    expect(verifiedBefore(createNodeCrypto(8))).not.toBe(verifiedBefore(nodeCrypto));
  });
});
