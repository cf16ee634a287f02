import { afterAll, beforeAll, beforeEach, test } from '@jest/globals';
import { sevGuestWay } from '../../enclave/collect/guestDevice/sevGuestWay.ts';
import type { Ways } from '../../enclave/collect/machine.ts';
import {
  GuestKernel,
  setExitInfo,
  sevGuestDriver,
  type Errno,
  type SevGuest,
} from '../support/guestKernel.ts';
import { describeMachine } from './machine.ts';
import { expectLasting, expectNoService, expectPassing, type Fault, type Row } from './rows.ts';

const OTHER_DATA = new Uint8Array(64).fill(7);
/** Host error 2 of `exitinfo2`: the host throttles. */
const THROTTLED = 2;
/** A pause that the deadline leaves no time for: a throttled request is not made again. */
const PATIENCE = { pauseMs: 30_000, deadlineMs: 20_000 };

describeMachine('the quote device of a kernel without configfs-tsm', (machine) => {
  let kernel: GuestKernel;
  beforeAll(async () => {
    kernel = await GuestKernel.boot();
  });
  afterAll(() => kernel.halt());

  function run(changes: Partial<SevGuest> = {}): void {
    const report: SevGuest['report'] = (data) => machine().report(data);
    kernel.driver = sevGuestDriver({ report, table: new Uint8Array(), ...changes });
  }
  beforeEach(() => {
    run();
    machine().onMend = run;
  });

  const failing =
    (errno: Errno, host = 0): Fault =>
    () => {
      run({
        fault: (call) => {
          setExitInfo(call, 0, host);
          return errno;
        },
      });
    };
  const answering =
    (report: SevGuest['report']): Fault =>
    () => {
      run({ report });
    };

  const ways = (): Ways => {
    const { device: path, cLibrary } = kernel;
    const way = sevGuestWay({ path, cLibrary, ...PATIENCE });
    return { ...machine().ways(), cpu: [{ ...way, isConfidential: true }] };
  };

  const passing: readonly Row[] = [
    ['is throttled by its host', 'DEVICE_BUSY', failing('EIO', THROTTLED)],
    ['has a host that is late', 'DEVICE_TIMEOUT', failing('ETIMEDOUT')],
    ['has an answer that cannot be deciphered', 'DEVICE_REFUSED', failing('EBADMSG')],
    ['lies: other report data', 'EVIDENCE_MISMATCH', answering(() => machine().report(OTHER_DATA))],
    [
      'lies: truncated',
      'EVIDENCE_MALFORMED',
      answering(async (data) => (await machine().report(data)).slice(0, -1)),
    ],
    ['lies: empty', 'EVIDENCE_MALFORMED', answering(() => new Uint8Array())],
  ];
  test.each(passing)('%s: %s, and the next document after it is good', (_fault, code, fault) =>
    expectPassing(machine(), code, fault, { ways: ways() }),
  );

  const lasting: readonly Row[] = [
    ['is gone', 'DEVICES_CHANGED', failing('ENODEV')],
    ['has its key disabled by the firmware', 'DEVICES_CHANGED', failing('ENOTTY')],
    [
      'forges signatures',
      'SELF_CHECK_FAILED',
      answering(async (data) => {
        const report = await machine().report(data);
        return report.with(0x2a0, report[0x2a0]! ^ 1);
      }),
    ],
  ];
  test.each(lasting)('%s: %s until the service is restarted', (_fault, code, fault) =>
    expectLasting(machine(), code, fault, { ways: ways() }),
  );

  test.each<Row>([
    ['is gone', 'DEVICE_LOST', failing('ENODEV')],
    ['lies: other report data', 'EVIDENCE_MISMATCH', answering(() => machine().report(OTHER_DATA))],
  ])('%s at the start: no service, %s', (_fault, code, fault) =>
    expectNoService(machine(), code, fault, { ways: ways() }),
  );
});
