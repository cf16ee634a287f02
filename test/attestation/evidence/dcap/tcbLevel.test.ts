import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { REFUSALS } from '../../../../attestation/errors.ts';
import type { VerifiedDcapCollateral } from '../../../../attestation/evidence/dcap/collateral.ts';
import { readPckCertificate, type PckIdentity } from '../../../../attestation/evidence/dcap/pck.ts';
import { parseQeIdentity } from '../../../../attestation/evidence/dcap/qeIdentity.ts';
import { parseSignedJson } from '../../../../attestation/evidence/dcap/signedJson.ts';
import { parseTcbInfo } from '../../../../attestation/evidence/dcap/tcbInfo.ts';
import { judgeTcb, type TcbReport } from '../../../../attestation/evidence/dcap/tcbLevel.ts';
import {
  adviseRelaunch,
  convergeStatus,
  ENCLAVE_STATUSES,
  enclaveStatusCounts,
  MODULE_STATUSES,
  PLATFORM_STATUSES,
  refusalOfStatus,
  TCB_STATUSES,
  type PlatformStatus,
} from '../../../../attestation/evidence/dcap/tcbStatus.ts';
import { describeCorpus } from '../../../support/corpus.ts';
import {
  FMSPC,
  isvLevel,
  level,
  moduleIdentity,
  PLATFORM_PCE_SVN,
  PLATFORM_SVNS,
  PPID,
  qeIdentity,
  sgxTcbInfo,
  tcbInfoV2,
  tdxTcbInfo,
  without,
  type Json,
} from '../../../support/intelStatements.ts';
import { refusalOf } from '../../../support/refusal.ts';
import { propertyRuns } from '../../../support/runs.ts';
import { loadDcapCases, readPckChain, readQeIdentity, readReport, readTcbInfo } from './collateralCases.ts';

const PCK: PckIdentity = {
  ppid: PPID,
  cpuSvn: '06060202040100050000000000000000',
  tcbComponents: PLATFORM_SVNS,
  pceSvn: PLATFORM_PCE_SVN,
  pceId: '0000',
  fmspc: FMSPC,
  sgxType: 'scalable',
};

/** What `verifyDcapCollateral` would return of these statements. */
function collateral(tcbInfo: Json, changes: Partial<PckIdentity> = {}, qe: Json = qeIdentity()) {
  return {
    pck: { ...PCK, ...changes },
    tcbInfo: parseTcbInfo(tcbInfo),
    qeIdentity: parseQeIdentity(qe),
  } as unknown as VerifiedDcapCollateral;
}

const svns = (...values: readonly number[]) => Uint8Array.from({ length: 16 }, (_, i) => values[i] ?? 0);

function td(changes: Partial<NonNullable<TcbReport['tdxModule']>> = {}, qeIsvSvn = 4): TcbReport {
  const module = { mrSignerSeam: new Uint8Array(48), seamAttributes: new Uint8Array(8) };
  return { qeIsvSvn, tdxModule: { teeTcbSvn: svns(6, 1, 2), ...module, ...changes } };
}

const sgxStatus = (changes: Partial<PckIdentity>, tcbInfo = sgxTcbInfo()) =>
  judgeTcb(collateral(tcbInfo, changes), { qeIsvSvn: 4 }).status;
const tdxStatus = (teeTcbSvn: Uint8Array, tcbInfo = tdxTcbInfo()) =>
  judgeTcb(collateral(tcbInfo), td({ teeTcbSvn }));

