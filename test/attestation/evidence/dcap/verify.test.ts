import { beforeAll, describe, expect, test } from '@jest/globals';
import { concat } from '../../../../attestation/bytes/bytes.ts';
import { NO_COLLATERAL, type Collateral } from '../../../../attestation/collateral.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { portableCrypto } from '../../../../attestation/crypto/portable.ts';
import type { CryptoProvider } from '../../../../attestation/crypto/provider.ts';
import { Refusal } from '../../../../attestation/errors.ts';
import { INTEL_ANCHORS } from '../../../../attestation/evidence/dcap/anchors.ts';
import { QUOTE_STEPS, runQuoteSteps } from '../../../../attestation/evidence/dcap/steps.ts';
import type { QuoteVerifyOptions } from '../../../../attestation/evidence/dcap/verify.ts';
import { verifySgx } from '../../../../attestation/evidence/sgx/verify.ts';
import { verifyTdx } from '../../../../attestation/evidence/tdx/verify.ts';
import {
  ENCLAVE,
  issueQuote,
  mintDcapAuthority,
  NOW,
  pemChain,
  TD,
  type DcapAuthority,
  type Machine,
  type QuoteOptions,
} from '../../../support/dcapAuthority.ts';
import {
  CA_SERIAL,
  generateP256,
  issuePck,
  issuePckCa,
  PCK_SERIAL,
  PPID,
  sgxExtension,
  TCB_SIGNER_SERIAL,
} from '../../../support/intelStatements.ts';
import { refusalOfAsync } from '../../../support/refusal.ts';

let authority: DcapAuthority;
let machine: Machine;
let collateral: Collateral;
let sgxCollateral: Collateral;
let options: QuoteVerifyOptions;

beforeAll(async () => {
  authority = await mintDcapAuthority();
  machine = await authority.mintMachine();
  [collateral, sgxCollateral] = await Promise.all([
    authority.issueCollateral('tdx'),
    authority.issueCollateral('sgx'),
  ]);
  options = { crypto: nodeCrypto, now: NOW, anchors: [authority.anchor], collateral };
});

async function verify(quote: QuoteOptions = {}, changed: Partial<QuoteVerifyOptions> = {}) {
  return verifyTdx(await issueQuote(machine, quote), { ...options, ...changed });
}

async function refused(quote: QuoteOptions, changed: Partial<QuoteVerifyOptions> = {}) {
  const refusal = await refusalOfAsync(() => verify(quote, changed));
  return { check: refusal?.check, code: refusal?.code };
}

/** `result code` of every step. */
async function steps(quote: Uint8Array, changed: Partial<QuoteVerifyOptions> = {}) {
  const run = await runQuoteSteps('cited cpu', () => verifyTdx(quote, { ...options, ...changed }));
  expect(run.checks.map(({ id }) => id)).toEqual(QUOTE_STEPS);
  expect(run.checks.every(({ subject }) => subject === 'cited cpu')).toBe(true);
  return run.checks.map(({ id, result, code }) => `${id.slice(4)} ${result} ${code}`);
}

/** A certificate chain in which some are others. */
function withChain(chain: readonly Uint8Array[]): QuoteOptions {
  return { certification: { type: 5, data: pemChain(chain) } };
}

describe.each([
  ['node', nodeCrypto],
  ['portable', portableCrypto],
])('with %s cryptography', (_name, crypto) => {
  test.each([
    [4, 'td10'],
    [5, 'td10'],
    [5, 'td15'],
  ] as const)('verifyTdx accepts version %d with %s', async (version, kind) => {
    const verified = await verify({ version, kind }, { crypto });
    expect(verified.anchor).toBe(authority.anchor);
    expect(verified.pck.ppid).toBe(PPID);
    expect(verified.report.kind).toBe(kind);
    expect(verified.collateral).not.toBeInstanceOf(Refusal);
    expect(verified.checks.map(({ id, result }) => `${id} ${result}`)).toEqual(
      QUOTE_STEPS.map((id) => `${id} pass`),
    );
  });

  test.each([3, 4, 5] as const)('verifySgx accepts version %d', async (version) => {
    const quote = await issueQuote(machine, { version, kind: 'sgx' });
    const verified = await verifySgx(quote, { ...options, crypto, collateral: sgxCollateral });
    expect(verified.report.isvSvn).toBe(3);
    expect(verified.checks.every(({ result }) => result === 'pass')).toBe(true);
  });
});

