import { beforeAll, describe, expect, test } from '@jest/globals';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { appraiseSgx } from '../../../../attestation/evidence/sgx/appraise.ts';
import { verifySgx, type VerifiedSgx } from '../../../../attestation/evidence/sgx/verify.ts';
import type { SgxPolicy } from '../../../../attestation/policy/sgx.ts';
import {
  ENCLAVE,
  enclaveReport,
  issueQuote,
  mintDcapAuthority,
  NOW,
} from '../../../support/dcapAuthority.ts';
import { LAX_SGX } from '../../../support/dcapPolicies.ts';
import { FMSPC, PPID } from '../../../support/intelStatements.ts';

type Edit = (view: DataView) => void;

const named = (name: string, value: string) => [{ name, value }];

/** Accepts exactly the minted enclave. */
const STRICT: SgxPolicy = {
  debug: 'refused',
  attributes: {
    mode64Bit: 'required',
    provisionKey: 'refused',
    einitTokenKey: 'refused',
    cet: 'any',
    kss: 'refused',
    aexNotify: 'any',
  },
  xfrm: '00000000000000e7',
  miscSelect: '00000000',
  tcb: {
    statuses: ['UpToDate'],
    advisories: [],
    maximumDaysBehind: 0,
    minimumEvaluationDataNumber: 20,
  },
  platform: { ppids: [PPID], fmspcs: [FMSPC] },
  mrEnclave: named('enclave 1', 'e1'.repeat(32)),
  mrSigner: named('our key', '51'.repeat(32)),
  isvProdIds: [7],
  minimumIsvSvn: 3,
  configId: named('unset', '00'.repeat(64)),
};

let verifyEdited: (edit?: Edit) => Promise<VerifiedSgx>;

beforeAll(async () => {
  const authority = await mintDcapAuthority();
  const machine = await authority.mintMachine();
  const collateral = await authority.issueCollateral('sgx');
  const options = { crypto: nodeCrypto, now: NOW, anchors: [authority.anchor], collateral };
  verifyEdited = async (edit) =>
    verifySgx(await issueQuote(machine, { kind: 'sgx', body: enclaveReport(edit) }), options);
});

function check(id: string, verified: VerifiedSgx, policy: Partial<SgxPolicy> = {}) {
  return appraiseSgx(verified, { ...STRICT, ...policy }).find((candidate) => candidate.id === `cpu.${id}`)!;
}

/** `result code` of one check. */
function outcome(id: string, verified: VerifiedSgx, policy: Partial<SgxPolicy> = {}): string {
  const { result, code } = check(id, verified, policy);
  return `${result} ${code}`;
}

const attributes = (changes: Partial<SgxPolicy['attributes']>) => ({
  attributes: { ...STRICT.attributes, ...changes },
});
const setFlags =
  (flags: bigint): Edit =>
  (view) => {
    view.setBigUint64(ENCLAVE.flags, flags, true);
  };

test('passes what the policy names, in the order of the list of checks', async () => {
  const checks = appraiseSgx(await verifyEdited(), STRICT);
  expect(checks.map(({ id, subject, result }) => `${id} ${subject} ${result}`)).toEqual([
    'cpu.debug cpu pass',
    'cpu.guest-policy cpu pass',
    'cpu.privilege cpu skip',
    'cpu.tcb cpu pass',
    'cpu.identity cpu pass',
    'cpu.measurement cpu pass',
  ]);
  expect(checks[5]?.reason).toContain('enclave 1');
});

test('what a policy accepts whatever it is proves nothing', async () => {
  const verified = await verifyEdited();
  expect(outcome('measurement', verified, LAX_SGX)).toBe('skip NOT_REQUIRED');
  expect(outcome('guest-policy', verified, LAX_SGX)).toBe('pass OK');
});

test('debugging is refused, and never passes where it is accepted', async () => {
  const debug = await verifyEdited(setFlags(0x7n));
  expect(outcome('debug', debug)).toBe('fail DEBUG_ENABLED');
  expect(outcome('debug', debug, { debug: 'accepted' })).toBe('skip NOT_REQUIRED');
  expect(outcome('guest-policy', debug)).toBe('pass OK');
});

