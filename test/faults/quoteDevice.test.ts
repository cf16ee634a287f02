import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, test } from '@jest/globals';
import type { ReportMaker } from '../support/configfsTsm/mount.ts';
import { describeMachine, otherGuest, type FaultyMachine } from './machine.ts';
import { expectLasting, expectNoService, expectPassing, start, type Fault, type Row } from './rows.ts';
import { expectNoEvidence, expectNothingFalse, expectWhole } from './wholeService.ts';

const OTHER_DATA = new Uint8Array(64).fill(7);
/** For faults that last until the deadline. */
const IMPATIENT_MS = 2000;

const lying =
  (alter: (report: Uint8Array) => Uint8Array): Fault =>
  (machine) =>
    machine.alterReports(alter);

/** Asked again until the deadline. */
const RETRIED: readonly Row[] = [
  ['is busy', 'DEVICE_BUSY', (machine) => (machine.makeReport = () => Promise.resolve('EBUSY'))],
  [
    'has a host that is late',
    'DEVICE_TIMEOUT',
    (machine) => (machine.makeReport = () => Promise.resolve('ETIMEDOUT')),
  ],
];
const PASSING: readonly Row[] = [
  [
    'has a host that fails',
    'DEVICE_REFUSED',
    (machine) => (machine.makeReport = () => Promise.resolve('EIO')),
  ],
  [
    'lies: a genuine report over other report data',
    'EVIDENCE_MISMATCH',
    (machine) => (machine.makeReport = async () => ({ outblob: await machine.report(OTHER_DATA) })),
  ],
  ['lies: the report of an earlier request', 'EVIDENCE_MISMATCH', replay],
  [
    'lies: the generation of another writer',
    'EVIDENCE_MISMATCH',
    (machine) => machine.setTsm({ otherWriter: 'after-report' }),
  ],
  [
    'lies: a generation that stands still',
    'DEVICE_REFUSED',
    (machine) => machine.setTsm({ freezesGeneration: true }),
  ],
  ['lies: truncated', 'EVIDENCE_MALFORMED', lying((report) => report.slice(0, -1))],
  ['lies: empty', 'EVIDENCE_MALFORMED', lying(() => new Uint8Array())],
];

/** Answers every request with the first report that it made. */
function replay(machine: FaultyMachine): void {
  let first: ReturnType<ReportMaker> | undefined;
  machine.makeReport = async ({ inblob }) => {
    first ??= machine.report(inblob.map((byte) => byte ^ 1)).then((outblob) => ({ outblob }));
    return first;
  };
}

const LASTING: readonly Row[] = [
  ['is missing: its driver is unloaded', 'DEVICES_CHANGED', (machine) => machine.setTsm({ provider: null })],
  ['is missing: the interface is gone', 'DEVICES_CHANGED', (machine) => machine.setTsm({ isLoaded: false })],
  [
    'has its key disabled by the firmware',
    'DEVICES_CHANGED',
    (machine) => machine.setTsm({ reportErrors: ['ENOTTY'] }),
  ],
  ['is of another platform', 'DEVICES_CHANGED', (machine) => machine.setTsm({ shownProvider: 'tdx_guest' })],
  [
    'speaks for another guest',
    'HARDWARE_CHANGED',
    async (machine) => (machine.makeReport = await otherGuest()),
  ],
  [
    'says that the host may debug the guest',
    'DEBUG_ENABLED',
    async (machine) => (machine.makeReport = await otherGuest({ debug: true })),
  ],
  ['says that older firmware runs', 'TCB_LOWERED', lying((report) => report.with(0x180, 9))],
  ['forges signatures', 'SELF_CHECK_FAILED', lying((report) => report.with(0x2a0, report[0x2a0]! ^ 1))],
];

describeMachine('the quote device of the CPU', (machine) => {
  test.each(RETRIED)('%s: %s, and the next document after it is good', (_fault, code, fault) =>
    expectPassing(machine(), code, fault, { ways: machine().ways({ cpuMs: IMPATIENT_MS }) }),
  );

  test.each(PASSING)('%s: %s, and the next document after it is good', (_fault, code, fault) =>
    expectPassing(machine(), code, fault),
  );

  test('is slow: DEVICE_TIMEOUT, then DEVICE_BUSY until it has answered, and nobody piles up', async () => {
    const service = await start(machine(), { ways: machine().ways({ cpuMs: IMPATIENT_MS }) });
    await expectWhole(service);
    const host = stuckHost(machine());
    await expectNoEvidence(service, 'DEVICE_TIMEOUT');
    const { reports } = await machine().configfs.observe();
    await expectNoEvidence(service, 'DEVICE_BUSY');
    expect((await machine().configfs.observe()).reports).toBe(reports);
    host.release();
    await machine().mend();
    while ((await service.attest()).status !== 200) await delay(20);
    await expectWhole(service);
    await expectNothingFalse([service]);
  });

  test('is busy or interrupted for a moment: nobody sees it', async () => {
    const service = await start(machine());
    await machine().setTsm({ reportErrors: ['EBUSY', 'EINTR', 'ETIMEDOUT'] });
    await expectWhole(service);
    await expectNothingFalse([service]);
  });

  test('takes its time: those who ask meanwhile share the next document', async () => {
    const service = await start(machine());
    machine().makeReport = async ({ inblob }) => {
      await delay(200);
      return { outblob: await machine().report(inblob) };
    };
    const before = await machine().configfs.observe();
    const answers = await Promise.all(Array.from({ length: 12 }, () => service.attest()));
    expect(answers.map(({ verdict }) => verdict)).toEqual(answers.map(() => 'accepted'));
    const { reports } = await machine().configfs.observe();
    expect(reports - before.reports).toBeLessThan(answers.length);
    await expectNothingFalse([service]);
  });

  test.each(LASTING)('%s: %s until the service is restarted', (_fault, code, fault) =>
    expectLasting(machine(), code, fault),
  );

  describe('at the start', () => {
    test.each<Row>([
      ['is missing', 'DEVICE_MISSING', (it) => it.setTsm({ isLoaded: false })],
      ['has no driver', 'DEVICE_MISSING', (it) => it.setTsm({ provider: null })],
      ['may not be opened', 'PERMISSION_DENIED', (it) => it.setTsm({ mkdirError: 'EACCES' })],
      ['is busy', 'DEVICE_BUSY', (it) => (it.makeReport = () => Promise.resolve('EBUSY'))],
      ['lies: truncated', 'EVIDENCE_MALFORMED', lying((report) => report.slice(0, -1))],
      ['lies: other report data', 'EVIDENCE_MISMATCH', replay],
      ['forges signatures', 'SELF_CHECK_FAILED', lying((report) => report.with(0x2a0, report[0x2a0]! ^ 1))],
    ])('%s: no service, %s', (_fault, code, fault) =>
      expectNoService(machine(), code, fault, { ways: machine().ways({ cpuMs: IMPATIENT_MS }) }),
    );
  });
});

/** A host that takes a request and does not answer it until it is told to. */
function stuckHost(machine: FaultyMachine): { readonly release: () => void } {
  let release = (): void => undefined;
  const released = new Promise<void>((resolve) => (release = resolve));
  machine.makeReport = async ({ inblob }) => {
    await released;
    return { outblob: await machine.report(inblob) };
  };
  return { release };
}
