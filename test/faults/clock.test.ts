import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { describeMachine } from './machine.ts';
import { start } from './rows.ts';
import { expectNothingFalse, expectWhole } from './wholeService.ts';

const HOUR_MS = 3_600_000;

describeMachine('the clock', (machine) => {
  test.each([
    ['on', HOUR_MS],
    ['back', -HOUR_MS],
  ])(
    'is set an hour %s: EVIDENCE_TOO_OLD until a new document, which comes by itself',
    async (_way, step) => {
      const clock = { offset: 0 };
      const service = await start(machine(), { clock });
      await expectWhole(service);
      clock.offset += step;
      expect(await service.ready()).toMatchObject({ status: 503, obstacle: { code: 'EVIDENCE_TOO_OLD' } });
      expect(await service.infer()).toEqual({ status: 503, code: 'NOT_VOUCHING' });
      while ((await service.ready()).status !== 200) await delay(20);
      await expectWhole(service);
      await expectNothingFalse([service], Date.now() + HOUR_MS);
    },
  );

  test.each([
    ['fast', HOUR_MS, ['receipt: receipt.time TIME_CONTRADICTION']],
    // What a receipt says of its own time is a claim: only who dates it from outside bounds it.
    ['slow', -HOUR_MS, []],
  ])(
    'is an hour %s from the start: evidence states no time, and clients refuse receipts from the future',
    async (_how, offset, refusals) => {
      const service = await start(machine(), { clock: { offset } });
      await expectWhole(service);
      expect(await service.refusalsOfReceipt()).toEqual(refusals);
      await expectNothingFalse([service], Date.now() + HOUR_MS);
    },
  );
});