describe('the level of a platform', () => {
  test('is the first that everything covers', () => {
    expect(judgeTcb(collateral(sgxTcbInfo()), { qeIsvSvn: 4 })).toMatchObject({
      status: 'UpToDate',
      platform: { status: 'UpToDate', tcbDate: Date.parse('2025-05-14T00:00:00Z') },
      module: undefined,
      qe: { status: 'UpToDate', isvSvn: 4 },
      advisoryIds: [],
      tcbDate: Date.parse('2025-05-14T00:00:00Z'),
      newestTcbDate: Date.parse('2025-05-14T00:00:00Z'),
      levelsBehind: 0,
      tcbEvaluationDataNumber: 20,
    });
  });

  test.each(PLATFORM_SVNS.flatMap((svn, i) => (svn > 0 ? [i] : [])))(
    'is a lower one when SGX component %i is one lower',
    (i) => {
      const tcbComponents = PLATFORM_SVNS.with(i, PLATFORM_SVNS[i]! - 1);
      const judgement = judgeTcb(collateral(sgxTcbInfo(), { tcbComponents }), { qeIsvSvn: 4 });
      expect(judgement).toMatchObject({
        status: 'OutOfDate',
        advisoryIds: ['INTEL-SA-00106', 'INTEL-SA-00115'],
        tcbDate: Date.parse('2018-01-04T00:00:00Z'),
        levelsBehind: 1,
      });
    },
  );

  test('is not raised by other components that are higher', () => {
    const tcbComponents = PLATFORM_SVNS.map((svn) => svn + 10).with(3, 1);
    expect(sgxStatus({ tcbComponents })).toBe('OutOfDate');
  });

  test('covers what is newer than all levels', () => {
    expect(sgxStatus({ tcbComponents: new Array<number>(16).fill(255), pceSvn: 65535 })).toBe('UpToDate');
  });

  test('compares the PCE too', () => {
    expect(sgxStatus({ pceSvn: 12 })).toBe('OutOfDate');
    expect(sgxStatus({ pceSvn: 4 })).toBe('NotSupported');
  });

  test('is none below every level, which has no date', () => {
    const judgement = judgeTcb(collateral(sgxTcbInfo(), { tcbComponents: new Array<number>(16).fill(0) }), {
      qeIsvSvn: 4,
    });
    expect(judgement).toMatchObject({ status: 'NotSupported', platform: { status: 'NotSupported' } });
    expect([judgement.tcbDate, judgement.levelsBehind]).toEqual([undefined, undefined]);
  });

  test('is none for components that are too few', () => {
    expect(sgxStatus({ tcbComponents: PLATFORM_SVNS.slice(0, 15) })).toBe('NotSupported');
  });

  test('is found in version 2 as in version 3', () => {
    expect(sgxStatus({}, tcbInfoV2())).toBe('UpToDate');
    expect(sgxStatus({ pceSvn: 12 }, tcbInfoV2())).toBe('OutOfDate');
  });

  test('counts the dates that are newer, not the places in the list', () => {
    const tcbLevels = [
      level({ sgx: [9], pce: 1 }, 'UpToDate', '2025-05-14'),
      level({ sgx: [8], pce: 1 }, 'ConfigurationNeeded', '2025-05-14'),
      level({ sgx: [7], pce: 1 }, 'OutOfDate', '2024-03-13'),
      level({ sgx: [6], pce: 1 }, 'OutOfDate', '2025-05-14'),
    ];
    const behind = (first: number) =>
      judgeTcb(collateral(sgxTcbInfo({ tcbLevels }), { tcbComponents: PLATFORM_SVNS.with(0, first) }), {
        qeIsvSvn: 4,
      }).levelsBehind;
    expect([9, 8, 7, 6].map(behind)).toEqual([0, 0, 1, 0]);
  });

  test('refuses statements of the other TEE', () => {
    expect(refusalOf(() => judgeTcb(collateral(sgxTcbInfo()), td()))?.code).toBe('COLLATERAL_MISMATCH');
    expect(refusalOf(() => judgeTcb(collateral(tdxTcbInfo()), { qeIsvSvn: 4 }))?.code).toBe(
      'COLLATERAL_MISMATCH',
    );
  });

  test('takes the lower evaluation number of the two statements', () => {
    const older = qeIdentity({ tcbEvaluationDataNumber: 17 });
    expect(judgeTcb(collateral(sgxTcbInfo(), {}, older), { qeIsvSvn: 4 }).tcbEvaluationDataNumber).toBe(17);
  });

  test('never gets better when a component gets lower', () => {
    const components = fc.array(fc.nat(255), { minLength: 16, maxLength: 16 });
    const levels = fc.uniqueArray(fc.tuple(components, fc.nat(20)), {
      minLength: 1,
      maxLength: 6,
      selector: (item) => JSON.stringify(item),
    });
    fc.assert(
      fc.property(levels, components, fc.nat(15), (drawn, tcbComponents, i) => {
        const tcbLevels = drawn.map(([sgx, pce]) => level({ sgx, pce }, 'UpToDate'));
        const info = sgxTcbInfo({ tcbLevels });
        const covered = (seen: readonly number[]) =>
          drawn.some(([sgx, pce]) => PCK.pceSvn >= pce && sgx.every((svn, n) => seen[n]! >= svn));
        const lower = tcbComponents.with(i, Math.max(0, tcbComponents[i]! - 1));
        for (const seen of [tcbComponents, lower]) {
          expect(sgxStatus({ tcbComponents: seen }, info)).toBe(covered(seen) ? 'UpToDate' : 'NotSupported');
        }
      }),
      propertyRuns(300),
    );
  });
});

