import { describe, expect, test } from '@jest/globals';
import type { CpuEvidence, DeviceEvidence } from '../../../attestation/evidence/evidence.ts';
import { createSimulatedCollector } from '../../../enclave/collect/simulated/collector.ts';
import {
  DRIVER_VERSION,
  FIRMWARE_ID,
  VBIOS_VERSION_FIELD,
} from '../../../enclave/collect/simulated/reference.ts';
import { requireContinuity } from '../../../src/receipts/continuity.ts';
import { readHardware } from '../../../src/receipts/hardwareFacts.ts';
import { startTestService } from '../../support/service.ts';
import { makeDraft, makeWorld, NOW } from '../../support/world.ts';

const nonceOf = (fill: number) => new Uint8Array(32).fill(fill);

type Alter = {
  cpu?: (report: Uint8Array) => void;
  devices?: (devices: readonly DeviceEvidence[]) => readonly DeviceEvidence[];
};

/** A collector whose evidence is altered from some moment on. Signatures do not matter: continuity reads, no more. */
async function alterable(gpus = 1) {
  const real = await createSimulatedCollector({ gpus, now: () => new Date(NOW) });
  const control: { alter: Alter } = { alter: {} };
  const collector = {
    ...real,
    async collectDevices(nonce: Uint8Array) {
      const devices = await real.collectDevices(nonce);
      return control.alter.devices?.(devices) ?? devices;
    },
    async collectCpu(reportData: Uint8Array): Promise<CpuEvidence> {
      const evidence = await real.collectCpu(reportData);
      const report = evidence.report.slice();
      control.alter.cpu?.(report);
      return { ...evidence, report };
    },
  };
  return { collector, control };
}

/** Adds to the byte at an offset of an SNP report. */
const bump =
  (offset: number, by = 1) =>
  (report: Uint8Array) => {
    report[offset] = (report[offset]! + by) & 0xff;
  };

/** Adds to one byte of a field of the first GPU's report, found by its content. */
const bumpField =
  (content: Uint8Array, at: number, by = 1) =>
  (devices: readonly DeviceEvidence[]) => {
    const [first, ...rest] = devices;
    const report = Buffer.from(first!.report);
    const offset = report.lastIndexOf(content);
    expect(offset).toBeGreaterThan(0);
    report[offset + at] = (report[offset + at]! + by) & 0xff;
    return [{ ...first!, report }, ...rest];
  };

/** MSRSCNT: type 12, 256 bytes. */
const COUNTS = Uint8Array.of(12, 0, 0, 1);
const utf8 = (text: string) => new TextEncoder().encode(text);

const BREAKS: readonly (readonly [string, string, Alter])[] = [
  ['another chip', 'HARDWARE_CHANGED', { cpu: bump(0x1a0) }],
  ['another guest on the chip', 'HARDWARE_CHANGED', { cpu: bump(0x140) }],
  ['another launch measurement', 'MEASUREMENT_CHANGED', { cpu: bump(0x090) }],
  ['other host data', 'MEASUREMENT_CHANGED', { cpu: bump(0x0c0) }],
  ['a guest policy that allows migration', 'MEASUREMENT_CHANGED', { cpu: bump(0x00a, 4) }],
  ['debugging switched on', 'DEBUG_ENABLED', { cpu: bump(0x00a, 8) }],
  ['older microcode', 'TCB_LOWERED', { cpu: bump(0x187, -1) }],
  ['an older committed bootloader', 'TCB_LOWERED', { cpu: bump(0x1e0, -1) }],
  ['an older build of the firmware', 'TCB_LOWERED', { cpu: bump(0x1e8, -1) }],
  ['another driver', 'DRIVER_CHANGED', { devices: bumpField(utf8(DRIVER_VERSION), 0, -1) }],
  ['registers extended once more', 'DRIVER_RELOADED', { devices: bumpField(COUNTS, 8) }],
  ['another VBIOS', 'FIRMWARE_CHANGED', { devices: bumpField(VBIOS_VERSION_FIELD, 0) }],
  ['another firmware id', 'FIRMWARE_CHANGED', { devices: bumpField(FIRMWARE_ID, 0) }],
  ['another mode', 'DEVICE_MODE_CHANGED', { devices: bumpField(Uint8Array.of(36, 0, 2, 0), 4) }],
  ['a device less', 'DEVICES_CHANGED', { devices: () => [] }],
  ['a device more', 'DEVICES_CHANGED', { devices: (devices) => [...devices, ...devices] }],
];

