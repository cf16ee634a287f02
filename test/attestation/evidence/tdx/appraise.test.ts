import { beforeAll, describe, expect, test } from '@jest/globals';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { appraiseTdx } from '../../../../attestation/evidence/tdx/appraise.ts';
import { verifyTdx, type VerifiedTdx } from '../../../../attestation/evidence/tdx/verify.ts';
import type { TdxPolicy } from '../../../../attestation/policy/tdx.ts';
import { issueQuote, mintDcapAuthority, NOW, TD, tdReport } from '../../../support/dcapAuthority.ts';
import { LAX_TDX } from '../../../support/dcapPolicies.ts';
import { FMSPC, PPID } from '../../../support/intelStatements.ts';

type Kind = 'td10' | 'td15';
type Edit = (view: DataView) => void;

const filled = (byte: string) => byte.repeat(48);
const ZERO = filled('00');
const named = (name: string, value: string) => [{ name, value }];

/** Accepts exactly the minted TD. */
const STRICT: TdxPolicy = {
  debug: 'refused',
  attributes: {
    hgsPlusProfiling: 'refused',
    perfProfiling: 'refused',
    pmtProfiling: 'refused',
    icssd: 'any',
    servtdExt: 'any',
    lass: 'any',
    septVeDisable: 'required',
    migratable: 'refused',
    pks: 'any',
    keyLocker: 'refused',
    tpa: 'refused',
    perfmon: 'refused',
  },
  xfam: '00000000000602e7',
  mrSeam: named('module 1.5.06', filled('5e')),
  mrSignerSeam: 'zero',
  seamAttributes: 'zero',
  mrServiceTd: 'zero',
  tcb: {
    statuses: ['UpToDate'],
    advisories: [],
    maximumDaysBehind: 0,
    minimumEvaluationDataNumber: 20,
  },
  platform: { ppids: [PPID], fmspcs: [FMSPC] },
  mrTd: named('firmware 1', filled('d0')),
  rtmr0: named('configuration 1', filled('a0')),
  rtmr1: named('kernel 1', filled('a1')),
  rtmr2: named('command line 1', filled('a2')),
  rtmr3: named('empty', ZERO),
  mrConfigId: named('unset', ZERO),
  mrOwner: named('unset', ZERO),
  mrOwnerConfig: named('unset', ZERO),
};

let verifyEdited: (edit?: Edit, kind?: Kind) => Promise<VerifiedTdx>;

beforeAll(async () => {
  const authority = await mintDcapAuthority();
  const machine = await authority.mintMachine();
  const collateral = await authority.issueCollateral('tdx');
  const options = { crypto: nodeCrypto, now: NOW, anchors: [authority.anchor], collateral };
  verifyEdited = async (edit, kind = 'td15') => {
    const quote = await issueQuote(machine, { kind, body: tdReport(kind, edit) });
    return verifyTdx(quote, options);
  };
});

function check(id: string, verified: VerifiedTdx, policy: Partial<TdxPolicy> = {}) {
  return appraiseTdx(verified, { ...STRICT, ...policy }).find((candidate) => candidate.id === `cpu.${id}`)!;
}

/** `result code` of one check. */
function outcome(id: string, verified: VerifiedTdx, policy: Partial<TdxPolicy> = {}): string {
  const { result, code } = check(id, verified, policy);
  return `${result} ${code}`;
}

const attributes = (changes: Partial<TdxPolicy['attributes']>) => ({
  attributes: { ...STRICT.attributes, ...changes },
});
const setBit =
  (bit: bigint): Edit =>
  (view) => {
    view.setBigUint64(TD.tdAttributes, (1n << 28n) | (1n << bit), true);
  };

