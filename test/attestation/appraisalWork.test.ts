import { beforeAll, describe, expect, test } from '@jest/globals';
import { appraiseBundle, appraiseEvidence } from '../../attestation/appraise.ts';
import { parseBundle } from '../../attestation/bundle/bundle.ts';
import { concat, toHex } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import type { CryptoProvider } from '../../attestation/crypto/provider.ts';
import type { AppraisalContext } from '../../attestation/evidence/context.ts';
import { createChainCache } from '../../attestation/x509/chainCache.ts';
import { contextOf, issueBundle, makeWorld, type World } from '../support/world.ts';

/** What a provider was asked for: reads of public keys by key, and signatures that were checked, by all of the input. */
interface Work {
  readonly crypto: CryptoProvider;
  readonly keys: readonly string[];
  readonly signatures: readonly string[];
}

/** A provider that reads a key for each signature, and once for each key where it may remember for one verification. */
function countingCrypto(): Work {
  const keys: string[] = [];
  const signatures: string[] = [];
  const provider = (remembered: Set<string> | undefined): CryptoProvider => ({
    ...nodeCrypto,
    forOneVerification: remembered ? undefined : () => provider(new Set()),
    verify(scheme, spki, data, signature) {
      const key = toHex(spki);
      if (!remembered?.has(key)) keys.push(key);
      remembered?.add(key);
      signatures.push(toHex(nodeCrypto.hash('sha256', concat(spki, data, signature))));
      return nodeCrypto.verify(scheme, spki, data, signature);
    },
  });
  return { crypto: provider(undefined), keys, signatures };
}

const distinct = (items: readonly string[]) => new Set(items).size;

describe('one appraisal of hardware that is simulated', () => {
  let world: World;
  let bundle: Uint8Array;

  beforeAll(async () => {
    world = await makeWorld();
    ({ bundle } = await issueBundle(world));
  });

  async function workOn(changes: Partial<AppraisalContext> = {}): Promise<Work> {
    const work = countingCrypto();
    const { verdict } = await appraiseBundle(bundle, {}, contextOf({ crypto: work.crypto, ...changes }));
    expect(verdict.decision).toBe('accepted');
    return work;
  }

  test('reads each public key once, for the two documents of a bundle, their devices and their manifests', async () => {
    const { keys } = await workOn();
    expect(keys.length).toBe(distinct(keys));
    expect(keys.length).toBeLessThan(16);
  });

  test('reads each public key once for one live document', async () => {
    const { crypto, keys } = countingCrypto();
    await appraiseEvidence(parseBundle(bundle).cited, undefined, contextOf({ crypto }));
    expect(keys.length).toBeGreaterThan(0);
    expect(keys.length).toBe(distinct(keys));
  });

  test('checks no signature of a certificate twice: the list of the CPU vendor alone is looked at anew', async () => {
    const { signatures } = await workOn();
    expect(signatures.length - distinct(signatures)).toBeLessThanOrEqual(1);
  });

  test('checks no certificate of a device, of a manifest or of the CPU that the caller remembers', async () => {
    const chainCache = createChainCache(64);
    const first = await workOn({ chainCache });
    const second = await workOn({ chainCache });
    const remembered = chainCache.size;
    expect(remembered).toBeGreaterThan(0);
    expect(first.signatures.length - second.signatures.length).toBe(remembered);
  });
});
