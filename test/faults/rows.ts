import { expect } from '@jest/globals';
import type { FaultyMachine } from './machine.ts';
import {
  expectNoEvidence,
  expectNoStart,
  expectNothingFalse,
  expectStopped,
  expectWhole,
  FaultyService,
  type ServiceSetup,
} from './wholeService.ts';

// What three kinds of rows of the table have in common. Each begins and ends with a service that works.

const HOUR_MS = 3_600_000;

export type Fault = (machine: FaultyMachine) => unknown;
/** Name, the code that is shown, and what goes wrong. */
export type Row = readonly [name: string, code: string, fault: Fault];
export type Setup = Partial<Omit<ServiceSetup, 'kds'>>;

/** A service that asks the vendors of this machine. */
export async function start(machine: FaultyMachine, setup: Setup = {}): Promise<FaultyService> {
  const { url } = await machine.vendors();
  return FaultyService.start(machine, { kds: url, ...setup });
}

/**
 * No evidence while the fault lasts; answers go on under the document before, until that is too old; and everything
 * works as soon as the fault is lifted.
 */
export async function expectPassing(machine: FaultyMachine, code: string, fault: Fault, setup: Setup = {}) {
  const clock = { offset: 0 };
  const service = await start(machine, { ...setup, clock });
  await expectWhole(service);
  await fault(machine);
  await expectNoEvidence(service, code);
  expect(await service.infer()).toMatchObject({ status: 200 });
  clock.offset += HOUR_MS;
  await expectStopped(service, 'EVIDENCE_TOO_OLD');
  await machine.mend();
  await expectWhole(service);
  await expectNothingFalse([service]);
}

/** Nothing is answered any more, whether the fault is lifted or not; a restart on the same data folder works. */
export async function expectLasting(machine: FaultyMachine, code: string, fault: Fault, setup: Setup = {}) {
  const service = await start(machine, setup);
  await expectWhole(service);
  await fault(machine);
  await expectNoEvidence(service, code);
  await expectStopped(service, code);
  await machine.mend();
  await expectNoEvidence(service, code);
  await expectStopped(service, code);
  await service.stop();
  const next = await start(machine, { ...setup, folder: service.folder });
  await expectWhole(next);
  const { instances } = await expectNothingFalse([service, next]);
  expect(instances).toBe(2);
}

/** No door opens while the fault lasts; the next start without it works. */
export async function expectNoService(machine: FaultyMachine, code: string, fault: Fault, setup: Setup = {}) {
  await fault(machine);
  const { url } = await machine.vendors();
  await expectNoStart(machine, { kds: url, ...setup }, code);
  await machine.mend();
  const service = await start(machine, setup);
  await expectWhole(service);
  await expectNothingFalse([service]);
}