describe('the TDX module', () => {
  test('of version 0 is judged with the level: components 0 and 1 are compared', () => {
    const { status, module } = tdxStatus(svns(5, 0, 2));
    expect([status, module]).toEqual(['UpToDate', undefined]);
    expect(tdxStatus(svns(4, 0, 2)).status).toBe('NotSupported');
  });

  test('of a higher version is judged by its identity: the comparison starts at component 2', () => {
    const judgement = tdxStatus(svns(4, 1, 2));
    expect(judgement.platform.status).toBe('UpToDate');
    expect(judgement.module).toMatchObject({
      id: 'TDX_01',
      isvSvn: 4,
      status: 'OutOfDate',
      tcbDate: Date.parse('2023-08-09T00:00:00Z'),
    });
    expect(judgement.status).toBe('OutOfDate');
    expect(tdxStatus(svns(6, 1, 2)).status).toBe('UpToDate');
    expect(tdxStatus(svns(255, 1, 2)).module?.status).toBe('UpToDate');
  });

  test('does not make up for microcode that is too old', () => {
    expect(tdxStatus(svns(6, 1, 1))).toMatchObject({
      status: 'NotSupported',
      platform: { status: 'NotSupported' },
      module: { status: 'UpToDate' },
    });
  });

  test('below every level of its identity is not supported', () => {
    expect(tdxStatus(svns(3, 1, 2))).toMatchObject({
      status: 'NotSupported',
      platform: { status: 'UpToDate' },
      module: { id: 'TDX_01', status: 'NotSupported' },
    });
  });

  test('that Intel does not list is not supported', () => {
    expect(tdxStatus(svns(6, 2, 2))).toMatchObject({ status: 'NotSupported', module: { id: 'TDX_02' } });
    const older = without(tdxTcbInfo(), 'tdxModuleIdentities');
    expect(tdxStatus(svns(6, 1, 2), older).status).toBe('NotSupported');
  });

  test('is named by its version in hex', () => {
    const tdxModuleIdentities = [moduleIdentity('TDX_1f', [isvLevel(1, 'UpToDate')])];
    expect(tdxStatus(svns(1, 0x1f, 2), tdxTcbInfo({ tdxModuleIdentities })).status).toBe('UpToDate');
  });

  test.each([
    ['of version 1', svns(6, 1, 2)],
    ['of version 0', svns(5, 0, 2)],
  ])('%s of another signer or with SEAM attributes is not supported', (_name, teeTcbSvn) => {
    const status = (changes: Parameters<typeof td>[0]) =>
      judgeTcb(collateral(tdxTcbInfo()), td({ teeTcbSvn, ...changes })).status;
    expect(status({})).toBe('UpToDate');
    expect(status({ mrSignerSeam: new Uint8Array(48).fill(1) })).toBe('NotSupported');
    expect(status({ mrSignerSeam: new Uint8Array() })).toBe('NotSupported');
    expect(status({ seamAttributes: svns(1).subarray(0, 8) })).toBe('NotSupported');
    expect(status({ seamAttributes: new Uint8Array() })).toBe('NotSupported');
  });

  test('with SEAM attributes is refused even where the mask leaves them out', () => {
    const mask = { attributesMask: '0000000000000000' };
    const tdxModuleIdentities = [moduleIdentity('TDX_01', [isvLevel(6, 'UpToDate')], mask)];
    const report = td({ seamAttributes: svns(1).subarray(0, 8) });
    expect(judgeTcb(collateral(tdxTcbInfo({ tdxModuleIdentities })), report).status).toBe('NotSupported');
  });

  test('brings its advisories', () => {
    const identity = { ...isvLevel(4, 'OutOfDate'), advisoryIDs: ['INTEL-SA-00986', 'INTEL-SA-00106'] };
    const info = tdxTcbInfo({ tdxModuleIdentities: [moduleIdentity('TDX_01', [identity])] });
    const { advisoryIds } = judgeTcb(collateral(info, { pceSvn: 5 }), td());
    expect(advisoryIds).toEqual(['INTEL-SA-00106', 'INTEL-SA-00986']);
  });
});

