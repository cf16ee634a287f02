import { beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { toHex } from '../../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { portableCrypto } from '../../../../attestation/crypto/portable.ts';
import { AWS_ANCHORS } from '../../../../attestation/evidence/nitro/anchors.ts';
import {
  CLOCK_SKEW_MS,
  verifyNitro,
  type NitroVerifyOptions,
} from '../../../../attestation/evidence/nitro/verify.ts';
import {
  generateModuleKeys,
  KEY_USAGE,
  mintNitroAuthority,
  NOW,
  registers,
  type IssueOptions,
  type NitroAuthority,
} from '../../../support/nitroAuthority.ts';
import { refusalOfAsync } from '../../../support/refusal.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../../support/runs.ts';

const HOUR = 60 * 60 * 1000;
let authority: NitroAuthority;
let options: NitroVerifyOptions;

beforeAll(async () => {
  authority = await mintNitroAuthority();
  options = { crypto: nodeCrypto, now: NOW, anchors: [authority.anchor] };
});

async function refused(bytes: Uint8Array, changed: Partial<NitroVerifyOptions> = {}) {
  const refusal = await refusalOfAsync(() => verifyNitro(bytes, { ...options, ...changed }));
  return { check: refusal?.check, code: refusal?.code };
}

/** A document whose module has another certificate. */
async function withLeaf(issue: IssueOptions, changes: Record<string, unknown> = {}): Promise<Uint8Array> {
  const certificate = await authority.issueLeaf(issue);
  return authority.mint({ certificate, ...changes }, issue.keys && { keys: issue.keys });
}

describe.each([
  ['node', nodeCrypto],
  ['portable', portableCrypto],
])('verifyNitro with %s cryptography', (_name, crypto) => {
  test('accepts a signed document under a pinned root', async () => {
    const verified = await verifyNitro(await authority.mint(), { ...options, crypto });
    expect(verified.anchor).toBe(authority.anchor);
    expect(verified.judgedAt).toBe(NOW);
    expect(verified.checks.map(({ id, result, code }) => `${id} ${result} ${code}`)).toEqual([
      'cpu.format pass OK',
      'cpu.chain pass OK',
      'cpu.revocation skip NOT_REQUIRED',
      'cpu.signature pass OK',
    ]);
  });

  test('accepts tag 18, an indefinite map and registers of a TPM', async () => {
    const envelope = { tagged: true, indefinite: true };
    const bytes = await authority.mint({ pcrs: undefined, nitrotpm_pcrs: registers(24) }, envelope);
    expect((await verifyNitro(bytes, { ...options, crypto })).document.kind).toBe('tpm');
  });

  test(
    'any byte of the document changed is refused',
    async () => {
      const bytes = await authority.mint({ user_data: new Uint8Array(64).fill(7) });
      const change = fc.tuple(fc.nat(bytes.length - 1), fc.integer({ min: 1, max: 255 }));
      await fc.assert(
        fc.asyncProperty(change, async ([offset, mask]) => {
          const forged = bytes.slice();
          forged[offset] = forged[offset]! ^ mask;
          expect((await refused(forged, { crypto })).code).toBeDefined();
        }),
        propertyRuns(300),
      );
    },
    PROPERTY_TIMEOUT,
  );
});

describe('verifyNitro refuses at cpu.chain', () => {
  const check = 'cpu.chain';

  test('a root that is not pinned, and one pinned for another role', async () => {
    const bytes = await authority.mint();
    expect(await refused(bytes, { anchors: AWS_ANCHORS })).toEqual({ check, code: 'UNTRUSTED_ROOT' });
    const anchors = [{ ...authority.anchor, role: 'tpm' as const }];
    expect(await refused(bytes, { anchors })).toEqual({ check, code: 'UNTRUSTED_ROOT' });
  });

  test('a look-alike root with the same names', async () => {
    const other = await mintNitroAuthority();
    expect(await refused(await other.mint())).toEqual({ check, code: 'UNTRUSTED_ROOT' });
  });

  test('a look-alike intermediate below the genuine root', async () => {
    const other = await mintNitroAuthority();
    const bytes = await other.mint({ cabundle: [authority.root, other.intermediate] });
    expect(await refused(bytes)).toEqual({ check, code: 'CERT_CHAIN_INVALID' });
  });

  test('a bundle that is cut, reversed, or goes on below the module', async () => {
    const { root, intermediate, leaf } = authority;
    const refusedBundle = async (cabundle: Uint8Array[]) => refused(await authority.mint({ cabundle }));
    expect(await refusedBundle([root])).toEqual({ check, code: 'CERT_CHAIN_INVALID' });
    expect(await refusedBundle([intermediate])).toEqual({ check, code: 'UNTRUSTED_ROOT' });
    expect(await refusedBundle([intermediate, root])).toEqual({ check, code: 'UNTRUSTED_ROOT' });
    expect(await refusedBundle([root, leaf])).toEqual({ check, code: 'CERT_CHAIN_INVALID' });
    expect(await refusedBundle([root, intermediate, leaf])).toEqual({ check, code: 'CERT_CHAIN_INVALID' });
  });

  test('the root or an intermediate in place of the module', async () => {
    const { root, intermediate } = authority;
    const asRoot = await authority.mint({ certificate: root, cabundle: [root] });
    expect(await refused(asRoot)).toEqual({ check, code: 'CERT_CHAIN_INVALID' });
    const asModule = await authority.mint({ certificate: intermediate, cabundle: [root] });
    expect(await refused(asModule)).toEqual({ check, code: 'CERT_CHAIN_INVALID' });
  });

  test('certificates that are no DER', async () => {
    expect(await refused(await authority.mint({ certificate: new Uint8Array(600) }))).toEqual({
      check,
      code: 'MALFORMED',
    });
    const cabundle = [authority.root, new Uint8Array(600).fill(0x30)];
    expect(await refused(await authority.mint({ cabundle }))).toEqual({ check, code: 'MALFORMED' });
  });

  test.each<[string, IssueOptions]>([
    ['that is an authority', { isCa: true }],
    ['that is an authority with a path length', { isCa: true, pathLength: 0 }],
    ['that may not sign documents', { usage: KEY_USAGE.keyEncipherment }],
    ['that names no use of its key', { usage: null }],
  ])('a module certificate %s', async (_corruption, issue) => {
    expect(await refused(await withLeaf(issue))).toEqual({ check, code: 'CERT_CHAIN_INVALID' });
  });

  test.each<[string, IssueOptions]>([
    ['is no authority', { isCa: false }],
    ['may not sign certificates', { usage: KEY_USAGE.digitalSignature }],
    ['names no use of its key', { usage: null }],
  ])('an intermediate that %s', async (_corruption, issue) => {
    const intermediate = await authority.issueIntermediate(issue);
    const bytes = await authority.mint({ cabundle: [authority.root, intermediate] });
    expect(await refused(bytes)).toEqual({ check, code: 'CERT_CHAIN_INVALID' });
  });

  test('judged before or after the three hours of the module', async () => {
    const bytes = await authority.mint();
    for (const now of [0, NOW - HOUR - 1, NOW + 2 * HOUR + 1]) {
      expect(await refused(bytes, { now })).toEqual({ check, code: 'CERT_EXPIRED' });
    }
  });

  test('an intermediate that is out of date', async () => {
    const intermediate = await authority.issueIntermediate({ notAfter: new Date(NOW - 1000) });
    const bytes = await authority.mint({ cabundle: [authority.root, intermediate] });
    expect(await refused(bytes)).toEqual({ check, code: 'CERT_EXPIRED' });
  });

  test('a time outside the life of the certificate', async () => {
    for (const timestamp of [NOW - HOUR - 1, NOW + 2 * HOUR + 1]) {
      expect(await refused(await authority.mint({ timestamp }))).toEqual({
        check,
        code: 'TIME_CONTRADICTION',
      });
    }
  });

  test('a time after the judged one, but for a small difference of clocks', async () => {
    const late = await authority.mint({ timestamp: NOW + CLOCK_SKEW_MS + 1 });
    expect(await refused(late)).toEqual({ check, code: 'TIME_CONTRADICTION' });
    const skewed = await authority.mint({ timestamp: NOW + CLOCK_SKEW_MS });
    expect((await refused(skewed)).code).toBeUndefined();
  });
});

describe('verifyNitro refuses at cpu.signature', () => {
  const check = 'cpu.signature';

  test('a document signed by another key', async () => {
    const bytes = await authority.mint({}, { keys: await generateModuleKeys() });
    expect(await refused(bytes)).toEqual({ check, code: 'SIGNATURE_INVALID' });
  });

  test('an unsigned document', async () => {
    const bytes = await authority.mint({}, { signature: new Uint8Array(96) });
    expect(await refused(bytes)).toEqual({ check, code: 'SIGNATURE_INVALID' });
  });

  test('a module key on another curve', async () => {
    const keys = await generateModuleKeys('P-256');
    const certificate = await authority.issueLeaf({ keys });
    const bytes = await authority.mint({ certificate }, { signature: new Uint8Array(96).fill(1) });
    expect(await refused(bytes)).toEqual({ check, code: 'SIGNATURE_INVALID' });
  });

  test('the signature of another document of the module', async () => {
    const other = await authority.mint({ nonce: new Uint8Array(32) });
    const bytes = await authority.mint({}, { signature: other.slice(-96) });
    expect(await refused(bytes)).toEqual({ check, code: 'SIGNATURE_INVALID' });
  });
});

test('a protected header in another encoding is signed as it was received', async () => {
  const protectedBytes = Uint8Array.of(0xa1, 0x18, 0x01, 0x38, 0x22);
  const bytes = await authority.mint({}, { protectedBytes });
  const { document } = await verifyNitro(bytes, options);
  expect(toHex(document.protectedBytes)).toBe(toHex(protectedBytes));
});

test('a malformed document is refused before the chain is looked at', async () => {
  expect(await refused(new Uint8Array(4))).toEqual({ check: 'cpu.format', code: 'MALFORMED' });
});
