import { beforeAll, describe, expect, test } from '@jest/globals';
import { toHex } from '../../../../attestation/bytes/bytes.ts';
import type { Check, CheckId } from '../../../../attestation/checks.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { appraiseSnp } from '../../../../attestation/evidence/snp/appraise.ts';
import { verifySnp, type VerifiedSnp } from '../../../../attestation/evidence/snp/verify.ts';
import type { SnpPolicy, SnpTcbMinimum } from '../../../../attestation/policy/snp.ts';
import {
  CHIP_ID,
  derInteger,
  generateChipKeys,
  genoaReport,
  ia5String,
  mintAuthority,
  NOW,
  signReport,
  type SnpAuthority,
} from '../../../support/snpAuthority.ts';
import { LAX_SNP_POLICY } from '../../../support/snpPolicy.ts';
import { refusalOfAsync } from '../../../support/refusal.ts';

const MEASUREMENT = 'a5'.repeat(48);
const CHIP = toHex(CHIP_ID);
const CSP = 'CN=cloud.example';
/** CPUID of the minted report: model 0x11, stepping 1. */
const FLOOR = { product: 'genoa', cpuid: 'any', bootloader: 10, tee: 0, snp: 27, microcode: 200 } as const;

/** Accepts exactly the minted report. */
const STRICT: SnpPolicy = {
  ...LAX_SNP_POLICY,
  products: ['genoa'],
  endorsementKeys: ['vcek'],
  debug: 'refused',
  migration: 'refused',
  migrationAgents: 'none',
  vmpls: [0],
  minimumTcb: { reported: [FLOOR], committed: [FLOOR], launch: [FLOOR] },
  chipIds: [CHIP],
  measurements: [{ name: 'release 1', value: MEASUREMENT }],
};

type Keys = Awaited<ReturnType<typeof generateChipKeys>>;
type Edit = (view: DataView, report: Uint8Array) => void;

let authority: SnpAuthority, keys: Keys, vcek: Uint8Array, vlek: Uint8Array;

beforeAll(async () => {
  [authority, keys] = await Promise.all([mintAuthority(), generateChipKeys()]);
  vcek = await authority.issueVek(keys);
  vlek = await authority.issueVek(keys, { extensions: { '4': undefined, '5': ia5String(CSP) } });
});

/** The minted report as edited, signed and verified. */
async function verifyEdited(edit: Edit = () => undefined, vek = vcek): Promise<VerifiedSnp> {
  const report = genoaReport();
  edit(new DataView(report.buffer), report);
  const evidence = {
    report: await signReport(report, keys),
    certificates: [vek, authority.ask, authority.ark],
  };
  const anchors = [authority.anchor];
  return verifySnp(evidence, { crypto: nodeCrypto, now: NOW, anchors, crls: [], revocation: 'when-present' });
}

/** Signed with the VLEK, which is of no chip. */
function verifyVlek(edit: Edit = () => undefined): Promise<VerifiedSnp> {
  const masked: Edit = (view, report) => {
    view.setUint32(0x048, 0x4, true);
    report.fill(0, 0x1a0, 0x1e0);
    edit(view, report);
  };
  return verifyEdited(masked, vlek);
}

function check(id: CheckId, verified: VerifiedSnp, policy: Partial<SnpPolicy>, base = STRICT): Check {
  const found = appraiseSnp(verified, { ...base, ...policy }).find((candidate) => candidate.id === id);
  if (!found) throw new Error(`no check ${id}`);
  return found;
}

/** `result code` of each check. */
function outcome(verified: VerifiedSnp, policy: Partial<SnpPolicy> = {}): Record<string, string> {
  const checks = appraiseSnp(verified, { ...STRICT, ...policy });
  return Object.fromEntries(checks.map(({ id, result, code }) => [id, `${result} ${code}`]));
}

/** Guest policy with the bits, and bit 17, which must be one. */
function guestPolicy(...bits: readonly number[]): Edit {
  return (view) => {
    const value = bits.reduce((sum, bit) => sum | (1n << BigInt(bit)), 1n << 17n);
    view.setBigUint64(0x008, value, true);
  };
}

function platformInfo(...bits: readonly number[]): Edit {
  return (view) => {
    view.setBigUint64(
      0x040,
      bits.reduce((sum, bit) => sum | (1n << BigInt(bit)), 0n),
      true,
    );
  };
}