/** Worst of platform and part, by part; rows are platform statuses. */
const CONVERGED: Readonly<Record<PlatformStatus, Readonly<Record<string, PlatformStatus>>>> = {
  UpToDate: { UpToDate: 'UpToDate', OutOfDate: 'OutOfDate', Revoked: 'Revoked' },
  SWHardeningNeeded: { UpToDate: 'SWHardeningNeeded', OutOfDate: 'OutOfDate', Revoked: 'Revoked' },
  ConfigurationNeeded: {
    UpToDate: 'ConfigurationNeeded',
    OutOfDate: 'OutOfDateConfigurationNeeded',
    Revoked: 'Revoked',
  },
  ConfigurationAndSWHardeningNeeded: {
    UpToDate: 'ConfigurationAndSWHardeningNeeded',
    OutOfDate: 'OutOfDateConfigurationNeeded',
    Revoked: 'Revoked',
  },
  OutOfDate: { UpToDate: 'OutOfDate', OutOfDate: 'OutOfDate', Revoked: 'Revoked' },
  OutOfDateConfigurationNeeded: {
    UpToDate: 'OutOfDateConfigurationNeeded',
    OutOfDate: 'OutOfDateConfigurationNeeded',
    Revoked: 'Revoked',
  },
  Revoked: { UpToDate: 'Revoked', OutOfDate: 'Revoked', Revoked: 'Revoked' },
};
/** As Intel's library counts the statuses of an enclave. */
const COUNTS: Readonly<Record<string, string>> = {
  UpToDate: 'UpToDate',
  ConfigurationNeeded: 'OutOfDate',
  OutOfDate: 'OutOfDate',
  OutOfDateConfigurationNeeded: 'OutOfDate',
  Revoked: 'Revoked',
};