describe('hardware that is not what it was', () => {
  test.each(BREAKS)('%s: %s', async (_name, code, alter) => {
    const { collector, control } = await alterable();
    const { vouching, log } = await makeWorld({ collector });
    await vouching.attest(nonceOf(1));
    control.alter = alter;
    await expect(vouching.attest(nonceOf(2))).rejects.toMatchObject({ code: 'EVIDENCE_UNAVAILABLE' });
    expect(vouching.stopReason).toMatchObject({ code });
    expect(log.documents).toHaveLength(2);
    await expect(vouching.issue(makeDraft())).rejects.toMatchObject({ code: 'ISSUING_STOPPED' });
  });

  test('a device swapped for another one', async () => {
    const { collector, control } = await alterable();
    const other = await createSimulatedCollector({ gpus: 1 });
    const swapped = await other.collectDevices(nonceOf(9));
    const { vouching } = await makeWorld({ collector });
    control.alter = { devices: () => swapped };
    await expect(vouching.attest(nonceOf(2))).rejects.toMatchObject({ code: 'EVIDENCE_UNAVAILABLE' });
    expect(vouching.stopReason?.code).toBe('DEVICES_CHANGED');
  });

  test('is not forgotten when it comes back as it was, and there is no final evidence', async () => {
    const { collector, control } = await alterable();
    const { vouching, log } = await makeWorld({ collector });
    control.alter = { cpu: bump(0x1a0) };
    await vouching.attest(nonceOf(1)).catch(() => undefined);
    control.alter = {};
    await expect(vouching.attest(nonceOf(2))).rejects.toMatchObject({ code: 'EVIDENCE_UNAVAILABLE' });
    expect(vouching.stopReason?.code).toBe('HARDWARE_CHANGED');
    await vouching.stop();
    expect(log.documents).toHaveLength(1);
  });

  test('is told once to whoever watches over the service', async () => {
    const { collector, control } = await alterable();
    const told: string[] = [];
    const { vouching } = await makeWorld({ collector, onDiscontinuity: ({ code }) => told.push(code) });
    control.alter = { cpu: bump(0x187, -1) };
    for (const fill of [1, 2]) await vouching.attest(nonceOf(fill)).catch(() => undefined);
    expect(told).toEqual(['TCB_LOWERED']);
  });

  test('a request gets no answer, and readiness and metrics say why', async () => {
    const { collector, control } = await alterable();
    const running = await startTestService({}, { world: { collector } });
    const { url, service, engine } = running;
    control.alter = { cpu: bump(0x187, -1) };
    await service.vouching.attest(nonceOf(1)).catch(() => undefined);
    expect((await running.post('/v1/embeddings', { model: 'fake', input: 'hello' })).status).toBe(503);
    expect(engine.calls).toBe(0);
    const ready = await fetch(`${url}/readyz`);
    expect(ready.status).toBe(503);
    const { obstacles } = (await ready.json()) as { obstacles: { component: string; code?: string }[] };
    expect(obstacles).toMatchObject([{ component: 'evidence', code: 'TCB_LOWERED' }]);
    expect(await (await fetch(`${url}/metrics`)).text()).toContain('vouchsafe_signing_stopped 1');
  });
});

describe('hardware that goes on', () => {
  test('newer firmware of the CPU is taken', async () => {
    const { collector, control } = await alterable();
    const { vouching } = await makeWorld({ collector });
    control.alter = {
      cpu: (report) => {
        for (const offset of [0x038, 0x180, 0x1e0, 0x1e8]) bump(offset)(report);
      },
    };
    await vouching.attest(nonceOf(1));
    expect(vouching.stopReason).toBeUndefined();
    // What was reached counts from now on.
    control.alter = {};
    await vouching.attest(nonceOf(2)).catch(() => undefined);
    expect(vouching.stopReason?.code).toBe('TCB_LOWERED');
  });

  test('evidence that cannot be read is a failure, not a change', async () => {
    const { collector, control } = await alterable();
    const { vouching } = await makeWorld({ collector });
    control.alter = { cpu: bump(0x000, 9) };
    await expect(vouching.attest(nonceOf(1))).rejects.toMatchObject({ code: 'EVIDENCE_UNAVAILABLE' });
    expect(vouching.stopReason).toBeUndefined();
    control.alter = {};
    await vouching.attest(nonceOf(2));
    await vouching.issue(makeDraft());
  });

  test('two documents of one machine agree, and those of two do not', async () => {
    const [one, other] = await Promise.all([alterable(2), alterable(2)]);
    const read = async ({ collector }: typeof one, fill: number) =>
      readHardware(
        await collector.collectCpu(new Uint8Array(64)),
        await collector.collectDevices(nonceOf(fill)),
      );
    const facts = await read(one, 1);
    requireContinuity(facts, await read(one, 2));
    expect(() => requireContinuity(facts, { ...facts, devices: facts.devices.toReversed() })).toThrow();
    const foreign = await read(other, 3);
    expect(() => requireContinuity(facts, foreign)).toThrow(
      expect.objectContaining({ code: 'HARDWARE_CHANGED' }),
    );
    expect(facts.cpu.machine['chip id']).not.toBe(foreign.cpu.machine['chip id']);
  });
});
