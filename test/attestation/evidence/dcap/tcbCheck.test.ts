import { beforeAll, describe, expect, test } from '@jest/globals';
import { NO_COLLATERAL, type Collateral } from '../../../../attestation/collateral.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { appraiseTdx } from '../../../../attestation/evidence/tdx/appraise.ts';
import { verifyTdx } from '../../../../attestation/evidence/tdx/verify.ts';
import type { TdxPolicy } from '../../../../attestation/policy/tdx.ts';
import {
  issueQuote,
  mintDcapAuthority,
  NOW,
  TD,
  tdReport,
  type CollateralOptions,
  type DcapAuthority,
  type Machine,
} from '../../../support/dcapAuthority.ts';
import { LAX_TDX } from '../../../support/dcapPolicies.ts';
import { isvLevel, level, moduleIdentity, PLATFORM_SVNS } from '../../../support/intelStatements.ts';

type TcbPolicy = TdxPolicy['tcb'];

let authority: DcapAuthority;
let machine: Machine;

beforeAll(async () => {
  authority = await mintDcapAuthority();
  machine = await authority.mintMachine();
});

async function judge(collateral: Collateral, tcb: Partial<TcbPolicy> = {}, edit?: (view: DataView) => void) {
  const kind = edit ? 'td15' : 'td10';
  const quote = await issueQuote(machine, { kind, body: tdReport(kind, edit) });
  const options = { crypto: nodeCrypto, now: NOW, anchors: [authority.anchor], collateral };
  const policy = { ...LAX_TDX, tcb: { ...LAX_TDX.tcb, ...tcb } };
  return appraiseTdx(await verifyTdx(quote, options), policy).find(({ id }) => id === 'cpu.tcb')!;
}

/** `result code`, and the reason. */
async function outcome(
  changes: CollateralOptions,
  tcb: Partial<TcbPolicy> = {},
  edit?: (view: DataView) => void,
) {
  const { result, code, reason } = await judge(await authority.issueCollateral('tdx', changes), tcb, edit);
  return [`${result} ${code}`, reason] as const;
}

const BEST = level({ sgx: [9], pce: 13, tdx: [5, 0, 2] }, 'UpToDate', '2025-05-14');

/** The platform is at a level of 2024-05-14 with the status; a newer one of 2025-05-14 is beyond it. */
function platformAt(status: string, advisories: readonly string[] = ['INTEL-SA-00837', 'INTEL-SA-01036']) {
  const own = level({ sgx: PLATFORM_SVNS, pce: 13, tdx: [5, 0, 2] }, status, '2024-05-14', advisories);
  return { tcbInfo: { tcbLevels: [BEST, own] } };
}

describe('each status', () => {
  test.each([
    ['SWHardeningNeeded', 'TCB_SW_HARDENING_NEEDED'],
    ['ConfigurationNeeded', 'TCB_CONFIGURATION_NEEDED'],
    ['ConfigurationAndSWHardeningNeeded', 'TCB_CONFIGURATION_AND_SW_HARDENING_NEEDED'],
    ['OutOfDate', 'TCB_OUT_OF_DATE'],
    ['OutOfDateConfigurationNeeded', 'TCB_OUT_OF_DATE_CONFIGURATION_NEEDED'],
  ] as const)('%s is refused unless the policy accepts it, and never passes', async (status, code) => {
    const [refused, reason] = await outcome(platformAt(status));
    expect(refused).toBe(`fail ${code}`);
    for (const part of [status, 'INTEL-SA-00837', '2024-05-14', '365 days', 'evaluation 20']) {
      expect(reason).toContain(part);
    }
    const statuses: TcbPolicy['statuses'] = ['UpToDate', status];
    expect((await outcome(platformAt(status), { statuses }))[0]).toBe('skip NOT_REQUIRED');
  });

  test('Revoked, and what no level covers, are refused by every policy', async () => {
    const statuses: TcbPolicy['statuses'] = [
      'UpToDate',
      'SWHardeningNeeded',
      'ConfigurationNeeded',
      'ConfigurationAndSWHardeningNeeded',
      'OutOfDate',
      'OutOfDateConfigurationNeeded',
      'TDRelaunchAdvised',
      'TDRelaunchAdvisedConfigurationNeeded',
    ];
    expect((await outcome(platformAt('Revoked'), { statuses }))[0]).toBe('fail TCB_REVOKED');
    const beyond = { tcbInfo: { tcbLevels: [BEST] } };
    expect((await outcome(beyond, { statuses }))[0]).toBe('fail TCB_NOT_SUPPORTED');
  });

  test('UpToDate passes whatever else the policy says of lesser ones', async () => {
    const strict = { advisories: [], maximumDaysBehind: 0 };
    expect((await outcome(platformAt('UpToDate'), strict))[0]).toBe('pass OK');
  });

  test('a module that was updated below the TD advises a relaunch', async () => {
    const updated = (view: DataView) => {
      view.setUint8(TD.teeTcbSvn, 4);
    };
    expect((await outcome({}, {}, updated))[0]).toBe('fail TCB_TD_RELAUNCH_ADVISED');
    const statuses: TcbPolicy['statuses'] = ['UpToDate', 'TDRelaunchAdvised'];
    expect((await outcome({}, { statuses }, updated))[0]).toBe('skip NOT_REQUIRED');
  });
});

