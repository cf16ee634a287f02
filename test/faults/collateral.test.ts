import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from '@jest/globals';
import { issueSimulatedCrl } from '../../enclave/collect/simulated/crl.ts';
import { sends } from '../src/collateral/server.ts';
import { makeFolder } from '../support/service.ts';
import { CRL_PATH, describeMachine } from './machine.ts';
import { expectNothingFalse, expectStopped, expectWhole, FaultyService } from './wholeService.ts';

const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
/** Evidence may be as old as it likes: what is judged is the collateral. */
const PATIENT = { maxEvidenceAgeSeconds: 604_800 };

/** A list that ends so long from now; simulated ones last a year from the day before they are issued. */
function crlEndingIn(milliseconds: number): Uint8Array {
  const issued = new Date(Date.now() + milliseconds);
  issued.setUTCFullYear(issued.getUTCFullYear() - 1);
  return issueSimulatedCrl(new Date(issued.getTime() + DAY_MS));
}

/** Has whoever keeps collateral notice that its clock was set, then waits for what it does by itself. */
async function untilReady(service: FaultyService): Promise<void> {
  await service.attest();
  while ((await service.ready()).status !== 200) await delay(20);
}

describeMachine('collateral', (machine) => {
  test('is at its end and its vendor is away: CRL_EXPIRED until there is a newer list', async () => {
    const clock = { offset: 0 };
    const vendors = await machine().vendors(crlEndingIn(HOUR_MS));
    const service = await FaultyService.start(machine(), { kds: vendors.url, clock, receipts: PATIENT });
    await expectWhole(service);
    const began = Date.now();
    vendors.routes.delete(CRL_PATH);
    clock.offset += 2 * HOUR_MS;
    expect(await service.attest()).toMatchObject({ status: 503, code: 'EVIDENCE_UNAVAILABLE' });
    await expectStopped(service, 'SELF_CHECK_FAILED');
    expect((await service.ready()).obstacle).toMatchObject({ refusal: 'CRL_EXPIRED' });
    vendors.routes.set(CRL_PATH, sends('application/pkix-crl', issueSimulatedCrl(new Date())));
    clock.offset += 2 * HOUR_MS;
    await untilReady(service);
    await expectWhole(service);
    // As of when the first list was good: an auditor later needs somebody who says when a document was made.
    await expectNothingFalse([service], began);
  });

  test('is not to be had at the start: a service that refuses, and goes on when it comes', async () => {
    const clock = { offset: 0 };
    const vendors = await machine().vendors();
    const published = new Map(vendors.routes);
    vendors.routes.clear();
    const service = await FaultyService.start(machine(), { kds: vendors.url, clock });
    await expectStopped(service, 'SELF_CHECK_FAILED');
    expect((await service.get('/v1/keyset')).status).toBe(503);
    expect(machine().driver.ready).toBe(0);
    for (const [path, answer] of published) vendors.routes.set(path, answer);
    clock.offset += HOUR_MS;
    await untilReady(service);
    expect(machine().driver.ready).toBe(1);
    await expectWhole(service);
    await expectNothingFalse([service]);
  });

  test('is older and its vendor is away: it is used on from the disk, and its age is shown', async () => {
    const folder = await makeFolder();
    const vendors = await machine().vendors();
    const first = await FaultyService.start(machine(), { kds: vendors.url, folder });
    await expectWhole(first);
    await first.stop();
    vendors.routes.clear();
    const clock = { offset: 2 * DAY_MS };
    const second = await FaultyService.start(machine(), { kds: vendors.url, folder, clock });
    await expectWhole(second);
    const { collateral } = (await (await second.get('/readyz')).json()) as {
      readonly collateral: { readonly oldest_seconds: number; readonly failing: readonly object[] };
    };
    expect(collateral.oldest_seconds).toBeGreaterThanOrEqual((2 * DAY_MS) / 1000);
    expect(collateral.failing).toEqual([expect.objectContaining({ kind: 'amd-crl' })]);
    await expectNothingFalse([first, second]);
  });
});
