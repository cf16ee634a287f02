import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { parseSignedJson } from '../../../../attestation/evidence/dcap/signedJson.ts';
import { parseTcbInfo, parseTcbInfoHead } from '../../../../attestation/evidence/dcap/tcbInfo.ts';
import { describeCorpus } from '../../../support/corpus.ts';
import {
  FMSPC,
  isvLevel,
  level,
  levelV2,
  moduleIdentity,
  PCE_ID,
  PLATFORM_SVNS,
  sgxTcbInfo,
  tcbInfoV2,
  tdxTcbInfo,
  without,
  type Json,
} from '../../../support/intelStatements.ts';
import { refusalOf } from '../../../support/refusal.ts';
import { propertyRuns } from '../../../support/runs.ts';
import { loadDcapCases, readTcbInfo } from './collateralCases.ts';

const codeOf = (value: unknown) => refusalOf(() => parseTcbInfo(value))?.code;
const newest = { sgx: PLATFORM_SVNS, pce: 13, tdx: [5, 0, 2] };

describe('parseTcbInfo', () => {
  test('reads TDX, version 3', () => {
    expect(parseTcbInfo(tdxTcbInfo())).toMatchObject({
      version: 3,
      tee: 'tdx',
      fmspc: FMSPC,
      pceId: PCE_ID,
      issueDate: Date.parse('2026-06-10T08:00:00Z'),
      nextUpdate: Date.parse('2026-07-10T08:00:00Z'),
      tcbEvaluationDataNumber: 20,
      tdxModule: { mrSigner: new Uint8Array(48), attributesMask: new Uint8Array(8).fill(0xff) },
      tdxModuleIdentities: [
        { id: 'TDX_03', tcbLevels: [{ isvSvn: 3, status: 'UpToDate' }] },
        { id: 'TDX_01', tcbLevels: [{ isvSvn: 6 }, { isvSvn: 4, status: 'OutOfDate' }] },
      ],
      tcbLevels: [
        { sgxComponents: PLATFORM_SVNS, pceSvn: 13, status: 'UpToDate', advisoryIds: [] },
        { pceSvn: 5, status: 'OutOfDate', advisoryIds: ['INTEL-SA-00106'] },
      ],
    });
  });

  test('reads SGX, version 3', () => {
    const info = parseTcbInfo(sgxTcbInfo());
    expect(info).toMatchObject({ version: 3, tee: 'sgx', tdxModuleIdentities: [] });
    expect(info.tdxModule).toBeUndefined();
    expect(info.tcbLevels[0]?.tdxComponents).toBeUndefined();
  });

  test('reads version 2, which is of SGX', () => {
    const info = parseTcbInfo(tcbInfoV2());
    expect(info).toMatchObject({ version: 2, tee: 'sgx', fmspc: FMSPC });
    expect(info.tcbLevels.map(({ sgxComponents, pceSvn }) => [sgxComponents, pceSvn])).toEqual([
      [PLATFORM_SVNS, 13],
      [[1, ...new Array<number>(15).fill(0)], 5],
    ]);
  });

  test('reads TDX without module identities, as in the first half of 2023', () => {
    const older = without(tdxTcbInfo(), 'tdxModuleIdentities');
    expect(parseTcbInfo(older).tdxModuleIdentities).toEqual([]);
  });

  test('reads FMSPC, PCE id and module ids in either case', () => {
    const identities = [moduleIdentity('TDX_0a', [isvLevel(1, 'UpToDate')])];
    const changes = { fmspc: 'aBcDeF012345', pceId: 'Ab01', tdxModuleIdentities: identities };
    const info = parseTcbInfo(tdxTcbInfo(changes));
    expect(info).toMatchObject({
      fmspc: 'abcdef012345',
      pceId: 'ab01',
      tdxModuleIdentities: [{ id: 'TDX_0A' }],
    });
  });

  test('puts the highest level first, whatever the order', () => {
    const levels = [
      level({ sgx: [2, 9], pce: 1 }, 'OutOfDate'),
      level({ sgx: [3, 1], pce: 5 }, 'UpToDate'),
      level({ sgx: [3, 1], pce: 13 }, 'SWHardeningNeeded'),
    ];
    const { tcbLevels } = parseTcbInfo(sgxTcbInfo({ tcbLevels: levels }));
    expect(tcbLevels.map(({ status }) => status)).toEqual(['SWHardeningNeeded', 'UpToDate', 'OutOfDate']);
  });

  test('orders levels that differ in TDX components alone', () => {
    const levels = [
      level({ ...newest, tdx: [5, 0, 2] }, 'OutOfDate'),
      level({ ...newest, tdx: [5, 0, 3] }, 'UpToDate'),
    ];
    const { tcbLevels } = parseTcbInfo(tdxTcbInfo({ tcbLevels: levels }));
    expect(tcbLevels.map(({ status }) => status)).toEqual(['UpToDate', 'OutOfDate']);
  });

  test.each<readonly [string, Json]>([
    ['version 1', sgxTcbInfo({ version: 1 })],
    ['version 4', sgxTcbInfo({ version: 4 })],
    ['another TEE', sgxTcbInfo({ id: 'TDY' })],
    ['another TCB type', sgxTcbInfo({ tcbType: 1 })],
    ['an unknown member', sgxTcbInfo({ tdxModule2: {} })],
    ['a TDX module in SGX', sgxTcbInfo({ tdxModule: tdxTcbInfo()['tdxModule'] })],
    ['an unknown status', sgxTcbInfo({ tcbLevels: [level(newest, 'Fine')] })],
    ['TDX components in a level of SGX', sgxTcbInfo({ tcbLevels: [level(newest, 'UpToDate')] })],
    [
      'a status of platforms on a TDX module',
      tdxTcbInfo({
        tdxModuleIdentities: [moduleIdentity('TDX_01', [isvLevel(1, 'SWHardeningNeeded')])],
      }),
    ],
    ['an unknown member of a level', sgxTcbInfo({ tcbLevels: [{ ...level(newest, 'UpToDate'), until: 1 }] })],
  ])('refuses as UNSUPPORTED: %s', (_name, value) => {
    expect(codeOf(value)).toBe('UNSUPPORTED');
  });

  const short = level({ sgx: PLATFORM_SVNS, pce: 13 }, 'UpToDate');
  (short['tcb'] as { sgxtcbcomponents: unknown[] }).sgxtcbcomponents.pop();
  const { ['tcb']: tcbV2, ...restV2 } = levelV2(PLATFORM_SVNS, 13, 'UpToDate');
  const withoutSixteenth = without(tcbV2 as Json, 'sgxtcbcomp16svn');

  test.each<readonly [string, unknown]>([
    ['no object', 'tcbInfo'],
    ['no levels', without(sgxTcbInfo(), 'tcbLevels')],
    ['an empty list of levels', sgxTcbInfo({ tcbLevels: [] })],
    ['a level twice', sgxTcbInfo({ tcbLevels: [1, 2].map(() => level({ sgx: [1], pce: 1 }, 'UpToDate')) })],
    ['TDX without its module', without(tdxTcbInfo(), 'tdxModule')],
    ['an empty list of modules', tdxTcbInfo({ tdxModuleIdentities: [] })],
    [
      'a module twice',
      tdxTcbInfo({
        tdxModuleIdentities: ['TDX_0A', 'TDX_0a'].map((id) => moduleIdentity(id, [isvLevel(1, 'UpToDate')])),
      }),
    ],
    [
      'a module level twice',
      tdxTcbInfo({
        tdxModuleIdentities: [moduleIdentity('TDX_01', [isvLevel(1, 'UpToDate'), isvLevel(1, 'OutOfDate')])],
      }),
    ],
    [
      'a module id of three digits',
      tdxTcbInfo({ tdxModuleIdentities: [moduleIdentity('TDX_001', [isvLevel(1, 'UpToDate')])] }),
    ],
    ['fifteen components', sgxTcbInfo({ tcbLevels: [short] })],
    ['fifteen components of version 2', tcbInfoV2({ tcbLevels: [{ ...restV2, tcb: withoutSixteenth }] })],
    ['a component above 255', sgxTcbInfo({ tcbLevels: [level({ sgx: [256], pce: 1 }, 'UpToDate')] })],
    ['a component below 0', sgxTcbInfo({ tcbLevels: [level({ sgx: [-1], pce: 1 }, 'UpToDate')] })],
    [
      'a component that is no integer',
      sgxTcbInfo({ tcbLevels: [level({ sgx: [1.5], pce: 1 }, 'UpToDate')] }),
    ],
    ['a PCE SVN above 65535', sgxTcbInfo({ tcbLevels: [level({ sgx: [1], pce: 65536 }, 'UpToDate')] })],
    ['an FMSPC of five bytes', sgxTcbInfo({ fmspc: '0090aabbcc' })],
    ['an id in version 2', tcbInfoV2({ id: 'SGX' })],
    ['a date with another zone', sgxTcbInfo({ issueDate: '2026-06-10T08:00:00+02:00' })],
    ['a date with fractions', sgxTcbInfo({ issueDate: '2026-06-10T08:00:00.5Z' })],
    ['a day that does not exist', sgxTcbInfo({ nextUpdate: '2026-02-30T08:00:00Z' })],
    ['an evaluation number below 0', sgxTcbInfo({ tcbEvaluationDataNumber: -1 })],
    [
      'an advisory with a line break',
      sgxTcbInfo({ tcbLevels: [level({ sgx: [1], pce: 1 }, 'OutOfDate', '2018-01-04', ['INTEL-SA\n1'])] }),
    ],
    [
      'more levels than any platform has',
      sgxTcbInfo({
        tcbLevels: Array.from({ length: 257 }, (_, i) => level({ sgx: [1], pce: i }, 'OutOfDate')),
      }),
    ],
  ])('refuses as MALFORMED: %s', (_name, value) => {
    expect(codeOf(value)).toBe('MALFORMED');
  });

  test('whatever is put in place of a member, only coded refusals come', () => {
    const names = Object.keys(tdxTcbInfo());
    fc.assert(
      fc.property(fc.constantFrom(...names), fc.jsonValue(), (name, value) => {
        const refusal = refusalOf(() => parseTcbInfo(tdxTcbInfo({ [name]: value })));
        expect([undefined, 'MALFORMED', 'UNSUPPORTED']).toContain(refusal?.code);
      }),
      propertyRuns(1000),
    );
  });
});

