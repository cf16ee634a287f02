import { generateKeyPairSync } from 'node:crypto';
import { beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import type { CryptoProvider } from '../../../attestation/crypto/provider.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { verifySnp } from '../../../attestation/evidence/snp/verify.ts';
import { parseCertificate, type Certificate } from '../../../attestation/x509/certificate.ts';
import { verifyChain, type ChainOptions } from '../../../attestation/x509/chain.ts';
import { createChainCache, type ChainCache } from '../../../attestation/x509/chainCache.ts';
import { sequence } from '../../../enclave/collect/simulated/der.ts';
import { refusalOfAsync } from '../../support/refusal.ts';
import { propertyRuns } from '../../support/runs.ts';
import {
  generateChipKeys,
  genoaReport,
  mintAuthority,
  NOW as SNP_NOW,
  signReport,
} from '../../support/snpAuthority.ts';
import { extension } from './encodedCertificate.ts';
import {
  countingCrypto,
  issueChain,
  NOT_AFTER,
  NOT_BEFORE,
  NOW,
  parsedChain,
  STRANGER,
} from './issuedChain.ts';

function setUp(limit = 16) {
  const { crypto, verified } = countingCrypto();
  const chainCache = createChainCache(limit);
  const verify = (chain: readonly Certificate[], changed: Partial<ChainOptions> = {}) =>
    verifyChain(chain, { crypto, now: NOW, chainCache, ...changed });
  const codeOf = async (...question: Parameters<typeof verify>) =>
    (await refusalOfAsync(() => verify(...question)))?.code;
  return { chainCache, verified, verify, codeOf };
}

describe('verifyChain with a cache', () => {
  test('checks each signature once', async () => {
    const { chainCache, verified, verify } = setUp();
    const encoded = issueChain();
    for (let i = 0; i < 3; i++) await verify(encoded.map(parseCertificate));
    expect([verified(), chainCache.size]).toEqual([3, 3]);
  });

  test('checks only what is new of a chain under authorities that it knows', async () => {
    const { verified, verify } = setUp();
    const [leaf, intermediate, root] = parsedChain();
    const [other] = parsedChain({ leaf: { serial: Uint8Array.of(99) } });
    await verify([leaf!, intermediate!, root!]);
    await verify([other!, intermediate!, root!]);
    expect(verified()).toBe(4);
  });

  test('without one checks every time', async () => {
    const { verified, verify } = setUp();
    const chain = parsedChain();
    await verify(chain, { chainCache: undefined });
    await verify(chain, { chainCache: undefined });
    expect(verified()).toBe(6);
  });

  test('judges the time anew', async () => {
    const { verified, verify, codeOf } = setUp();
    const chain = parsedChain();
    await verify(chain);
    expect(await codeOf(chain, { now: NOT_AFTER + 1 })).toBe('CERT_EXPIRED');
    expect(await codeOf(chain, { now: NOT_BEFORE - 1 })).toBe('CERT_EXPIRED');
    expect(await codeOf(chain, { now: NOT_AFTER })).toBeUndefined();
    expect(verified()).toBe(3);
  });

  test('judges constraints and critical extensions anew', async () => {
    const { verify, codeOf } = setUp();
    const [leaf, intermediate, root] = parsedChain({
      leaf: { extensions: [extension('1.2.3', sequence(), 0xff)] },
    });
    await verify([leaf!, intermediate!, root!], { processedExtensions: ['1.2.3'] });
    expect(await codeOf([leaf!, intermediate!, root!])).toBe('CERT_CHAIN_INVALID');
    const processedExtensions = ['1.2.3'];
    expect(await codeOf([leaf!, { ...intermediate!, isCa: false }, root!], { processedExtensions })).toBe(
      'CERT_CHAIN_INVALID',
    );
  });

  test('a chain with any byte altered is no hit', async () => {
    const { verify, codeOf } = setUp();
    const encoded = issueChain();
    await verify(encoded.map(parseCertificate));
    const change = fc.tuple(fc.nat(2), fc.nat(), fc.integer({ min: 1, max: 255 }));
    await fc.assert(
      fc.asyncProperty(change, async ([which, position, mask]) => {
        const forged = encoded.map((der) => der.slice());
        const der = forged[which]!;
        const offset = position % der.length;
        der[offset] = der[offset]! ^ mask;
        const chain = parsedOrUndefined(forged);
        if (chain)
          expect(['CERT_CHAIN_INVALID', 'CERT_EXPIRED', 'MALFORMED', 'UNSUPPORTED']).toContain(
            await codeOf(chain),
          );
      }),
      propertyRuns(400),
    );
  });

  test('a known certificate under another key of the same name is no hit', async () => {
    const { verify, codeOf } = setUp();
    const [leaf, intermediate, root] = parsedChain();
    await verify([leaf!, intermediate!, root!]);
    const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-384' });
    const [, lookAlike] = parsedChain({ intermediate: { publicKey } });
    expect(lookAlike!.subjectName).toEqual(intermediate!.subjectName);
    expect(await codeOf([leaf!, lookAlike!, root!])).toBe('CERT_CHAIN_INVALID');
  });

  test('remembers nothing of a chain that is refused', async () => {
    const { chainCache, codeOf } = setUp();
    expect(await codeOf(parsedChain({ root: { signedBy: STRANGER } }))).toBe('CERT_CHAIN_INVALID');
    expect(await codeOf(parsedChain(), { now: NOT_AFTER + 1 })).toBe('CERT_EXPIRED');
    expect(chainCache.size).toBe(0);
  });

  test('holds no more than its limit', async () => {
    const { chainCache, verified, verify } = setUp(3);
    const [, intermediate, root] = parsedChain();
    for (let i = 1; i <= 5; i++) {
      const [leaf] = parsedChain({ leaf: { serial: Uint8Array.of(i) } });
      await verify([leaf!, intermediate!, root!]);
      expect(chainCache.size).toBe(3);
    }
    // Intermediate and root are in every chain and stay.
    expect(verified()).toBe(7);
  });
});

describe('createChainCache', () => {
  test('forgets the entry that was longest unused', () => {
    const cache = createChainCache(2);
    cache.add('a');
    cache.add('b');
    expect(cache.has('a')).toBe(true);
    cache.add('c');
    expect(['a', 'b', 'c'].map((entry) => cache.has(entry))).toEqual([true, false, true]);
    cache.add('c');
    expect(cache.size).toBe(2);
  });

  test.each([0, -1, 1.5, Number.NaN, Infinity])('takes no limit of %d', (limit) => {
    expect(() => createChainCache(limit)).toThrow(RangeError);
  });

  test('knows no entry by the name of a member', () => {
    const cache: ChainCache = createChainCache(1);
    expect(['size', 'constructor', '__proto__'].map((entry) => cache.has(entry))).toEqual([
      false,
      false,
      false,
    ]);
  });
});

describe('verifySnp with a cache', () => {
  let evidence: { readonly report: Uint8Array; readonly certificates: readonly Uint8Array[] };
  let options: Parameters<typeof verifySnp>[1];
  let verified: () => number;

  beforeAll(async () => {
    const [authority, keys] = await Promise.all([mintAuthority(), generateChipKeys()]);
    const report = await signReport(genoaReport(), keys);
    evidence = { report, certificates: [await authority.issueVek(keys), authority.ask, authority.ark] };
    let crypto: CryptoProvider;
    ({ crypto, verified } = countingCrypto());
    const anchors = [authority.anchor];
    const chainCache = createChainCache(8);
    options = { crypto, now: SNP_NOW, anchors, crls: [], revocation: 'when-present', chainCache };
  });

  test('checks the report every time, its certificates once', async () => {
    for (let i = 0; i < 3; i++) await verifySnp(evidence, options);
    expect(verified()).toBe(3 + 3);
  });

  test('compares the root with the pins every time', async () => {
    const refusal = await refusalOfAsync(() => verifySnp(evidence, { ...options, anchors: [] }));
    expect(refusal?.code).toBe('UNTRUSTED_ROOT');
  });

  test('refuses another report under the same certificates', async () => {
    const report = evidence.report.slice();
    report[0x50] = report[0x50]! ^ 1;
    const refusal = await refusalOfAsync(() => verifySnp({ ...evidence, report }, options));
    expect([refusal?.code, refusal?.check]).toEqual(['SIGNATURE_INVALID', 'cpu.signature']);
  });
});

function parsedOrUndefined(encoded: readonly Uint8Array[]): readonly Certificate[] | undefined {
  try {
    return encoded.map(parseCertificate);
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}