function both(...edits: readonly Edit[]): Edit {
  return (view, report) => edits.forEach((edit) => edit(view, report));
}

function fill(value: number, start: number, end: number): Edit {
  return (_view, report) => report.fill(value, start, end);
}

function named(value: string) {
  return [{ name: 'known', value }];
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
    const debug = await verifyEdited(guestPolicy(16, 19));
    expect(outcome(debug)['cpu.debug']).toBe('fail DEBUG_ENABLED');
    expect(outcome(debug, { debug: 'accepted' })['cpu.debug']).toBe('skip NOT_REQUIRED');
    expect(outcome(await verifyEdited(), { debug: 'accepted' })['cpu.debug']).toBe('pass OK');
  });

  test('the privilege level must be listed; a host request never is', async () => {
    const third = await verifyEdited((view) => view.setUint32(0x30, 3, true));
    expect(outcome(third)['cpu.privilege']).toBe('fail PRIVILEGE_LEVEL_MISMATCH');
    expect(outcome(third, { vmpls: [0, 3] })['cpu.privilege']).toBe('pass OK');
    const host = await verifyEdited((view) => view.setUint32(0x30, 0xffffffff, true));
    expect(outcome(host, { vmpls: [0, 1, 2, 3] })['cpu.privilege']).toBe('fail PRIVILEGE_LEVEL_MISMATCH');
  });
});