describe('at cpu.chain', () => {
  const check = 'cpu.chain';

  test('a root that is not pinned, or pinned in another role', async () => {
    expect(await refused({}, { anchors: INTEL_ANCHORS })).toEqual({ check, code: 'UNTRUSTED_ROOT' });
    const anchors = [{ ...authority.anchor, role: 'amd-ark' }] as const;
    expect(await refused({}, { anchors })).toEqual({ check, code: 'UNTRUSTED_ROOT' });
  });

  test('a look-alike root, and a look-alike CA below the genuine root', async () => {
    const other = await mintDcapAuthority();
    const { chain } = await other.mintMachine();
    expect(await refused(withChain(chain))).toEqual({ check, code: 'UNTRUSTED_ROOT' });
    const mixed = [chain[0]!, other.ca.der, authority.root.der];
    expect(await refused(withChain(mixed))).toEqual({ check, code: 'CERT_CHAIN_INVALID' });
  });

  test('fewer or more than three certificates, or three that are no chain', async () => {
    const [pck, ca, root] = machine.chain as [Uint8Array, Uint8Array, Uint8Array];
    expect(await refused(withChain([pck, ca]))).toEqual({ check, code: 'CERT_MISSING' });
    expect(await refused(withChain([pck, ca, root, root]))).toEqual({ check, code: 'MALFORMED' });
    expect(await refused(withChain([ca, root, root]))).toEqual({ check, code: 'CERT_CHAIN_INVALID' });
    expect(await refused(withChain([pck, pck, root]))).toEqual({ check, code: 'CERT_CHAIN_INVALID' });
    expect(await refused(withChain([pck, ca, ca]))).toEqual({ check, code: 'CERT_CHAIN_INVALID' });
  });

  test('but any order of the three', async () => {
    const [pck, ca, root] = machine.chain as [Uint8Array, Uint8Array, Uint8Array];
    expect((await verify(withChain([root, pck, ca]))).pck.ppid).toBe(PPID);
  });

  test('a PCK certificate that has expired, and one that is not valid yet', async () => {
    for (const dates of [
      { notAfter: new Date('2026-06-01T00:00:00Z') },
      { notBefore: new Date('2026-07-01T00:00:00Z') },
    ]) {
      const other = await authority.mintMachine(undefined, dates);
      const quote = await issueQuote(other);
      const refusal = await refusalOfAsync(() => verifyTdx(quote, options));
      expect(refusal).toMatchObject({ check, code: 'CERT_EXPIRED' });
    }
  });

  test('a CA that may not issue', async () => {
    const ca = await issuePckCa(authority.root, { isCa: false });
    const pck = await issuePck(ca, undefined, { keys: machine.pckKeys });
    const code = 'CERT_CHAIN_INVALID';
    expect(await refused(withChain([pck, ca.der, authority.root.der]))).toEqual({ check, code });
  });

  describe('where the quote carries no certificates', () => {
    const byPpid: QuoteOptions = { certification: { type: 1, data: new Uint8Array(36) } };

    test('the chain is taken from the collateral, whatever else is there', async () => {
      const other = await mintDcapAuthority();
      const certificates = [other.root.der, ...machine.chain.toReversed()];
      const unrelated = await verify(byPpid, { collateral: { ...collateral, certificates } });
      expect(unrelated.pck.ppid).toBe(PPID);
    });

    test('is refused without one', async () => {
      const code = 'CERT_MISSING';
      expect(await refused(byPpid)).toEqual({ check, code });
      const certificates = machine.chain.slice(0, 2);
      expect(await refused(byPpid, { collateral: { ...collateral, certificates } })).toEqual({ check, code });
    });

    test('is refused under a look-alike root, and with more certificates than there can be', async () => {
      const { chain } = await (await mintDcapAuthority()).mintMachine();
      const refusedWith = (certificates: readonly Uint8Array[]) =>
        refused(byPpid, { collateral: { ...collateral, certificates } });
      expect(await refusedWith(chain)).toEqual({ check, code: 'UNTRUSTED_ROOT' });
      const many = Array.from({ length: 65 }, () => machine.chain[0]!);
      expect(await refusedWith(many)).toEqual({ check, code: 'MALFORMED' });
    });

    test('but one that the quote carries goes before', async () => {
      const { chain } = await (await mintDcapAuthority()).mintMachine();
      const verified = await verify({}, { collateral: { ...collateral, certificates: chain } });
      expect(verified.anchor).toBe(authority.anchor);
    });
  });
});