test('passes what the policy names, in the order of the list of checks', async () => {
  const checks = appraiseTdx(await verifyEdited(), STRICT);
  expect(checks.map(({ id, subject, result }) => `${id} ${subject} ${result}`)).toEqual([
    'cpu.debug cpu pass',
    'cpu.guest-policy cpu pass',
    'cpu.privilege cpu pass',
    'cpu.tcb cpu pass',
    'cpu.identity cpu pass',
    'cpu.measurement cpu pass',
  ]);
  for (const name of ['firmware 1', 'configuration 1', 'kernel 1', 'command line 1']) {
    expect(checks[5]?.reason).toContain(name);
  }
});

test('what a policy accepts whatever it is proves nothing', async () => {
  const checks = appraiseTdx(await verifyEdited(), LAX_TDX);
  expect(checks.map(({ id, result, code }) => `${id} ${result} ${code}`)).toEqual([
    'cpu.debug pass OK',
    'cpu.guest-policy pass OK',
    'cpu.privilege skip NOT_REQUIRED',
    'cpu.tcb pass OK',
    'cpu.identity pass OK',
    'cpu.measurement skip NOT_REQUIRED',
  ]);
});

test('debug-td: debugging is refused, and never passes where it is accepted', async () => {
  const debug = await verifyEdited(setBit(0n));
  expect(outcome('debug', debug)).toBe('fail DEBUG_ENABLED');
  expect(outcome('debug', debug, { debug: 'accepted' })).toBe('skip NOT_REQUIRED');
  expect(outcome('guest-policy', debug)).toBe('pass OK');
  expect(outcome('debug', await verifyEdited(), { debug: 'accepted' })).toBe('pass OK');
});

describe('TDATTRIBUTES', () => {
  test.each([
    ['HGS_PLUS_PROF', 4n, 'hgsPlusProfiling'],
    ['PERF_PROF', 5n, 'perfProfiling'],
    ['PMT_PROF', 6n, 'pmtProfiling'],
    ['MIGRATABLE', 29n, 'migratable'],
    ['KL', 31n, 'keyLocker'],
    ['TPA', 62n, 'tpa'],
    ['PERFMON', 63n, 'perfmon'],
  ] as const)('%s is refused unless the policy accepts it', async (name, bit, member) => {
    const verified = await verifyEdited(setBit(bit));
    expect(outcome('guest-policy', verified)).toBe('fail GUEST_POLICY_VIOLATED');
    expect(check('guest-policy', verified).reason).toContain(name);
    expect(outcome('guest-policy', verified, attributes({ [member]: 'accepted' }))).toBe('pass OK');
  });

  test.each([
    ['ICSSD', 16n, 'icssd'],
    ['SERVTD_EXT', 17n, 'servtdExt'],
    ['LASS', 27n, 'lass'],
    ['PKS', 30n, 'pks'],
  ] as const)('%s is demanded where the policy requires it', async (name, bit, member) => {
    const required = attributes({ [member]: 'required' });
    expect(outcome('guest-policy', await verifyEdited(setBit(bit)), required)).toBe('pass OK');
    const without = check('guest-policy', await verifyEdited(), required);
    expect(without).toMatchObject({ result: 'fail', code: 'GUEST_POLICY_VIOLATED' });
    expect(without.reason).toContain(name);
  });

  test('SEPT_VE_DISABLE may be required', async () => {
    const without = await verifyEdited((view) => {
      view.setBigUint64(TD.tdAttributes, 0n, true);
    });
    expect(outcome('guest-policy', without)).toBe('fail GUEST_POLICY_VIOLATED');
    expect(outcome('guest-policy', without, attributes({ septVeDisable: 'any' }))).toBe('pass OK');
  });

  test.each([1n, 3n, 7n, 15n, 18n, 23n, 26n, 32n, 61n])(
    'unknown bit %s is refused by every policy',
    async (bit) => {
      const verified = await verifyEdited(setBit(bit));
      expect(outcome('guest-policy', verified, LAX_TDX)).toBe('fail GUEST_POLICY_VIOLATED');
      expect(check('guest-policy', verified).reason).toContain(`0x${(1n << bit).toString(16)}`);
    },
  );
});