describe('a status below UpToDate that the policy accepts', () => {
  const statuses: TcbPolicy['statuses'] = ['UpToDate', 'OutOfDate'];

  test('is refused for an advisory that it does not accept, which is named', async () => {
    const advisories = ['INTEL-SA-00837'];
    const [refused, reason] = await outcome(platformAt('OutOfDate'), { statuses, advisories });
    expect(refused).toBe('fail TCB_OUT_OF_DATE');
    expect(reason).toContain('does not accept INTEL-SA-01036');
    const both = { statuses, advisories: ['INTEL-SA-00837', 'INTEL-SA-01036'] };
    expect((await outcome(platformAt('OutOfDate'), both))[0]).toBe('skip NOT_REQUIRED');
  });

  test('is refused where it is further behind than accepted', async () => {
    const behind = (maximumDaysBehind: number) =>
      outcome(platformAt('OutOfDate'), { statuses, maximumDaysBehind });
    expect((await behind(364))[0]).toBe('fail TCB_OUT_OF_DATE');
    expect((await behind(365))[0]).toBe('skip NOT_REQUIRED');
  });

  test('counts from the part that is behind, not from the platform', async () => {
    const tdxModuleIdentities = [
      moduleIdentity('TDX_01', [isvLevel(9, 'UpToDate'), isvLevel(6, 'OutOfDate', '2023-05-15')]),
    ];
    const changes = { tcbInfo: { tdxModuleIdentities } };
    expect((await outcome(changes, { statuses, maximumDaysBehind: 729 }))[0]).toBe('fail TCB_OUT_OF_DATE');
    expect((await outcome(changes, { statuses, maximumDaysBehind: 730 }))[0]).toBe('skip NOT_REQUIRED');
  });
});

test('the state of knowledge may not be older than demanded, be it of TCB info or of the QE identity', async () => {
  const least = { minimumEvaluationDataNumber: 20 };
  expect((await outcome({}, least))[0]).toBe('pass OK');
  for (const older of [
    { tcbInfo: { tcbEvaluationDataNumber: 19 } },
    { qeIdentity: { tcbEvaluationDataNumber: 19 } },
  ]) {
    expect((await outcome(older, least))[0]).toBe('fail COLLATERAL_EXPIRED');
    expect((await outcome(older))[0]).toBe('pass OK');
  }
});

test('an old quoting enclave makes the platform out of date', async () => {
  const tcbLevels = [isvLevel(9, 'UpToDate'), isvLevel(4, 'OutOfDate', '2023-05-15')];
  expect((await outcome({ qeIdentity: { tcbLevels } }))[0]).toBe('fail TCB_OUT_OF_DATE');
});

test('without collateral nothing passes, whatever the policy accepts', async () => {
  const check = await judge(NO_COLLATERAL, { statuses: ['UpToDate', 'OutOfDate'] });
  expect(check).toMatchObject({ result: 'fail', code: 'COLLATERAL_MISSING' });
});