describe('convergence', () => {
  const tripled = PLATFORM_STATUSES.flatMap((platform) =>
    MODULE_STATUSES.flatMap((module) => ENCLAVE_STATUSES.map((qe) => [platform, module, qe] as const)),
  );

  test.each(PLATFORM_STATUSES.flatMap((status) => MODULE_STATUSES.map((part) => [status, part] as const)))(
    'of platform %s and part %s',
    (status, part) => {
      expect(convergeStatus(status, part)).toBe(CONVERGED[status][part]);
    },
  );

  test.each(ENCLAVE_STATUSES)('counts enclave status %s', (status) => {
    expect(enclaveStatusCounts(status)).toBe(COUNTS[status]);
  });

  test.each(tripled)('of platform %s, module %s and enclave %s', (platform, module, qe) => {
    const info = tdxTcbInfo({
      tcbLevels: [level({ sgx: [1], pce: 1, tdx: [0, 0, 1] }, platform)],
      tdxModuleIdentities: [moduleIdentity('TDX_01', [isvLevel(1, module)])],
    });
    const identity = qeIdentity({ tcbLevels: [isvLevel(1, qe)] });
    const withModule = CONVERGED[platform][module]!;
    const judgement = judgeTcb(collateral(info, {}, identity), td());
    expect(judgement.status).toBe(CONVERGED[withModule][COUNTS[qe]!]);
    expect(judgement).toMatchObject({
      platform: { status: platform },
      module: { status: module },
      qe: { status: qe },
    });
  });

  test.each(PLATFORM_STATUSES.flatMap((platform) => ENCLAVE_STATUSES.map((qe) => [platform, qe] as const)))(
    'of SGX platform %s and enclave %s',
    (platform, qe) => {
      const info = sgxTcbInfo({ tcbLevels: [level({ sgx: [1], pce: 1 }, platform)] });
      const identity = qeIdentity({ tcbLevels: [isvLevel(1, qe)] });
      const { status } = judgeTcb(collateral(info, {}, identity), { qeIsvSvn: 4 });
      expect(status).toBe(CONVERGED[platform][COUNTS[qe]!]);
    },
  );

  test.each(PLATFORM_STATUSES)('of SGX platform %s and an enclave below every level', (platform) => {
    const info = sgxTcbInfo({ tcbLevels: [level({ sgx: [1], pce: 1 }, platform)] });
    const { status, qe } = judgeTcb(collateral(info), { qeIsvSvn: 1 });
    expect([status, qe.status]).toEqual(['NotSupported', 'NotSupported']);
  });

  test('of a TDX platform and an enclave below every level', () => {
    expect(judgeTcb(collateral(tdxTcbInfo()), td({}, 1)).status).toBe('NotSupported');
  });

  test.each(TCB_STATUSES.filter((status) => status !== 'UpToDate'))('status %s has its code', (status) => {
    const name = status
      .replace(/^TD(?=R)/, 'Td')
      .replace(/SW/, 'Sw')
      .replaceAll(/(?<=.)(?=[A-Z])/g, '_');
    expect(refusalOfStatus(status)).toBe(`TCB_${name.toUpperCase()}`);
    expect(REFUSALS).toHaveProperty(refusalOfStatus(status));
  });
});

/**
 * As Intel's library has it, but for a current module that is revoked or out of date, which is worse here; other pairs
 * keep the first.
 */
const RELAUNCH: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  OutOfDate: {
    UpToDate: 'TDRelaunchAdvised',
    SWHardeningNeeded: 'TDRelaunchAdvised',
    ConfigurationNeeded: 'TDRelaunchAdvisedConfigurationNeeded',
    ConfigurationAndSWHardeningNeeded: 'TDRelaunchAdvisedConfigurationNeeded',
  },
  OutOfDateConfigurationNeeded: {
    UpToDate: 'TDRelaunchAdvisedConfigurationNeeded',
    SWHardeningNeeded: 'TDRelaunchAdvisedConfigurationNeeded',
    ConfigurationNeeded: 'TDRelaunchAdvisedConfigurationNeeded',
    ConfigurationAndSWHardeningNeeded: 'TDRelaunchAdvisedConfigurationNeeded',
  },
};