describe('launch options', () => {
  const ID = 'cpu.guest-policy';
  const VIOLATED = { result: 'fail', code: 'GUEST_POLICY_VIOLATED' };

  test.each<[string, Partial<SnpPolicy>, Edit, Edit, string]>([
    ['a migration agent', { migration: 'refused' }, guestPolicy(), guestPolicy(18), 'bit 18'],
    ['multithreading', { smt: 'refused' }, guestPolicy(), guestPolicy(16), 'bit 16'],
    ['several sockets', { singleSocket: 'required' }, guestPolicy(20), guestPolicy(), 'bit 20'],
    ['CXL', { cxl: 'refused' }, guestPolicy(), guestPolicy(21), 'bit 21'],
    ['a weaker cipher', { memoryAes256Xts: 'required' }, guestPolicy(22), guestPolicy(), 'bit 22'],
    [
      'RAPL in the guest policy',
      { rapl: 'disabled' },
      both(guestPolicy(23), platformInfo(3)),
      platformInfo(3),
      'bit 23',
    ],
    [
      'RAPL on the platform',
      { rapl: 'disabled' },
      both(guestPolicy(23), platformInfo(3)),
      guestPolicy(23),
      'bit 3',
    ],
    [
      'ciphertext that the guest policy leaves readable',
      { ciphertextHiding: 'required' },
      both(guestPolicy(24), platformInfo(4)),
      platformInfo(4),
      'bit 24',
    ],
    [
      'ciphertext that the platform leaves readable',
      { ciphertextHiding: 'required' },
      both(guestPolicy(24), platformInfo(4)),
      guestPolicy(24),
      'bit 4',
    ],
    ['page swapping', { pageSwap: 'disabled' }, guestPolicy(25), guestPolicy(), 'bit 25'],
  ])('%s', async (_what, rule, good, bad, names) => {
    expect(check(ID, await verifyEdited(good), rule, LAX_SNP_POLICY).result).toBe('pass');
    const refused = await verifyEdited(bad);
    expect(check(ID, refused, rule, LAX_SNP_POLICY)).toMatchObject(VIOLATED);
    expect(check(ID, refused, rule, LAX_SNP_POLICY).reason).toContain(names);
    expect(check(ID, refused, {}, LAX_SNP_POLICY).result).toBe('pass');
  });

  type PlatformRules = Partial<SnpPolicy['platformInfo']>;

  test.each<[string, PlatformRules, Edit, Edit, string]>([
    ['multithreading', { smt: 'disabled' }, platformInfo(), platformInfo(0), 'bit 0'],
    ['no TSME', { tsme: 'required' }, platformInfo(1), platformInfo(), 'bit 1'],
    ['no ECC', { ecc: 'required' }, platformInfo(2), platformInfo(), 'bit 2'],
    ['no alias check', { aliasCheckComplete: 'required' }, platformInfo(5), platformInfo(), 'bit 5'],
    ['an unsafe IOMMU', { iommuWriteSafe: 'required' }, platformInfo(6), platformInfo(), 'bit 6'],
    ['no trusted I/O', { tio: 'required' }, platformInfo(7), platformInfo(), 'bit 7'],
    ['trusted I/O', { tio: 'disabled' }, platformInfo(), platformInfo(7), 'bit 7'],
  ])('platform with %s', async (_what, rule, good, bad, names) => {
    const policy = { platformInfo: { ...LAX_SNP_POLICY.platformInfo, ...rule } };
    expect(check(ID, await verifyEdited(good), policy, LAX_SNP_POLICY).result).toBe('pass');
    const refused = await verifyEdited(bad);
    expect(check(ID, refused, policy, LAX_SNP_POLICY)).toMatchObject(VIOLATED);
    expect(check(ID, refused, policy, LAX_SNP_POLICY).reason).toContain(names);
    expect(check(ID, refused, {}, LAX_SNP_POLICY).result).toBe('pass');
  });

  test('names every option that is violated', async () => {
    const verified = await verifyEdited(both(guestPolicy(16, 18), platformInfo(7)));
    const policy: Partial<SnpPolicy> = {
      migration: 'refused',
      smt: 'refused',
      platformInfo: { ...LAX_SNP_POLICY.platformInfo, tio: 'disabled' },
    };
    const { reason } = check(ID, verified, policy, LAX_SNP_POLICY);
    for (const part of ['bit 16', 'bit 18', 'bit 7', '0x70000', '0x80']) expect(reason).toContain(part);
    const { reason: rest } = check(ID, verified, { ...policy, migration: 'accepted' }, LAX_SNP_POLICY);
    expect(rest).not.toContain('bit 18');
  });

  test.each<[number, number, 'pass' | 'fail']>([
    [1, 50, 'pass'],
    [1, 51, 'pass'],
    [2, 0, 'pass'],
    [1, 49, 'fail'],
    [0, 255, 'fail'],
  ])('a guest that demands ABI %i.%i, minimum 1.50: %s', async (major, minor, result) => {
    const verified = await verifyEdited((view) =>
      view.setBigUint64(0x008, 0x30000n | (BigInt(major) << 8n) | BigInt(minor), true),
    );
    const minimumAbi = { major: 1, minor: 50 };
    const found = check(ID, verified, { minimumAbi });
    expect(found.result).toBe(result);
    expect(found.reason).toContain(`ABI ${major}.${minor}, minimum 1.50`);
    if (result === 'fail') expect(found.code).toBe('GUEST_POLICY_VIOLATED');
  });

  test('a guest is bound to no migration agent or to a named one', async () => {
    const agent = 'cd'.repeat(32);
    const listed = { migrationAgents: named(agent) };
    const bound = await verifyEdited(fill(0xcd, 0x160, 0x180));
    expect(check(ID, bound, { migrationAgents: 'none' })).toMatchObject(VIOLATED);
    expect(check(ID, bound, { migrationAgents: 'none' }).reason).toContain(agent);
    expect(check(ID, bound, { migrationAgents: named('ce'.repeat(32)) })).toMatchObject(VIOLATED);
    expect(check(ID, bound, listed).reason).toContain('which is known');
    expect(check(ID, bound, listed).result).toBe('pass');
    expect(check(ID, bound, { migrationAgents: 'any' }).result).toBe('pass');
    for (const unbound of [await verifyEdited(), await verifyEdited(fill(0xff, 0x160, 0x180))]) {
      expect(check(ID, unbound, listed).result).toBe('pass');
      expect(check(ID, unbound, { migrationAgents: 'none' }).result).toBe('pass');
    }
  });
});