test('XFAM may not go beyond the mask', async () => {
  const amx = await verifyEdited((view) => {
    view.setBigUint64(TD.xfam, 0x642e7n, true);
  });
  expect(outcome('guest-policy', amx)).toBe('fail GUEST_POLICY_VIOLATED');
  expect(check('guest-policy', amx).reason).toContain('0x4000');
  expect(outcome('guest-policy', amx, { xfam: '00000000000642e7' })).toBe('pass OK');
  expect(outcome('guest-policy', amx, { xfam: 'any' })).toBe('pass OK');
});

describe('what stands above the TD', () => {
  test('another module: named, not named, none known', async () => {
    const verified = await verifyEdited();
    const near = `${filled('5e').slice(0, -1)}0`;
    const mismatch = check('privilege', verified, { mrSeam: named('typo', near) });
    expect(mismatch).toMatchObject({ result: 'fail', code: 'MEASUREMENT_MISMATCH' });
    for (const part of [filled('5e'), 'typo', near]) expect(mismatch.reason).toContain(part);
    const missing = check('privilege', verified, { mrSeam: [] });
    expect(missing).toMatchObject({ result: 'fail', code: 'REFERENCE_VALUES_MISSING' });
    expect(missing.reason).toContain(filled('5e'));
    expect(outcome('privilege', verified, { mrSeam: 'any' })).toBe('pass OK');
  });

  test('a module that Intel did not sign, or that is none for production', async () => {
    const signer = await verifyEdited((view) => {
      view.setUint8(TD.mrSignerSeam, 1);
    });
    expect(outcome('privilege', signer)).toBe('fail PRIVILEGE_LEVEL_MISMATCH');
    const value = `01${ZERO.slice(2)}`;
    expect(outcome('privilege', signer, { mrSignerSeam: named('our own', value) })).toBe('pass OK');
    expect(outcome('tcb', signer, { mrSignerSeam: 'any' })).toBe('fail TCB_NOT_SUPPORTED');
    const attribute = await verifyEdited((view) => {
      view.setUint8(TD.seamAttributes + 7, 0x80);
    });
    expect(outcome('privilege', attribute)).toBe('fail PRIVILEGE_LEVEL_MISMATCH');
    expect(outcome('tcb', attribute, { seamAttributes: 'any' })).toBe('fail TCB_NOT_SUPPORTED');
  });

  test('a service TD: refused, named, accepted', async () => {
    const bound = await verifyEdited((view) => {
      view.setUint8(TD.mrServiceTd, 0x77);
    });
    const value = `77${ZERO.slice(2)}`;
    const privilege = (mrServiceTd: TdxPolicy['mrServiceTd']) => outcome('privilege', bound, { mrServiceTd });
    expect(privilege('zero')).toBe('fail PRIVILEGE_LEVEL_MISMATCH');
    expect(privilege('zero-when-present')).toBe('fail PRIVILEGE_LEVEL_MISMATCH');
    expect(privilege(named('migration TD', value))).toBe('pass OK');
    expect(privilege(named('none', ZERO))).toBe('fail MEASUREMENT_MISMATCH');
    expect(privilege([])).toBe('fail REFERENCE_VALUES_MISSING');
    expect(privilege('any')).toBe('skip NOT_REQUIRED');
  });

  test('a body of TD 1.0 does not state service TDs, which never passes', async () => {
    const older = await verifyEdited(undefined, 'td10');
    const privilege = (mrServiceTd: TdxPolicy['mrServiceTd']) => outcome('privilege', older, { mrServiceTd });
    expect(privilege('zero')).toBe('fail PRIVILEGE_LEVEL_MISMATCH');
    expect(privilege(named('none', ZERO))).toBe('fail PRIVILEGE_LEVEL_MISMATCH');
    expect(privilege('zero-when-present')).toBe('skip NOT_REQUIRED');
    expect(privilege('any')).toBe('skip NOT_REQUIRED');
  });
});