describe('ATTRIBUTES', () => {
  test.each([
    ['PROVISIONKEY', 0x10n, 'provisionKey'],
    ['EINITTOKEN_KEY', 0x20n, 'einitTokenKey'],
    ['KSS', 0x80n, 'kss'],
  ] as const)('%s is refused unless the policy accepts it', async (name, flag, member) => {
    const verified = await verifyEdited(setFlags(0x5n | flag));
    expect(outcome('guest-policy', verified)).toBe('fail GUEST_POLICY_VIOLATED');
    expect(check('guest-policy', verified).reason).toContain(name);
    expect(outcome('guest-policy', verified, attributes({ [member]: 'accepted' }))).toBe('pass OK');
  });

  test.each([
    ['CET', 0x40n, 'cet'],
    ['AEXNOTIFY', 0x400n, 'aexNotify'],
  ] as const)('%s is demanded where the policy requires it', async (name, flag, member) => {
    const required = attributes({ [member]: 'required' });
    expect(outcome('guest-policy', await verifyEdited(setFlags(0x5n | flag)), required)).toBe('pass OK');
    expect(check('guest-policy', await verifyEdited(), required).reason).toContain(name);
    expect(outcome('guest-policy', await verifyEdited(), required)).toBe('fail GUEST_POLICY_VIOLATED');
  });

  test('32-bit mode is refused where 64-bit mode is required', async () => {
    const verified = await verifyEdited(setFlags(0x1n));
    expect(outcome('guest-policy', verified)).toBe('fail GUEST_POLICY_VIOLATED');
    expect(outcome('guest-policy', verified, attributes({ mode64Bit: 'any' }))).toBe('pass OK');
  });

  test('an enclave without INIT, and unknown bits, are refused by every policy', async () => {
    for (const flags of [0x4n, 0xdn, 0x105n, 0x8000000000000005n]) {
      const verified = await verifyEdited(setFlags(flags));
      expect(outcome('guest-policy', verified, LAX_SGX)).toBe('fail GUEST_POLICY_VIOLATED');
    }
  });

  test('XFRM and MISCSELECT may not go beyond their masks', async () => {
    const xfrm = await verifyEdited((view) => {
      view.setBigUint64(ENCLAVE.xfrm, 0x2e7n, true);
    });
    expect(outcome('guest-policy', xfrm)).toBe('fail GUEST_POLICY_VIOLATED');
    expect(outcome('guest-policy', xfrm, { xfrm: '00000000000002e7' })).toBe('pass OK');
    const misc = await verifyEdited((view) => {
      view.setUint32(ENCLAVE.miscSelect, 1, true);
    });
    expect(outcome('guest-policy', misc)).toBe('fail GUEST_POLICY_VIOLATED');
    expect(outcome('guest-policy', misc, { miscSelect: '00000001' })).toBe('pass OK');
  });
});

describe('measurements', () => {
  test.each([
    ['mrEnclave', ENCLAVE.mrEnclave, 'MRENCLAVE'],
    ['mrSigner', ENCLAVE.mrSigner, 'MRSIGNER'],
    ['configId', ENCLAVE.configId, 'CONFIGID'],
  ] as const)('%s: another value, none known', async (member, offset, name) => {
    const verified = await verifyEdited((view) => {
      view.setUint8(offset, 0x99);
    });
    const mismatch = check('measurement', verified);
    expect(mismatch).toMatchObject({ result: 'fail', code: 'MEASUREMENT_MISMATCH' });
    expect(mismatch.reason).toContain(`${name} is 99`);
    const missing = check('measurement', await verifyEdited(), { [member]: [] });
    expect(missing).toMatchObject({ result: 'fail', code: 'REFERENCE_VALUES_MISSING' });
    expect(missing.reason).toContain(name);
  });

  test('product and version of the enclave', async () => {
    const verified = await verifyEdited();
    expect(outcome('measurement', verified, { isvProdIds: [8, 9] })).toBe('fail MEASUREMENT_MISMATCH');
    expect(outcome('measurement', verified, { minimumIsvSvn: 4 })).toBe('fail MEASUREMENT_MISMATCH');
    expect(outcome('measurement', verified, { minimumIsvSvn: 2 })).toBe('pass OK');
  });

  test('a pass needs the enclave, or its signer and product', async () => {
    const verified = await verifyEdited();
    const anyEnclave = { mrEnclave: 'any' } as const;
    expect(outcome('measurement', verified, anyEnclave)).toBe('pass OK');
    expect(outcome('measurement', verified, { ...anyEnclave, isvProdIds: 'any' })).toBe('skip NOT_REQUIRED');
    expect(outcome('measurement', verified, { ...anyEnclave, mrSigner: 'any' })).toBe('skip NOT_REQUIRED');
    expect(outcome('measurement', verified, { mrSigner: 'any', isvProdIds: 'any' })).toBe('pass OK');
  });
});

test('the platform must be listed', async () => {
  const verified = await verifyEdited();
  const platform = { ppids: ['00'.repeat(16)], fmspcs: 'any' } as const;
  expect(outcome('identity', verified, { platform: { ...platform, ppids: [...platform.ppids] } })).toBe(
    'fail DEVICE_NOT_ALLOWED',
  );
});