describe('firmware level', () => {
  const ID = 'cpu.tcb';
  const OUT_OF_DATE = { result: 'fail', code: 'TCB_OUT_OF_DATE' };
  const LEVEL_OFFSET = { committed: 0x1e0, launch: 0x1f0 } as const;
  /** With a minimum of the reported TCB, without which nothing passes. */
  const BASE: SnpPolicy = {
    ...LAX_SNP_POLICY,
    minimumTcb: { ...LAX_SNP_POLICY.minimumTcb, reported: [FLOOR] },
  };

  function floors(level: keyof SnpPolicy['minimumTcb'], ...minimums: readonly SnpTcbMinimum[]) {
    return { minimumTcb: { ...BASE.minimumTcb, [level]: minimums } };
  }

  const COMPONENTS = ['bootloader', 'tee', 'snp', 'microcode'] as const;

  test.each(COMPONENTS)('%s of the reported TCB below its minimum is refused', async (name) => {
    const floor = { ...FLOOR, [name]: FLOOR[name] + 1 };
    const found = check(ID, await verifyEdited(), floors('reported', floor));
    expect(found).toMatchObject(OUT_OF_DATE);
    expect(found.reason.startsWith(`${name} behind: reported TCB`)).toBe(true);
  });

  describe.each(['committed', 'launch'] as const)('%s TCB', (level) => {
    const floor = { ...FLOOR, tee: 1 };
    const writeTcb = (tcb: Record<(typeof COMPONENTS)[number], number>): Edit => {
      const { bootloader, tee, snp, microcode } = tcb;
      return (_view, report) =>
        report.set([bootloader, tee, 0, 0, 0, 0, snp, microcode], LEVEL_OFFSET[level]);
    };

    test.each(COMPONENTS)('%s below its minimum is refused', async (name) => {
      const enough = await verifyEdited(writeTcb(floor));
      expect(check(ID, enough, floors(level, floor), BASE).result).toBe('pass');
      const older = await verifyEdited(writeTcb({ ...floor, [name]: floor[name] - 1 }));
      const found = check(ID, older, floors(level, floor), BASE);
      expect(found).toMatchObject(OUT_OF_DATE);
      expect(found.reason).toContain(`${name} behind: ${level} TCB`);
    });
  });

  test('Turin has a first component of its own', async () => {
    const turin = await mintAuthority('turin');
    const chip = CHIP_ID.subarray(0, 8);
    const levels = { '3.9': 1, '3.1': 2, '3.2': 3, '3.3': 4, '3.8': 81 };
    const svns = Object.entries(levels).map(([arc, level]) => [arc, derInteger(level)] as const);
    const extensions = { ...Object.fromEntries(svns), '2': ia5String('Turin'), '4': chip };
    const certificates = [await turin.issueVek(keys, { extensions }), turin.ask, turin.ark];
    const report = genoaReport();
    for (const offset of [0x038, 0x180, 0x1e0, 0x1f0]) report.set([1, 2, 3, 4, 0, 0, 0, 81], offset);
    report.set([0x1a, 0x02, 0x01], 0x188);
    report.fill(0, 0x1a8, 0x1e0);
    const verified = await verifySnp(
      { report: await signReport(report, keys), certificates },
      { crypto: nodeCrypto, now: NOW, anchors: [turin.anchor], crls: [], revocation: 'when-present' },
    );
    const floor = {
      product: 'turin',
      cpuid: 'any',
      fmc: 1,
      bootloader: 2,
      tee: 3,
      snp: 4,
      microcode: 81,
    } as const;
    expect(check(ID, verified, floors('reported', floor, FLOOR)).result).toBe('pass');
    const found = check(ID, verified, floors('reported', { ...floor, fmc: 2 }));
    expect(found).toMatchObject(OUT_OF_DATE);
    expect(found.reason).toContain('fmc behind: reported TCB fmc 1, bootloader 2');
  });

  test('without a minimum of the reported TCB nothing is proved, but anything can refuse', async () => {
    const any = LAX_SNP_POLICY.minimumTcb;
    const verified = await verifyEdited();
    expect(check(ID, verified, { minimumTcb: any })).toMatchObject({ result: 'skip', code: 'NOT_REQUIRED' });
    const committed = { minimumTcb: { ...any, committed: [FLOOR] } };
    expect(check(ID, verified, committed)).toMatchObject({ result: 'skip', code: 'NOT_REQUIRED' });
    const newer = { minimumTcb: { ...any, committed: [{ ...FLOOR, snp: 28 }] } };
    expect(check(ID, verified, newer)).toMatchObject(OUT_OF_DATE);
  });

  test('a minimum for one kind of chip is for no other', async () => {
    const verified = await verifyEdited();
    const own = { ...FLOOR, cpuid: { model: 0x11, stepping: 1 } };
    const other = { ...FLOOR, cpuid: { model: 0xa0, stepping: 2 }, microcode: 255 };
    expect(check(ID, verified, floors('reported', own, other)).result).toBe('pass');
    expect(check(ID, verified, floors('reported', { ...own, snp: 28 }, other))).toMatchObject(OUT_OF_DATE);
    expect(check(ID, verified, floors('reported', own, { ...FLOOR, snp: 28 }))).toMatchObject(OUT_OF_DATE);
    for (const elsewhere of [other, { ...own, cpuid: { model: 0x11, stepping: 2 } }]) {
      const found = check(ID, verified, floors('reported', elsewhere));
      expect(found).toMatchObject({ result: 'fail', code: 'REFERENCE_VALUES_MISSING' });
      expect(found.reason).toContain('genoa model 0x11 stepping 1');
    }
    const milan = check(ID, verified, floors('reported', { ...FLOOR, product: 'milan' }));
    expect(milan).toMatchObject({ result: 'fail', code: 'REFERENCE_VALUES_MISSING' });
  });

  test('a report that states no CPUID meets every minimum of its product', async () => {
    const silent = await verifyEdited((view, report) => {
      view.setUint32(0, 2, true);
      report.fill(0, 0x188, 0x18b);
    });
    const own = { ...FLOOR, cpuid: { model: 0x11, stepping: 1 } };
    const other = { ...FLOOR, cpuid: { model: 0xa0, stepping: 2 }, microcode: 201 };
    expect(check(ID, silent, floors('reported', own, { ...other, product: 'milan' })).result).toBe('pass');
    expect(check(ID, silent, floors('reported', own, other))).toMatchObject(OUT_OF_DATE);
  });

  test.each<[readonly [number, number, number], 'pass' | 'fail']>([
    [[1, 55, 40], 'pass'],
    [[1, 55, 41], 'pass'],
    [[1, 56, 0], 'pass'],
    [[2, 0, 0], 'pass'],
    [[1, 55, 39], 'fail'],
    [[1, 54, 99], 'fail'],
    [[0, 99, 99], 'fail'],
  ])('committed firmware %j, minimum 1.55.40: %s', async ([major, minor, build], result) => {
    const verified = await verifyEdited((_view, report) => report.set([build, minor, major], 0x1ec));
    const minimum = { product: 'genoa', major: 1, minor: 55, build: 40 } as const;
    const found = check(ID, verified, { minimumFirmware: [minimum] }, BASE);
    expect(found.result).toBe(result);
    expect(found.reason).toContain(`committed firmware ${major}.${minor}.${build}; minimum 1.55.40`);
    if (result === 'fail') expect(found).toMatchObject(OUT_OF_DATE);
    const milan = check(ID, verified, { minimumFirmware: [{ ...minimum, product: 'milan' }] }, BASE);
    expect(milan).toMatchObject({ result: 'fail', code: 'REFERENCE_VALUES_MISSING' });
  });

  test.each<['launch' | 'current', number]>([
    ['launch', 0x1f8],
    ['current', 0x200],
  ])('%s mitigations must have the required bits', async (when, offset) => {
    const verified = await verifyEdited((view) => view.setBigUint64(offset, 0b1011n | (1n << 63n), true));
    const rule = (...bits: readonly number[]) => ({
      requiredMitigations: { ...LAX_SNP_POLICY.requiredMitigations, [when]: bits },
    });
    expect(check(ID, verified, rule(0, 1, 3, 63), BASE).result).toBe('pass');
    const found = check(ID, verified, rule(0, 2, 5), BASE);
    expect(found).toMatchObject(OUT_OF_DATE);
    expect(found.reason).toContain(`${when} mitigations 0x800000000000000b lack 2, 5`);
    const silent = await verifyEdited((view) => view.setUint32(0, 4, true));
    expect(check(ID, silent, rule(0), BASE)).toMatchObject(OUT_OF_DATE);
    expect(check(ID, silent, rule(0), BASE).reason).toContain('version 4 states no');
  });

  test('what is out of date weighs more than a minimum that is missing', async () => {
    const rule = {
      minimumTcb: {
        ...BASE.minimumTcb,
        reported: [{ ...FLOOR, product: 'milan' as const }],
        launch: [{ ...FLOOR, snp: 28 }],
      },
    };
    expect(check(ID, await verifyEdited(), rule)).toMatchObject(OUT_OF_DATE);
  });
});

