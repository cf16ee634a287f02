import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { utf8 } from '../../attestation/bytes/bytes.ts';
import { sized, type Fault as Answering } from '../support/nvidiaDriver.ts';
import { describeMachine, EXTENDED, type FaultyMachine } from './machine.ts';
import { expectLasting, expectNoService, expectPassing, start, type Fault, type Row } from './rows.ts';
import { expectNoEvidence, expectNoStart, expectNothingFalse, expectWhole } from './wholeService.ts';

const REPORT = 'nvmlDeviceGetConfComputeGpuAttestationReport';
const READY = 'nvmlSystemSetConfComputeGpusReadyState';

const answering =
  (name: string, answer: Answering): Fault =>
  ({ driver }) =>
    driver.faults.set(name, answer);
const failing = (code: number): Fault => answering(REPORT, () => ({ code }));
const mode =
  (...numbers: readonly [number, number, number, number]): Fault =>
  ({ driver }) => {
    driver.mode = numbers;
  };

const PASSING: readonly Row[] = [
  ['is in use', 'DEVICE_BUSY', failing(19)],
  ['has a driver that gave up', 'DEVICE_TIMEOUT', failing(10)],
  ['has a driver that refuses', 'DEVICE_REFUSED', failing(999)],
  ['lies: a report for an older nonce', 'EVIDENCE_MISMATCH', replay],
  ['lies: truncated', 'EVIDENCE_MALFORMED', answering(REPORT, ({ bytes }) => sized(bytes!.subarray(0, -30)))],
  ['lies: empty', 'EVIDENCE_MALFORMED', answering(REPORT, ({ bytes }) => ({ number: 0, bytes: bytes! }))],
];

function replay({ driver }: FaultyMachine): void {
  const old = driver.gpus[0]!.report(new Uint8Array(32).fill(1));
  driver.faults.set(REPORT, async () => sized(await old));
}

const LASTING: readonly Row[] = [
  ['falls off the bus', 'DEVICES_CHANGED', failing(15)],
  ['needs a reset', 'DEVICES_CHANGED', failing(16)],
  ['is not counted any more', 'DEVICES_CHANGED', answering('nvmlDeviceGetCount_v2', () => ({ number: 0 }))],
  [
    'is another one',
    'DEVICES_CHANGED',
    answering('nvmlDeviceGetUUID', () => ({ bytes: utf8('GPU-00000000-0000-4000-8000-0000000000ff\0') })),
  ],
  ['loses its driver', 'DEVICES_CHANGED', failing(1)],
  ['has its driver loaded again', 'DRIVER_RELOADED', (it) => (it.gpuReports = EXTENDED)],
  [
    'gets another driver',
    'DRIVER_CHANGED',
    (it) => (it.gpuReports = { fields: new Map([[3, utf8('550.90.08\0')]]) }),
  ],
  ['leaves confidential computing', 'DEVICE_MODE_CHANGED', mode(2, 0, 0, 0)],
  ['enters DevTools mode', 'DEVICE_MODE_CHANGED', mode(2, 1, 1, 0)],
  ['is shared with another machine', 'DEVICE_MODE_CHANGED', (it) => (it.gpuReports = { mode: 'mpt' })],
  [
    'measures other firmware',
    'SELF_CHECK_FAILED',
    (it) => (it.gpuReports = { measurements: new Map([[9, new Uint8Array(48).fill(0xee)]]) }),
  ],
];

describeMachine('the GPU', (machine) => {
  test('is let at work after our own verifier has accepted its evidence', async () => {
    const service = await start(machine());
    const { asked, ready } = machine().driver;
    expect(ready).toBe(1);
    const [report, admission] = [REPORT, READY].map((name) =>
      asked.findIndex((call) => call.startsWith(name)),
    );
    expect(report).toBeLessThan(admission!);
    await expectWhole(service);
    await expectNothingFalse([service]);
  });

  test.each(PASSING)('%s: %s, and the next document after it is good', (_fault, code, fault) =>
    expectPassing(machine(), code, fault),
  );

  test('is slow: DEVICE_TIMEOUT, then DEVICE_BUSY until the driver has answered, and nobody piles up', async () => {
    const service = await start(machine(), { ways: machine().ways({ gpuMs: 2000 }) });
    await expectWhole(service);
    const { driver } = machine();
    let release = (): void => undefined;
    const released = new Promise<void>((resolve) => (release = resolve));
    driver.faults.set(REPORT, async (usual) => {
      await released;
      return usual;
    });
    await expectNoEvidence(service, 'DEVICE_TIMEOUT');
    const questions = driver.asked.length;
    await expectNoEvidence(service, 'DEVICE_BUSY');
    expect(driver.asked).toHaveLength(questions);
    release();
    await machine().mend();
    while ((await service.attest()).status !== 200) await delay(20);
    await expectWhole(service);
    await expectNothingFalse([service]);
  });

  test.each(LASTING)('%s: %s until the service is restarted', (_fault, code, fault) =>
    expectLasting(machine(), code, fault),
  );

  test.each<Row>([
    ['is not in confidential-computing mode', 'CONFIDENTIAL_COMPUTING_OFF', mode(2, 0, 0, 0)],
    ['is in DevTools mode', 'DEVTOOLS_ON', mode(2, 1, 1, 0)],
    ['is gone', 'DEVICE_MISSING', answering('nvmlDeviceGetCount_v2', () => ({ number: 0 }))],
    ['lies: a report for an older nonce', 'EVIDENCE_MISMATCH', replay],
    [
      'measures other firmware',
      'SELF_CHECK_FAILED',
      (it) => (it.gpuReports = { measurements: new Map([[9, new Uint8Array(48).fill(0xee)]]) }),
    ],
  ])('%s at the start: no service, %s, and no GPU is let at work', async (_fault, code, fault) => {
    const asked = () => machine().driver.asked.filter((call) => call.startsWith(READY)).length;
    await expectNoService(machine(), code, fault);
    expect(asked()).toBe(1);
  });

  test('is hidden by the host at the start: no service, SELF_CHECK_FAILED', async () => {
    const { url: kds } = await machine().vendors();
    const ways = machine().ways({ nvml: 'libnone-of-a-driver.so' });
    await expectNoStart(machine(), { kds, ways }, 'SELF_CHECK_FAILED');
  });
});