describe('at cpu.revocation and cpu.collateral', () => {
  async function refusedWith(...[tee, changes]: Parameters<DcapAuthority['issueCollateral']>) {
    return refused({}, { collateral: await authority.issueCollateral(tee, changes) });
  }

  test('a revoked PCK, CA and TCB signer', async () => {
    const code = 'CERT_REVOKED';
    expect(await refusedWith('tdx', { pckCrl: { revoked: [PCK_SERIAL] } })).toEqual({
      check: 'cpu.revocation',
      code,
    });
    expect(await refusedWith('tdx', { rootCrl: { revoked: [CA_SERIAL] } })).toEqual({
      check: 'cpu.revocation',
      code,
    });
    expect((await refusedWith('tdx', { rootCrl: { revoked: [TCB_SIGNER_SERIAL] } })).code).toBe(code);
  });

  test('statements on another TEE or another platform', async () => {
    const check = 'cpu.collateral';
    expect(await refusedWith('sgx')).toEqual({ check, code: 'COLLATERAL_MISMATCH' });
    expect(await refusedWith('tdx', { tcbInfo: { fmspc: '000000000000' } })).toEqual({
      check,
      code: 'COLLATERAL_MISMATCH',
    });
  });

  test('statements under another root, though the caller trusts that too', async () => {
    const other = await mintDcapAuthority();
    const foreign = await other.issueCollateral('tdx');
    const mixed = { ...foreign, crls: collateral.crls };
    const anchors = [authority.anchor, other.anchor];
    expect(await refused({}, { collateral: mixed, anchors })).toEqual({
      check: 'cpu.collateral',
      code: 'UNTRUSTED_ROOT',
    });
  });
});

describe('collateral that is wanting', () => {
  async function issueWanting(): Promise<readonly (readonly [string, string, Collateral])[]> {
    const past = { issueDate: '2026-01-01T00:00:00Z', nextUpdate: '2026-02-01T00:00:00Z' };
    const future = { issueDate: '2026-07-01T00:00:00Z', nextUpdate: '2026-08-01T00:00:00Z' };
    return [
      ['collateral', 'COLLATERAL_MISSING', { ...collateral, tcbInfos: [] }],
      ['collateral', 'COLLATERAL_MISSING', { ...collateral, qeIdentities: [] }],
      ['revocation', 'COLLATERAL_MISSING', { ...collateral, crls: collateral.crls.slice(0, 1) }],
      ['revocation', 'COLLATERAL_MISSING', NO_COLLATERAL],
      ['collateral', 'COLLATERAL_EXPIRED', await authority.issueCollateral('tdx', { tcbInfo: past })],
      [
        'collateral',
        'COLLATERAL_NOT_YET_VALID',
        await authority.issueCollateral('tdx', { qeIdentity: future }),
      ],
    ];
  }

  test('leaves the rest judged, and passes nothing that rests on it', async () => {
    const quote = await issueQuote(machine);
    for (const [step, code, wanting] of await issueWanting()) {
      const verified = await verifyTdx(quote, { ...options, collateral: wanting });
      expect(verified.collateral).toMatchObject({ code, check: `cpu.${step}` });
      const seen = await steps(quote, { collateral: wanting });
      expect(seen).toContain(`${step} fail ${code}`);
      expect(seen).toContain('signature pass OK');
      expect(seen).toContain('endorsement skip NOT_REACHED');
      expect(seen).toContain('quoting-enclave skip NOT_REACHED');
      if (step === 'revocation') expect(seen).toContain('collateral skip NOT_REACHED');
    }
  });

  test('hides no other failure, and is shown beside it', async () => {
    const quote = await issueQuote(machine);
    quote[48 + TD.mrTd] = 0;
    for (const [step, code, wanting] of await issueWanting()) {
      const refusal = await refusalOfAsync(() => verifyTdx(quote, { ...options, collateral: wanting }));
      expect(refusal).toMatchObject({ code: 'SIGNATURE_INVALID', check: 'cpu.signature' });
      const seen = await steps(quote, { collateral: wanting });
      expect(seen).toContain(`${step} fail ${code}`);
      expect(seen).toContain('endorsement skip NOT_REACHED');
      expect(seen).toContain('signature fail SIGNATURE_INVALID');
    }
  });

  test('hides neither a foreign attestation key nor a broken chain', async () => {
    const vouchedKeys = await generateP256();
    const none = { collateral: NO_COLLATERAL };
    expect((await refused({ vouchedKeys }, none)).code).toBe('QE_BINDING_MISMATCH');
    expect((await refused({}, { ...none, now: 0 })).code).toBe('CERT_EXPIRED');
    expect((await refused({}, { ...none, anchors: [] })).code).toBe('UNTRUSTED_ROOT');
  });
});

