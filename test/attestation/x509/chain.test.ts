import { describe, expect, test } from '@jest/globals';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { portableCrypto } from '../../../attestation/crypto/portable.ts';
import type { CryptoProvider } from '../../../attestation/crypto/provider.ts';
import type { Certificate } from '../../../attestation/x509/certificate.ts';
import { verifyChain, verifyIssued, type ChainOptions } from '../../../attestation/x509/chain.ts';
import { TAG } from '../../../attestation/x509/der.ts';
import { authorityExtensions } from '../../../enclave/collect/simulated/certificate.ts';
import { bitString, element, sequence } from '../../../enclave/collect/simulated/der.ts';
import { refusalOfAsync } from '../../support/refusal.ts';
import { commonName, extension } from './encodedCertificate.ts';
import {
  countingCrypto,
  NOT_AFTER,
  NOT_BEFORE,
  NOW,
  parsedChain,
  STRANGER,
  type Changes,
} from './issuedChain.ts';

const OPTIONS: ChainOptions = { crypto: nodeCrypto, now: NOW };
const LONG_AGO = new Date('2001-01-01T00:00:00Z');
/** An authority whose keyUsage has bit 6 alone. */
const CRL_SIGNER = [
  extension('2.5.29.19', sequence(element(TAG.boolean, Uint8Array.of(0xff))), 0xff),
  extension('2.5.29.15', bitString(Uint8Array.of(0x02), 1), 0xff),
];
const EXPIRED = { notBefore: LONG_AGO, notAfter: LONG_AGO };

function refusal(chain: readonly Certificate[], changed: Partial<ChainOptions> = {}) {
  return refusalOfAsync(() => verifyChain(chain, { ...OPTIONS, ...changed }));
}

async function codeOf(changes: Changes, changed: Partial<ChainOptions> = {}): Promise<string | undefined> {
  return (await refusal(parsedChain(changes), changed))?.code;
}

describe.each([
  ['node', nodeCrypto],
  ['portable', portableCrypto],
])('verifyChain with %s cryptography', (_name, crypto) => {
  test('accepts a chain, and a root alone', async () => {
    const chain = parsedChain();
    await expect(verifyChain(chain, { crypto, now: NOW })).resolves.toBeUndefined();
    await expect(verifyChain(chain.slice(2), { crypto, now: NOW })).resolves.toBeUndefined();
  });

  test.each(['leaf', 'intermediate', 'root'] as const)(
    'refuses a %s that a stranger signed',
    async (role) => {
      expect(await codeOf({ [role]: { signedBy: STRANGER } }, { crypto })).toBe('CERT_CHAIN_INVALID');
    },
  );
});

describe('verifyChain', () => {
  test('accepts from the first to the last instant of validity', async () => {
    for (const now of [NOT_BEFORE, NOT_AFTER]) expect(await codeOf({}, { now })).toBeUndefined();
    for (const now of [NOT_BEFORE - 1, NOT_AFTER + 1]) expect(await codeOf({}, { now })).toBe('CERT_EXPIRED');
  });

  test.each(['leaf', 'intermediate', 'root'] as const)('refuses an expired %s', async (role) => {
    expect(await codeOf({ [role]: EXPIRED })).toBe('CERT_EXPIRED');
  });

  test.each<[string, Changes]>([
    ['an issuer of another name', { intermediate: { subject: commonName('other') } }],
    ['an issuer that is no authority', { intermediate: { extensions: [] } }],
    ['an issuer that may sign CRLs alone', { intermediate: { extensions: CRL_SIGNER } }],
    [
      'more intermediates than the root allows',
      { root: { extensions: authorityExtensions(0, 'certificates') } },
    ],
    ['an unknown critical extension', { leaf: { extensions: [extension('1.2.3', sequence(), 0xff)] } }],
  ])('refuses %s', async (_name, changes) => {
    expect(await codeOf(changes)).toBe('CERT_CHAIN_INVALID');
  });

  test('accepts a critical extension that the format processes', async () => {
    const changes = { leaf: { extensions: [extension('1.2.3', sequence(), 0xff)] } };
    expect(await codeOf(changes, { processedExtensions: ['1.2.3'] })).toBeUndefined();
  });

  test('of several faults refuses the one nearest the leaf', async () => {
    const brokenLeaf = await refusal(parsedChain({ leaf: { signedBy: STRANGER }, root: EXPIRED }));
    expect(brokenLeaf?.message).toContain('the signature on CN=leaf');
    const brokenRoot = await refusal(parsedChain({ root: { signedBy: STRANGER }, intermediate: EXPIRED }));
    expect(brokenRoot?.message).toContain('CN=intermediate is valid from');
  });

  test('whichever signature is checked first', async () => {
    const leafLast: CryptoProvider = {
      ...nodeCrypto,
      verify: async (...question) => {
        const { length } = question[1]; // The leaf's issuer alone has a P-384 key, of 120 bytes.
        await new Promise((resolve) => setTimeout(resolve, length === 120 ? 20 : 0));
        return false;
      },
    };
    const found = await refusal(parsedChain(), { crypto: leafLast });
    expect(found?.message).toContain('the signature on CN=leaf');
  });

  test('checks all signatures, of which none is asked for twice', async () => {
    const { crypto, verified } = countingCrypto();
    await verifyChain(parsedChain(), { ...OPTIONS, crypto });
    expect(verified()).toBe(3);
  });
});

test('verifyIssued looks at name and signature alone', async () => {
  const [leaf, intermediate, root] = parsedChain({ leaf: EXPIRED });
  await expect(verifyIssued(leaf!, intermediate!, nodeCrypto)).resolves.toBeUndefined();
  const code = async (certificate: Certificate, issuer: Certificate) =>
    (await refusalOfAsync(() => verifyIssued(certificate, issuer, nodeCrypto)))?.code;
  expect(await code(leaf!, root!)).toBe('CERT_CHAIN_INVALID');
  expect(await code(parsedChain({ leaf: { signedBy: STRANGER } })[0]!, intermediate!)).toBe(
    'CERT_CHAIN_INVALID',
  );
});