describe('measurements', () => {
  const registers = [
    ['mrTd', TD.mrTd, 'MRTD'],
    ['rtmr0', TD.rtmr0, 'RTMR0'],
    ['rtmr1', TD.rtmr1, 'RTMR1'],
    ['rtmr2', TD.rtmr2, 'RTMR2'],
    ['rtmr3', TD.rtmr3, 'RTMR3'],
    ['mrConfigId', TD.mrConfigId, 'MRCONFIGID'],
    ['mrOwner', TD.mrConfigId + 48, 'MROWNER'],
    ['mrOwnerConfig', TD.mrConfigId + 96, 'MROWNERCONFIG'],
  ] as const;

  test.each(registers)('%s with another value is refused, with both values', async (member, offset, name) => {
    const verified = await verifyEdited((view) => {
      view.setUint8(offset + 47, 0x99);
    });
    const mismatch = check('measurement', verified);
    expect(mismatch).toMatchObject({ result: 'fail', code: 'MEASUREMENT_MISMATCH' });
    const [wanted] = STRICT[member] as readonly { name: string; value: string }[];
    const seen = `${wanted!.value.slice(0, -2)}99`;
    for (const part of [`${name} is ${seen}`, wanted!.name, wanted!.value])
      expect(mismatch.reason).toContain(part);
    expect(outcome('measurement', verified, { [member]: 'any' })).not.toMatch(/^fail/);
  });

  test.each(registers)(
    '%s without reference values is not judged, naming it',
    async (member, _offset, name) => {
      const missing = check('measurement', await verifyEdited(), { [member]: [] });
      expect(missing).toMatchObject({ result: 'fail', code: 'REFERENCE_VALUES_MISSING' });
      expect(missing.reason).toContain(name);
    },
  );

  test('a mismatch counts before a missing value, and both are said', async () => {
    const both = { mrTd: [], rtmr2: named('other', ZERO) };
    const mismatch = check('measurement', await verifyEdited(), both);
    expect(mismatch.code).toBe('MEASUREMENT_MISMATCH');
    expect(mismatch.reason).toContain('no reference value for MRTD');
  });

  test('any of several named values will do, and the nearest is shown', async () => {
    const far = { name: 'far', value: ZERO };
    const near = { name: 'near', value: `${filled('d0').slice(0, -1)}1` };
    const good = { name: 'firmware 1', value: filled('d0') };
    expect(outcome('measurement', await verifyEdited(), { mrTd: [far, near, good] })).toBe('pass OK');
    const mismatch = check('measurement', await verifyEdited(), { mrTd: [far, near] });
    expect(mismatch.reason).toContain(near.value);
    expect(mismatch.reason).not.toContain('far');
  });

  test('a pass needs the firmware and something that it started', async () => {
    const verified = await verifyEdited();
    const none = { rtmr0: 'any', rtmr1: 'any', rtmr2: 'any' } as const;
    expect(outcome('measurement', verified, none)).toBe('skip NOT_REQUIRED');
    expect(outcome('measurement', verified, { ...none, rtmr1: STRICT.rtmr1 })).toBe('pass OK');
    expect(outcome('measurement', verified, { mrTd: 'any' })).toBe('skip NOT_REQUIRED');
  });
});

test('the platform must be listed', async () => {
  const verified = await verifyEdited();
  const identity = (platform: Partial<TdxPolicy['platform']>) =>
    outcome('identity', verified, { platform: { ...STRICT.platform, ...platform } });
  expect(identity({ ppids: 'any', fmspcs: 'any' })).toBe('pass OK');
  expect(identity({ ppids: ['00'.repeat(16)] })).toBe('fail DEVICE_NOT_ALLOWED');
  expect(identity({ fmspcs: ['00'.repeat(6)] })).toBe('fail DEVICE_NOT_ALLOWED');
  expect(identity({ fmspcs: ['00'.repeat(6)], ppids: 'any' })).toBe('fail DEVICE_NOT_ALLOWED');
});

test('the registers are there for a boot log to be replayed to', async () => {
  const { report } = await verifyEdited();
  expect(report.rtmrs.map((rtmr) => rtmr[0])).toEqual([0xa0, 0xa1, 0xa2, 0]);
});