describe('at cpu.endorsement', () => {
  test('a PCK certificate without a readable platform: nothing else is said of it', async () => {
    const other = await authority.mintMachine(sgxExtension({ fmspc: new Uint8Array(5) }));
    const quote = await issueQuote(other);
    const refusal = await refusalOfAsync(() => verifyTdx(quote, options));
    expect(refusal).toMatchObject({ check: 'cpu.endorsement', code: 'MALFORMED' });
    expect(await steps(quote)).toEqual([
      'format pass OK',
      'chain pass OK',
      'revocation skip NOT_REACHED',
      'collateral skip NOT_REACHED',
      'endorsement fail MALFORMED',
      'signature skip NOT_REACHED',
      'quoting-enclave skip NOT_REACHED',
    ]);
  });
});

describe('at cpu.signature', () => {
  const check = 'cpu.signature';
  const code = 'SIGNATURE_INVALID';

  test('a quote whose header or body was changed', async () => {
    for (const offset of [8, 28, 47, 48, 48 + TD.mrTd, 48 + TD.reportData + 63]) {
      const quote = await issueQuote(machine);
      quote[offset] = quote[offset]! ^ 1;
      const refusal = await refusalOfAsync(() => verifyTdx(quote, options));
      expect(refusal).toMatchObject({ check, code });
    }
  });

  test('the body type of version 5, which is signed', async () => {
    const quote = await issueQuote(machine, { version: 5, kind: 'td10' });
    const body = quote.subarray(54, 54 + 584);
    const asTd15 = concat(quote.subarray(0, 48), Uint8Array.of(3, 0, 648 & 0xff, 648 >> 8, 0, 0), body);
    const forged = concat(asTd15, new Uint8Array(64), quote.subarray(54 + 584));
    const refusal = await refusalOfAsync(() => verifyTdx(forged, options));
    expect(refusal).toMatchObject({ check, code });
  });

  test('a quoting enclave that the PCK did not sign', async () => {
    const other = await authority.mintMachine();
    const quote = await issueQuote({ ...machine, pckKeys: other.pckKeys });
    const refusal = await refusalOfAsync(() => verifyTdx(quote, options));
    expect(refusal).toMatchObject({ check, code });
  });

  test('an attestation key that is no point of the curve', async () => {
    const quote = await issueQuote(machine);
    quote.fill(0xff, 48 + 584 + 4 + 64, 48 + 584 + 4 + 128);
    for (const crypto of [nodeCrypto, portableCrypto]) {
      const refusal = await refusalOfAsync(() => verifyTdx(quote, { ...options, crypto }));
      expect(refusal).toMatchObject({ check, code });
    }
  });

  test('a signature of zeros', async () => {
    const quote = await issueQuote(machine);
    quote.fill(0, 48 + 584 + 4, 48 + 584 + 4 + 64);
    const refusal = await refusalOfAsync(() => verifyTdx(quote, options));
    expect(refusal).toMatchObject({ check, code });
  });
});