describe('parseTcbInfoHead', () => {
  test('reads for what TCB info is, and nothing of its levels', () => {
    const head = { version: 3, tee: 'tdx', fmspc: FMSPC, pceId: PCE_ID, tcbEvaluationDataNumber: 20 };
    expect(parseTcbInfoHead(tdxTcbInfo({ tcbLevels: 'unread', later: 1 }))).toMatchObject(head);
  });
});

for (const folder of ['evidence/cpu/intel', 'evidence/cpu/azure']) {
  describeCorpus(`TCB info of ${folder}`, folder, (root) => {
    for (const item of loadDcapCases(root)) {
      test(`${item.id}: is read, and in the order in which it is published`, () => {
        const { value } = parseSignedJson(readTcbInfo(item).body, 'tcbInfo');
        const info = parseTcbInfo(value);
        const published = (value as { tcbLevels: Json[] }).tcbLevels.map(({ tcbStatus }) => tcbStatus);
        expect(info.tcbLevels.map(({ status }) => status)).toEqual(published);
        const evaluation = item.facts.tcb?.tcbEvaluationDataNumber?.tcbInfo;
        if (evaluation !== undefined) expect(info.tcbEvaluationDataNumber).toBe(evaluation);
        const fmspc = item.facts.pck?.['fmspc'];
        if (fmspc !== undefined) expect(info.fmspc).toBe(fmspc);
      });
    }
  });
}
