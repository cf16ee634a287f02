import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { parseDocument } from '../../../attestation/evidence/document.ts';
import { parseRecord } from '../../../attestation/receipt/record.ts';
import { createSimulatedCollector } from '../../../enclave/collect/simulated/collector.ts';
import { makeDraft, makeWorld, NOW, type WorldOptions } from '../../support/world.ts';

const SECOND = 1000;

// Time passes only as a test says; work that is due is done at once.
beforeEach(() => {
  jest.useFakeTimers({ now: NOW, doNotFake: ['setImmediate', 'queueMicrotask', 'nextTick'] });
});
afterEach(() => {
  jest.useRealTimers();
});

/** Lets everything run that does not wait for a clock; signatures are made by other threads. */
async function settle(): Promise<void> {
  for (let i = 0; i < 5; i++) await delay(5);
}

/** Waits, in real time, for what is to come. */
async function eventually(isThere: () => boolean): Promise<void> {
  while (!isThere()) await delay(1);
}

async function pass(milliseconds: number): Promise<void> {
  await jest.advanceTimersByTimeAsync(milliseconds);
  await settle();
}

async function start(limits: WorldOptions['limits'] = {}) {
  const real = await createSimulatedCollector({ gpus: 0, now: () => new Date(NOW) });
  const control = { collections: 0, fail: false, hang: false, pauseMs: 0 };
  const collector: typeof real = {
    ...real,
    async collectDevices(nonce) {
      control.collections++;
      if (control.pauseMs > 0) jest.setSystemTime(Date.now() + control.pauseMs);
      if (control.hang) await new Promise(() => undefined);
      if (control.fail) throw new Error('EBUSY');
      return real.collectDevices(nonce);
    },
  };
  const all = { periodMs: 60 * SECOND, receipts: 1000, maxEvidenceAgeMs: 3600 * SECOND, ...limits };
  const world = await makeWorld({ collector, limits: all, now: () => Date.now() });
  const issue = () => world.vouching.issue(makeDraft());
  const sizes = () => world.log.documents.map((document) => parseDocument(document).statement.logSize);
  return { ...world, control, issue, sizes };
}

describe('an epoch', () => {
  test('ends with its time where a receipt is uncovered, and only then', async () => {
    const { issue, sizes, vouching } = await start();
    await pass(180 * SECOND);
    expect(sizes()).toEqual([1]);
    await issue();
    await pass(59 * SECOND);
    expect([sizes(), vouching.uncovered]).toEqual([[1], 1]);
    await pass(1 * SECOND);
    await eventually(() => sizes().length === 2);
    expect([sizes(), vouching.uncovered]).toEqual([[1, 2], 0]);
    await pass(600 * SECOND);
    expect(sizes()).toEqual([1, 2]);
  });

  test('ends with its count, and the next one begins from nothing', async () => {
    const { issue, sizes, log } = await start({ receipts: 3 });
    for (let i = 0; i < 2; i++) await issue();
    await settle();
    expect(sizes()).toEqual([1]);
    await issue();
    await eventually(() => log.size === 5);
    expect(sizes()).toEqual([1, 4]);
    for (let i = 0; i < 2; i++) await issue();
    await settle();
    expect(sizes()).toEqual([1, 4]);
    await issue();
    await eventually(() => log.size === 9);
    // One entry more is the record of the former epoch.
    expect(sizes()).toEqual([1, 4, 8]);
  });

  test('ends on demand, once for all who ask at once, and not where the entry is covered', async () => {
    const { issue, sizes, vouching, control } = await start();
    const issued = await Promise.all([issue(), issue(), issue()]);
    const before = control.collections;
    await Promise.all(issued.map(({ index }) => vouching.covered(index)));
    expect([sizes(), control.collections - before]).toEqual([[1, 4], 1]);
    await vouching.covered(issued[0].index);
    expect(control.collections - before).toBe(1);
  });

  test('leaves one record, of which the published head is told', async () => {
    const { issue, log, vouching } = await start();
    const { index } = await issue();
    await vouching.covered(index);
    await eventually(() => log.checkpoints.length === 3);
    expect(parseRecord(log.entries.at(-1)!).record).toMatchObject({ kind: 'epoch', seq: 1 });
    const [, size] = Buffer.from(log.checkpoints.at(-1)!).toString('utf8').split('\n');
    expect(size).toBe(String(log.size));
  });
});

describe('evidence that gets old', () => {
  test('is renewed from half its age on, though nobody asks for anything, and without a record', async () => {
    const { sizes, log, vouching } = await start();
    await pass(1800 * SECOND);
    expect(sizes()).toEqual([1]);
    await pass(900 * SECOND);
    await eventually(() => sizes().length === 2);
    expect(sizes()).toEqual([1, 1]);
    expect(log.size).toBe(1);
    for (let quarter = 0; quarter < 20; quarter++) {
      const { seq } = vouching.head;
      await pass(900 * SECOND);
      if (quarter % 3 === 2) await eventually(() => vouching.head.seq > seq);
      expect(vouching.stopReason).toBeUndefined();
    }
  });

  test.each(['fail', 'hang'] as const)('nothing is signed under it where collections %s', async (how) => {
    const { issue, control, vouching, log } = await start();
    await issue();
    control[how] = true;
    await pass(3599 * SECOND);
    await issue();
    await pass(2 * SECOND);
    expect(vouching.stopReason?.code).toBe('EVIDENCE_TOO_OLD');
    const { size } = log;
    await expect(issue()).rejects.toMatchObject({ code: 'ISSUING_STOPPED' });
    const act = { act: 'admin', actor: 'a', rule: 'r', subject: new Uint8Array(32), count: 0 } as const;
    await expect(vouching.recordAct(act)).rejects.toMatchObject({ code: 'ISSUING_STOPPED' });
    expect(log.size).toBe(size);
  });

  test('counts from when the hardware was asked: a host may pause the machine before it is taken', async () => {
    const { control, vouching } = await start();
    control.pauseMs = 7200 * SECOND;
    await vouching.attest(new Uint8Array(32).fill(1));
    expect(vouching.stopReason?.code).toBe('EVIDENCE_TOO_OLD');
  });

  test('is renewed by the first request after a pause of the machine', async () => {
    const { issue, vouching } = await start();
    // The clock jumps; no timer ran meanwhile.
    jest.setSystemTime(NOW + 7200 * SECOND);
    await expect(issue()).rejects.toMatchObject({ code: 'ISSUING_STOPPED' });
    await eventually(() => vouching.stopReason === undefined);
    await issue();
  });

  test('is renewed after a pause without a request, where others take these', async () => {
    const { vouching } = await start();
    jest.setSystemTime(NOW + 7200 * SECOND);
    vouching.renewStale();
    await eventually(() => vouching.stopReason === undefined);
  });
});