describe('chip', () => {
  const ID = 'cpu.identity';

  test('the chip, its product and the kind of its key must be listed', async () => {
    const verified = await verifyEdited();
    const identity = (policy: Partial<SnpPolicy>) => outcome(verified, policy)[ID];
    expect(identity({ chipIds: 'any' })).toBe('pass OK');
    expect(identity({ chipIds: ['00'.repeat(64)] })).toBe('fail DEVICE_NOT_ALLOWED');
    expect(identity({ products: ['milan', 'turin'] })).toBe('fail DEVICE_NOT_ALLOWED');
    expect(identity({ endorsementKeys: ['vlek'] })).toBe('fail UNTRUSTED_KEY');
  });

  test('a VLEK is of no chip, but of a provider', async () => {
    const verified = await verifyVlek();
    const identity = (policy: Partial<SnpPolicy>) => check(ID, verified, policy, LAX_SNP_POLICY);
    expect(identity({ cspIds: [CSP] })).toMatchObject({ result: 'pass' });
    expect(identity({ cspIds: [CSP] }).reason).toContain(`${CSP} is listed`);
    expect(identity({ cspIds: ['CN=other.example'] })).toMatchObject({
      result: 'fail',
      code: 'DEVICE_NOT_ALLOWED',
    });
    expect(identity({ cspIds: ['CN=other.example'] }).reason).toContain(CSP);
    expect(identity({ chipIds: ['00'.repeat(64)] })).toMatchObject({ code: 'DEVICE_NOT_ALLOWED' });
    expect(identity({ endorsementKeys: ['vcek'] })).toMatchObject({ code: 'UNTRUSTED_KEY' });
  });

  test('a VCEK names no provider, so a list of providers refuses it', async () => {
    const found = check(ID, await verifyEdited(), { cspIds: [CSP] }, LAX_SNP_POLICY);
    expect(found).toMatchObject({ result: 'fail', code: 'DEVICE_NOT_ALLOWED' });
  });

  test('a masked chip key cannot have signed; under a VLEK it may be masked', async () => {
    const masked = await verifyEdited((view) => view.setUint32(0x048, 0x2, true));
    expect(check(ID, masked, {}, LAX_SNP_POLICY)).toMatchObject({ result: 'fail', code: 'UNTRUSTED_KEY' });
    const lent = await verifyVlek((view) => view.setUint32(0x048, 0x6, true));
    expect(check(ID, lent, {}, LAX_SNP_POLICY).result).toBe('pass');
  });

  test('a report that names no signing key does not verify', async () => {
    const unsigned = await refusalOfAsync(() => verifyEdited((view) => view.setUint32(0x048, 0x1e, true)));
    expect(unsigned).toMatchObject({ code: 'ALGORITHM_MISMATCH', check: 'cpu.endorsement' });
  });
});