describe('at cpu.quoting-enclave', () => {
  const check = 'cpu.quoting-enclave';

  test('an attestation key that the quoting enclave does not vouch for', async () => {
    const vouchedKeys = await generateP256();
    expect(await refused({ vouchedKeys })).toEqual({ check, code: 'QE_BINDING_MISMATCH' });
  });

  test('bytes in the second half of its report data', async () => {
    const editQe = (view: DataView) => {
      view.setUint8(ENCLAVE.reportData + 63, 1);
    };
    expect(await refused({ editQe })).toEqual({ check, code: 'QE_BINDING_MISMATCH' });
  });

  test('another enclave of the same platform that vouches for a key of its own', async () => {
    const edits: readonly ((view: DataView) => void)[] = [
      (view) => {
        view.setUint8(ENCLAVE.mrSigner, 0);
      },
      (view) => {
        view.setUint16(ENCLAVE.isvProdId, 1, true);
      },
      (view) => {
        view.setUint32(ENCLAVE.miscSelect, 1, true);
      },
      (view) => {
        view.setBigUint64(ENCLAVE.flags, 0x5n, true);
      },
    ];
    for (const editQe of edits) {
      expect(await refused({ editQe })).toEqual({ check, code: 'QE_IDENTITY_MISMATCH' });
    }
  });

  test('a quoting enclave in debug mode, with and without its identity', async () => {
    const editQe = (view: DataView) => {
      view.setBigUint64(ENCLAVE.flags, 0x17n, true);
    };
    const code = 'QE_IDENTITY_MISMATCH';
    expect(await refused({ editQe })).toEqual({ check, code });
    expect(await refused({ editQe }, { collateral: NO_COLLATERAL })).toEqual({ check, code });
  });
});

describe('at cpu.format', () => {
  test('before anything else is looked at', async () => {
    const seen = await steps(Uint8Array.of(4, 0, 2), { anchors: [] });
    expect(seen[0]).toBe('format fail MALFORMED');
    expect(seen.slice(1).every((step) => step.endsWith('skip NOT_REACHED'))).toBe(true);
  });

  test('a quote of the other TEE', async () => {
    const quote = await issueQuote(machine, { kind: 'sgx' });
    const refusal = await refusalOfAsync(() => verifyTdx(quote, options));
    expect(refusal).toMatchObject({ check: 'cpu.format', code: 'MALFORMED' });
  });
});

test('the failure named is the first in the list of checks, whichever signature is done first', async () => {
  const slowFor = (slow: number): CryptoProvider => {
    let calls = 0;
    return {
      ...nodeCrypto,
      forOneVerification: undefined,
      async verify(...args) {
        const delay = calls++ === slow ? 20 : 0;
        await new Promise((resolve) => setTimeout(resolve, delay));
        return nodeCrypto.verify(...args);
      },
    };
  };
  const quote = await issueQuote(machine, { vouchedKeys: await generateP256() });
  quote[48 + TD.mrTd] = 0;
  const forged = await authority.issueCollateral('tdx', { pckCrl: { revoked: [PCK_SERIAL] } });
  for (let slow = 0; slow < 8; slow++) {
    const crypto = slowFor(slow);
    const refusal = await refusalOfAsync(() => verifyTdx(quote, { ...options, crypto, collateral: forged }));
    expect(refusal?.code).toBe('CERT_REVOKED');
    const later = await refusalOfAsync(() => verifyTdx(quote, { ...options, crypto: slowFor(slow) }));
    expect(later?.code).toBe('SIGNATURE_INVALID');
  }
});

test('an error that is no refusal is not swallowed', async () => {
  const crypto: CryptoProvider = {
    ...nodeCrypto,
    forOneVerification: undefined,
    verify: () => Promise.reject(new Error('broken provider')),
  };
  await expect(verify({}, { crypto })).rejects.toThrow('broken provider');
  await expect(runQuoteSteps('cpu', () => verify({}, { crypto }))).rejects.toThrow('broken provider');
});