describe('a relaunch', () => {
  const WITH_NONE = [...PLATFORM_STATUSES, 'NotSupported'] as const;

  test.each(WITH_NONE.flatMap((launch) => WITH_NONE.map((current) => [launch, current] as const)))(
    'of a guest launched on %s that runs on %s',
    (launch, current) => {
      const worst = [launch, current].includes('NotSupported') ? 'NotSupported' : undefined;
      const revoked = current === 'Revoked' ? 'Revoked' : undefined;
      const isOld = current.startsWith('OutOfDate') && launch !== 'NotSupported';
      const old = isOld ? convergeStatus(launch, 'OutOfDate') : undefined;
      expect(adviseRelaunch(launch, current)).toBe(
        worst ?? revoked ?? old ?? RELAUNCH[launch]?.[current] ?? launch,
      );
    },
  );

  test.each(WITH_NONE)('is none before TD 1.5, on %s', (launch) => {
    expect(adviseRelaunch(launch, undefined)).toBe(launch);
  });

  const judge = (
    teeTcbSvn2: Uint8Array | undefined,
    {
      info = tdxTcbInfo(),
      qe = 4,
      teeTcbSvn = svns(4, 1, 2),
    }: { info?: Json; qe?: number; teeTcbSvn?: Uint8Array } = {},
  ) => judgeTcb(collateral(info), td({ teeTcbSvn, teeTcbSvn2 }, qe));
  const withStatus = (status: string) =>
    tdxTcbInfo({ tcbLevels: [level({ sgx: PLATFORM_SVNS, pce: 13, tdx: [5, 0, 2] }, status)] });

  test('is advised when a current module was loaded below a TD that was launched on an older one', () => {
    expect(judge(svns(6, 1, 2))).toMatchObject({
      status: 'TDRelaunchAdvised',
      module: { isvSvn: 4, status: 'OutOfDate' },
      current: { status: 'UpToDate', module: { isvSvn: 6, status: 'UpToDate' } },
    });
    expect(judge(svns(9, 1, 3)).status).toBe('TDRelaunchAdvised');
    expect(judge(svns(3, 3, 2)).status).toBe('TDRelaunchAdvised');
    expect(judge(svns(5, 0, 2)).status).toBe('TDRelaunchAdvised');
  });

  test('is advised when microcode was updated below the TD', () => {
    const tcbLevels = [
      level({ sgx: PLATFORM_SVNS, pce: 13, tdx: [5, 0, 3] }, 'ConfigurationNeeded'),
      level({ sgx: PLATFORM_SVNS, pce: 13, tdx: [5, 0, 2] }, 'OutOfDate', '2018-01-04'),
    ];
    const info = tdxTcbInfo({ tcbLevels });
    expect(judge(svns(6, 1, 3), { info }).status).toBe('TDRelaunchAdvisedConfigurationNeeded');
    expect(judge(svns(6, 1, 2), { info }).status).toBe('OutOfDate');
  });

  test.each<readonly [string, string]>([
    ['UpToDate', 'TDRelaunchAdvised'],
    ['SWHardeningNeeded', 'TDRelaunchAdvised'],
    ['ConfigurationNeeded', 'TDRelaunchAdvisedConfigurationNeeded'],
    ['ConfigurationAndSWHardeningNeeded', 'TDRelaunchAdvisedConfigurationNeeded'],
    ['OutOfDate', 'OutOfDate'],
    ['OutOfDateConfigurationNeeded', 'OutOfDateConfigurationNeeded'],
    ['Revoked', 'Revoked'],
  ])('on a platform that is %s comes out as %s', (status, expected) => {
    expect(judge(svns(6, 1, 2), { info: withStatus(status) }).status).toBe(expected);
  });

  test('is not advised when the loaded module or microcode is out of date too', () => {
    expect(judge(svns(5, 1, 2)).status).toBe('OutOfDate');
    expect(judge(svns(6, 1, 1)).status).toBe('NotSupported');
  });

  test('is not advised when nothing is lacking', () => {
    const teeTcbSvn = svns(6, 1, 2);
    expect(judge(svns(9, 1, 2), { teeTcbSvn })).toMatchObject({
      status: 'UpToDate',
      current: { status: 'UpToDate' },
    });
    expect(judge(undefined, { teeTcbSvn }).current).toBeUndefined();
  });

  test('is not advised on the word of an enclave that is out of date or below every level', () => {
    expect(judge(svns(6, 1, 2), { qe: 2 }).status).toBe('OutOfDate');
    expect(judge(svns(6, 1, 2), { qe: 1 }).status).toBe('NotSupported');
  });

  test('with a loaded module that Intel does not list is not supported, whatever the launch', () => {
    expect(judge(svns(6, 2, 2)).status).toBe('NotSupported');
    expect(judge(svns(6, 2, 2), { teeTcbSvn: svns(6, 1, 2) }).status).toBe('NotSupported');
    expect(judge(svns(), { teeTcbSvn: svns(6, 1, 2) }).status).toBe('NotSupported');
  });

  test('with a loaded module that is revoked is revoked', () => {
    const tdxModuleIdentities = [
      moduleIdentity('TDX_01', [isvLevel(6, 'UpToDate'), isvLevel(5, 'Revoked'), isvLevel(4, 'OutOfDate')]),
    ];
    expect(judge(svns(5, 1, 2), { info: tdxTcbInfo({ tdxModuleIdentities }) }).status).toBe('Revoked');
  });

  test('brings the advisories of the loaded module', () => {
    const identity = { ...isvLevel(6, 'OutOfDate'), advisoryIDs: ['INTEL-SA-00001'] };
    const info = tdxTcbInfo({
      tdxModuleIdentities: [moduleIdentity('TDX_01', [identity, isvLevel(4, 'UpToDate')])],
    });
    expect(judge(svns(6, 1, 2), { info }).advisoryIds).toEqual(['INTEL-SA-00001']);
  });

  test('never makes an old module good', () => {
    const bytes = fc.uint8Array({ minLength: 16, maxLength: 16 });
    fc.assert(
      fc.property(bytes, (teeTcbSvn2) => {
        expect(['OutOfDate', 'TDRelaunchAdvised', 'NotSupported']).toContain(judge(teeTcbSvn2).status);
      }),
      propertyRuns(500),
    );
  });
});