describe('launched software', () => {
  const ID = 'cpu.measurement';
  const MISMATCH = { result: 'fail', code: 'MEASUREMENT_MISMATCH' };
  const UNTRUSTED = { result: 'fail', code: 'UNTRUSTED_KEY' };
  const MISSING = { result: 'fail', code: 'REFERENCE_VALUES_MISSING' };
  const ID_KEY = '1d'.repeat(48);
  const AUTHOR_KEY = 'a7'.repeat(48);
  /** An ID block by the id key, which the author key signed. */
  const idBlock: Edit = both(
    fill(0x1d, 0x0e0, 0x110),
    fill(0xa7, 0x110, 0x140),
    (view) => view.setUint32(0x048, 0x1, true),
    (view) => view.setUint32(0x004, 7, true),
    fill(0xfa, 0x010, 0x020),
    fill(0x1a, 0x020, 0x030),
  );
  const OWN_BLOCK = { idKeyDigests: named(ID_KEY), authorKeyDigests: 'any' } as const;

  test('measurements: none known, another one, any', async () => {
    const verified = await verifyEdited();
    const measured = (measurements: SnpPolicy['measurements']) => check(ID, verified, { measurements });
    expect(measured([])).toMatchObject(MISSING);
    expect(measured([]).reason).toContain(MEASUREMENT);
    const near = { name: 'typo', value: `${MEASUREMENT.slice(0, -1)}0` };
    const far = { name: 'far', value: '00'.repeat(48) };
    for (const list of [
      [far, near],
      [near, far],
    ]) {
      expect(measured(list)).toMatchObject(MISMATCH);
      for (const part of [MEASUREMENT, near.name, near.value]) expect(measured(list).reason).toContain(part);
    }
    expect(measured('any')).toMatchObject({ result: 'skip', code: 'NOT_REQUIRED' });
  });

  test('host data must be named, and alone proves no software', async () => {
    const verified = await verifyEdited(fill(0xd0, 0x0c0, 0x0e0));
    const value = 'd0'.repeat(32);
    const judged = (hostData: SnpPolicy['hostData']) => check(ID, verified, { hostData });
    expect(judged(named(value))).toMatchObject({ result: 'pass' });
    expect(judged(named(value)).reason).toContain(`host data ${value} is known`);
    expect(judged(named('d1'.repeat(32)))).toMatchObject(MISMATCH);
    expect(judged(named('d1'.repeat(32))).reason).toContain(
      `host data is ${value}; nearest of 1 is known: d1d1`,
    );
    expect(judged([])).toMatchObject(MISSING);
    const alone = { hostData: named(value), measurements: 'any' } as const;
    expect(check(ID, verified, alone)).toMatchObject({ result: 'skip', code: 'NOT_REQUIRED' });
  });

  test('id keys must be named; a guest without an ID block has none', async () => {
    const verified = await verifyEdited(idBlock);
    const judged = (idKeyDigests: { name: string; value: string }[], report = verified) =>
      check(ID, report, { idBlock: { idKeyDigests, authorKeyDigests: 'any' } });
    expect(judged(named(ID_KEY))).toMatchObject({ result: 'pass' });
    expect(judged(named(AUTHOR_KEY))).toMatchObject(UNTRUSTED);
    expect(judged(named(AUTHOR_KEY)).reason).toContain(`id key digest is ${ID_KEY}`);
    expect(judged([])).toMatchObject(MISSING);
    const without = await verifyEdited();
    for (const keys of [named(ID_KEY), named('00'.repeat(48)), []]) {
      expect(judged(keys, without)).toMatchObject(UNTRUSTED);
      expect(judged(keys, without).reason).toContain('without an ID block');
    }
  });

  test('an author key counts only where firmware checked one', async () => {
    const judged = (report: VerifiedSnp, value = AUTHOR_KEY) =>
      check(ID, report, { idBlock: { idKeyDigests: 'any', authorKeyDigests: named(value) } });
    expect(judged(await verifyEdited(idBlock))).toMatchObject({ result: 'pass' });
    expect(judged(await verifyEdited(idBlock), ID_KEY)).toMatchObject(UNTRUSTED);
    const disabled = both(idBlock, (view) => view.setUint32(0x048, 0, true));
    expect(judged(await verifyEdited(disabled))).toMatchObject(UNTRUSTED);
    expect(judged(await verifyEdited(disabled)).reason).toContain('no author key');
    const empty = both(idBlock, fill(0, 0x110, 0x140));
    expect(judged(await verifyEdited(empty), '00'.repeat(48))).toMatchObject(UNTRUSTED);
  });

  test('a named signer vouches for a measurement that the policy does not name', async () => {
    const verified = await verifyEdited(idBlock);
    expect(check(ID, verified, { measurements: 'any', idBlock: OWN_BLOCK })).toMatchObject({
      result: 'pass',
    });
    expect(check(ID, verified, { measurements: [], idBlock: OWN_BLOCK })).toMatchObject(MISSING);
  });

  test.each<['familyIds' | 'imageIds', string, string]>([
    ['familyIds', 'family id', 'fa'.repeat(16)],
    ['imageIds', 'image id', '1a'.repeat(16)],
  ])('%s must be named', async (member, what, value) => {
    const verified = await verifyEdited(idBlock);
    const judged = (list: { name: string; value: string }[]) =>
      check(ID, verified, { idBlock: OWN_BLOCK, [member]: list });
    expect(judged(named(value))).toMatchObject({ result: 'pass' });
    expect(judged(named('00'.repeat(16)))).toMatchObject(MISMATCH);
    expect(judged(named('00'.repeat(16))).reason).toContain(`${what} is ${value}`);
    expect(judged([])).toMatchObject(MISSING);
  });

  test('a guest SVN below its minimum is refused', async () => {
    const verified = await verifyEdited(idBlock);
    const judged = (minimumGuestSvn: number) => check(ID, verified, { idBlock: OWN_BLOCK, minimumGuestSvn });
    expect(judged(7)).toMatchObject({ result: 'pass' });
    expect(judged(8)).toMatchObject(MISMATCH);
    expect(judged(8).reason).toContain('guest SVN 7, minimum 8');
  });

  test('what speaks against the guest weighs more than values that are missing', async () => {
    const found = check(ID, await verifyEdited(), { measurements: [], idBlock: OWN_BLOCK });
    expect(found).toMatchObject(UNTRUSTED);
    expect(found.reason).toContain('no reference value for launch measurement');
  });
});
