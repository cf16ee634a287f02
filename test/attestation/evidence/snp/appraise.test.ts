import { beforeAll, describe, expect, test } from '@jest/globals';
import { toHex } from '../../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { appraiseSnp } from '../../../../attestation/evidence/snp/appraise.ts';
import { verifySnp, type VerifiedSnp } from '../../../../attestation/evidence/snp/verify.ts';
import type { SnpPolicy } from '../../../../attestation/policy/policy.ts';
import {
  CHIP_ID,
  generateChipKeys,
  genoaReport,
  mintAuthority,
  NOW,
  signReport,
} from '../../../support/snpAuthority.ts';

const MEASUREMENT = 'a5'.repeat(48);
const CHIP = toHex(CHIP_ID);

/** Accepts exactly the minted report. */
const STRICT: SnpPolicy = {
  products: ['genoa'],
  endorsementKeys: ['vcek'],
  debug: 'refused',
  migration: 'refused',
  smt: 'accepted',
  vmpls: [0],
  minimumTcb: { fmc: 9, bootloader: 10, tee: 0, snp: 27, microcode: 200 },
  chipIds: [CHIP],
  measurements: [{ name: 'release 1', value: MEASUREMENT }],
  revocation: 'when-present',
};

let verifyEdited: (edit?: (view: DataView) => void) => Promise<VerifiedSnp>;

beforeAll(async () => {
  const [authority, keys] = await Promise.all([mintAuthority(), generateChipKeys()]);
  const certificates = [await authority.issueVek(keys), authority.ask, authority.ark];
  const options = { crypto: nodeCrypto, now: NOW, anchors: [authority.anchor], crls: [] };
  verifyEdited = async (edit = () => undefined) => {
    const report = genoaReport();
    edit(new DataView(report.buffer));
    const evidence = { report: await signReport(report, keys), certificates };
    return verifySnp(evidence, { ...options, revocation: 'when-present' });
  };
});

/** `result code` of each check. */
function outcome(verified: VerifiedSnp, policy: Partial<SnpPolicy> = {}): Record<string, string> {
  const checks = appraiseSnp(verified, { ...STRICT, ...policy });
  return Object.fromEntries(checks.map(({ id, result, code }) => [id, `${result} ${code}`]));
}

describe('appraiseSnp', () => {
  test('passes what the policy names, in the order of the list of checks', async () => {
    const checks = appraiseSnp(await verifyEdited(), STRICT);
    expect(checks.map(({ id, subject, result }) => `${id} ${subject} ${result}`)).toEqual([
      'cpu.debug cpu pass',
      'cpu.guest-policy cpu pass',
      'cpu.privilege cpu pass',
      'cpu.tcb cpu pass',
      'cpu.identity cpu pass',
      'cpu.measurement cpu pass',
    ]);
    expect(checks[5]?.reason).toContain('release 1');
  });

  test('debugging is refused, and never passes where it is accepted', async () => {
    const debug = await verifyEdited((view) => {
      view.setBigUint64(8, 0xb0000n, true);
    });
    expect(outcome(debug)['cpu.debug']).toBe('fail DEBUG_ENABLED');
    expect(outcome(debug, { debug: 'accepted' })['cpu.debug']).toBe('skip NOT_REQUIRED');
    expect(outcome(await verifyEdited(), { debug: 'accepted' })['cpu.debug']).toBe('pass OK');
  });

  test('a migration agent and multithreading are refused or accepted each for itself', async () => {
    const migration = await verifyEdited((view) => {
      view.setBigUint64(8, 0x70000n, true);
    });
    const violated = 'fail GUEST_POLICY_VIOLATED';
    expect(outcome(migration)['cpu.guest-policy']).toBe(violated);
    expect(outcome(migration, { migration: 'accepted' })['cpu.guest-policy']).toBe('pass OK');
    expect(outcome(migration, { migration: 'accepted', smt: 'refused' })['cpu.guest-policy']).toBe(violated);
  });

  test('the privilege level must be listed; a host request never is', async () => {
    const third = await verifyEdited((view) => {
      view.setUint32(0x30, 3, true);
    });
    expect(outcome(third)['cpu.privilege']).toBe('fail PRIVILEGE_LEVEL_MISMATCH');
    expect(outcome(third, { vmpls: [0, 3] })['cpu.privilege']).toBe('pass OK');
    const host = await verifyEdited((view) => {
      view.setUint32(0x30, 0xffffffff, true);
    });
    expect(outcome(host, { vmpls: [0, 1, 2, 3] })['cpu.privilege']).toBe('fail PRIVILEGE_LEVEL_MISMATCH');
  });

  test.each(['bootloader', 'tee', 'snp', 'microcode'] as const)(
    '%s below its minimum is refused',
    async (name) => {
      const floor = { fmc: 0, bootloader: 10, tee: 0, snp: 27, microcode: 200 };
      const minimumTcb = { ...floor, [name]: floor[name] + 1 };
      const [check] = appraiseSnp(await verifyEdited(), { ...STRICT, minimumTcb }).filter(
        ({ id }) => id === 'cpu.tcb',
      );
      expect(check).toMatchObject({ result: 'fail', code: 'TCB_OUT_OF_DATE' });
      expect(check?.reason.startsWith(name)).toBe(true);
    },
  );

  test('no minimum proves nothing', async () => {
    expect(outcome(await verifyEdited(), { minimumTcb: 'any' })['cpu.tcb']).toBe('skip NOT_REQUIRED');
  });

  test('the chip, its product and the kind of its key must be listed', async () => {
    const verified = await verifyEdited();
    const identity = (policy: Partial<SnpPolicy>) => outcome(verified, policy)['cpu.identity'];
    expect(identity({ chipIds: 'any' })).toBe('pass OK');
    expect(identity({ chipIds: ['00'.repeat(64)] })).toBe('fail DEVICE_NOT_ALLOWED');
    expect(identity({ products: ['milan', 'turin'] })).toBe('fail DEVICE_NOT_ALLOWED');
    expect(identity({ endorsementKeys: ['vlek'] })).toBe('fail UNTRUSTED_KEY');
  });

  test('measurements: none known, another one, any', async () => {
    const verified = await verifyEdited();
    const measured = (measurements: SnpPolicy['measurements']) =>
      appraiseSnp(verified, { ...STRICT, measurements })[5];
    expect(measured([])).toMatchObject({ result: 'fail', code: 'REFERENCE_VALUES_MISSING' });
    expect(measured([])?.reason).toContain(MEASUREMENT);
    const near = { name: 'typo', value: `${MEASUREMENT.slice(0, -1)}0` };
    const far = { name: 'far', value: '00'.repeat(48) };
    const mismatch = measured([far, near]);
    expect(mismatch).toMatchObject({ result: 'fail', code: 'MEASUREMENT_MISMATCH' });
    for (const part of [MEASUREMENT, near.name, near.value]) expect(mismatch?.reason).toContain(part);
    expect(measured('any')).toMatchObject({ result: 'skip', code: 'NOT_REQUIRED' });
  });
});