for (const folder of ['evidence/cpu/intel', 'evidence/cpu/azure']) {
  describeCorpus(`TCB levels of ${folder}`, folder, (root) => {
    for (const item of loadDcapCases(root).filter(({ facts }) => facts.tcb && facts.pck)) {
      test(`${item.id}: is judged as the case states`, () => {
        const { value: info } = parseSignedJson(readTcbInfo(item).body, 'tcbInfo');
        const { value: identity } = parseSignedJson(readQeIdentity(item).body, 'enclaveIdentity');
        const statements = {
          pck: readPckCertificate(readPckChain(item).pck),
          tcbInfo: parseTcbInfo(info),
          qeIdentity: parseQeIdentity(identity),
        } as unknown as VerifiedDcapCollateral;
        const judgement = judgeTcb(statements, readReport(item));
        const tcb = item.facts.tcb!;
        const instant = (time: number | undefined) =>
          time === undefined ? null : new Date(time).toISOString().replace('.000Z', 'Z');
        const supported = tcb.platformStatus !== 'NotSupported';
        const module = supported ? judgement.module : undefined;
        expect({
          platformStatus: judgement.platform.status,
          platformTcbDate: instant(judgement.tcbDate),
          advisoryIds: supported ? judgement.advisoryIds : null,
          tdxModuleStatus: module?.status ?? null,
          tdxModuleId: module?.id ?? null,
          tdxModuleIsvSvn: module?.isvSvn ?? null,
          tdxModuleDate: instant(module?.tcbDate),
          qeStatus: judgement.qe.status,
          qeIsvSvn: judgement.qe.isvSvn,
          convergedStatus: judgement.status,
        }).toEqual({
          platformStatus: tcb.platformStatus,
          platformTcbDate: tcb.platformTcbDate,
          advisoryIds: tcb.advisoryIds,
          tdxModuleStatus: tcb.tdxModuleStatus,
          tdxModuleId: tcb.tdxModuleId,
          tdxModuleIsvSvn: tcb.tdxModuleIsvSvn,
          tdxModuleDate: tcb.tdxModuleDate,
          qeStatus: tcb.qeStatus,
          qeIsvSvn: tcb.qeIsvSvn,
          convergedStatus: tcb.convergedStatus,
        });
      });
    }
  });
}
