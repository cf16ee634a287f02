import { describe, expect, test } from '@jest/globals';
import { NO_COLLATERAL, type Collateral } from '../../../attestation/collateral.ts';
import { DEFAULT_ANCHORS } from '../../../attestation/defaultAnchors.ts';
import { parseDocument } from '../../../attestation/evidence/document.ts';
import type { CpuEvidence } from '../../../attestation/evidence/evidence.ts';
import { DEFAULT_POLICY, SIMULATED_POLICY } from '../../../attestation/policy/defaults.ts';
import { parsePolicy, type Policy } from '../../../attestation/policy/policy.ts';
import {
  createSimulatedCollector,
  type SimulatedCollectorOptions,
} from '../../../enclave/collect/simulated/collector.ts';
import { defaultSelfCheckPolicy } from '../../../src/receipts/selfCheckPolicy.ts';
import type { SelfCheckFailure } from '../../../src/receipts/selfCheck.ts';
import { makeDraft, makeWorld, NOW, type WorldOptions } from '../../support/world.ts';

const DAY_MS = 86_400_000;
const nonceOf = (fill: number) => new Uint8Array(32).fill(fill);

/** Simulated hardware whose vendors' statements and reports are other ones from some moment on. */
async function changeable(hardware: SimulatedCollectorOptions = {}) {
  const real = await createSimulatedCollector({ now: () => new Date(NOW), ...hardware });
  const own = await real.collateral();
  const control: { collateral: Collateral; cpu: (report: Uint8Array) => void } = {
    collateral: own,
    cpu: () => undefined,
  };
  const collector = {
    ...real,
    async collectCpu(reportData: Uint8Array): Promise<CpuEvidence> {
      const evidence = await real.collectCpu(reportData);
      const report = evidence.report.slice();
      control.cpu(report);
      return { ...evidence, report };
    },
    collateral: () => Promise.resolve(control.collateral),
  };
  return { collector, control, own };
}

async function start(options: WorldOptions & { hardware?: SimulatedCollectorOptions } = {}) {
  const made = await changeable(options.hardware);
  const told: string[] = [];
  const selfCheck = {
    onRefused: ({ refusal }: SelfCheckFailure) => told.push(refusal),
    onUnjudged: (reasons: readonly string[]) => told.push(`unjudged ${reasons.length}`),
    ...options.selfCheck,
  };
  const world = await makeWorld({ ...options, collector: made.collector, selfCheck });
  return { ...made, ...world, told };
}

/** A flipped bit of the signature. */
const forge = (report: Uint8Array) => {
  report[0x2a0] = (report[0x2a0] ?? 0) ^ 1;
};

describe('a document of the service itself', () => {
  test('is judged before it is kept, and good ones are kept', async () => {
    const { vouching, log, told } = await start();
    await vouching.attest(nonceOf(1));
    await vouching.issue(makeDraft());
    expect([log.documents.length, vouching.stopReason, told]).toEqual([2, undefined, []]);
  });

  test.each([0, 1, 3])('is good with %d simulated GPUs', async (gpus) => {
    const { vouching } = await start({ hardware: { gpus } });
    expect(vouching.stopReason).toBeUndefined();
  });

  test('that the verifier refuses is neither kept nor cited, and stops the instance for good', async () => {
    const { vouching, log, control, told } = await start();
    const { digest } = vouching.head;
    control.cpu = forge;
    await expect(vouching.attest(nonceOf(1))).rejects.toMatchObject({ code: 'EVIDENCE_UNAVAILABLE' });
    expect(vouching.stopReason).toMatchObject({
      code: 'SELF_CHECK_FAILED',
      refusal: 'SIGNATURE_INVALID',
      advice: expect.any(String),
    });
    await expect(vouching.issue(makeDraft())).rejects.toMatchObject({ code: 'ISSUING_STOPPED' });
    control.cpu = () => undefined;
    await expect(vouching.attest(nonceOf(2))).rejects.toMatchObject({ code: 'EVIDENCE_UNAVAILABLE' });
    expect([log.documents.length, vouching.head.digest, told]).toEqual([1, digest, ['SIGNATURE_INVALID']]);
    await vouching.stop();
    expect(log.documents).toHaveLength(1);
  });

  test('ends the start where nothing can make it good', async () => {
    const made = await changeable();
    made.control.cpu = forge;
    const starting = makeWorld({ collector: made.collector, selfCheck: {} });
    await expect(starting).rejects.toMatchObject({
      code: 'SELF_CHECK_FAILED',
      refusal: 'SIGNATURE_INVALID',
      lasts: true,
    });
  });

  test.each([
    ['debugging is on', { debug: true }, 'DEBUG_ENABLED'],
    ['it was asked for at another privilege level', { vmpl: 2 }, 'PRIVILEGE_LEVEL_MISMATCH'],
  ])('ends the start where %s', async (_name, hardware, refusal) => {
    await expect(makeWorld({ hardware, selfCheck: {} })).rejects.toMatchObject({ refusal });
  });

  test('of simulated hardware ends the start where hardware was configured', async () => {
    const starting = makeWorld({ selfCheck: { simulated: false } });
    await expect(starting).rejects.toMatchObject({ refusal: 'SIMULATED_HARDWARE', lasts: true });
  });
});

describe('collateral that is not there', () => {
  test('at the start: the service is there, stopped, and goes on when it comes', async () => {
    const made = await changeable();
    made.control.collateral = NO_COLLATERAL;
    const { vouching, log } = await makeWorld({ collector: made.collector, selfCheck: {} });
    expect(vouching.stopReason).toMatchObject({ code: 'SELF_CHECK_FAILED' });
    expect([vouching.hasHead, log.documents]).toEqual([false, []]);
    expect(() => vouching.head).toThrow(expect.objectContaining({ code: 'EVIDENCE_UNAVAILABLE' }));
    await expect(vouching.issue(makeDraft())).rejects.toMatchObject({ code: 'ISSUING_STOPPED' });
    made.control.collateral = made.own;
    vouching.reconsider();
    await vouching.attest(nonceOf(1));
    expect([vouching.stopReason, vouching.hasHead]).toEqual([undefined, true]);
    await vouching.issue(makeDraft());
    expect(parseDocument(log.documents[0]!).statement).toMatchObject({ seq: 0, previous: undefined });
  });

  test('without the manifests of a device the device is not judged, and no work is let at it', async () => {
    const made = await changeable();
    made.control.collateral = { ...made.own, rims: new Map() };
    let verified = 0;
    const onVerified = () => {
      verified++;
      return Promise.resolve();
    };
    const { vouching } = await makeWorld({ collector: made.collector, selfCheck: { onVerified } });
    expect(vouching.stopReason).toMatchObject({ refusal: 'REFERENCE_VALUES_MISSING' });
    expect(verified).toBe(0);
    made.control.collateral = made.own;
    await vouching.attest(nonceOf(1));
    await vouching.attest(nonceOf(2));
    expect(verified).toBe(1);
  });

  test('that comes to its end while the service runs stops it until there is a newer one', async () => {
    const clock = { now: NOW };
    const { vouching, log, control, own, told } = await start({
      now: () => clock.now,
      keys: { lifetimeSeconds: 3000 * 86_400 },
    });
    clock.now += 400 * DAY_MS;
    await expect(vouching.attest(nonceOf(1))).rejects.toMatchObject({ code: 'EVIDENCE_UNAVAILABLE' });
    expect(vouching.stopReason).toMatchObject({ code: 'SELF_CHECK_FAILED', refusal: 'CRL_EXPIRED' });
    expect(log.documents).toHaveLength(1);
    const later = await createSimulatedCollector({ now: () => new Date(clock.now) });
    control.collateral = { ...own, crls: (await later.collateral()).crls };
    await vouching.attest(nonceOf(2));
    expect(vouching.stopReason).toBeUndefined();
    await vouching.issue(makeDraft());
    expect(told).toEqual(['CRL_EXPIRED']);
    // What a bundle carries is what the document was judged by.
    expect(Buffer.compare(log.collateral[0]!, log.collateral[1]!)).not.toBe(0);
  });

  test('a failure of the hardware meanwhile does not lift the stop', async () => {
    const { vouching, control, collector } = await start();
    control.collateral = NO_COLLATERAL;
    await vouching.attest(nonceOf(1)).catch(() => undefined);
    const working = { ...collector };
    collector.collectDevices = () => Promise.reject(new Error('EBUSY'));
    await vouching.attest(nonceOf(2)).catch(() => undefined);
    expect(vouching.stopReason?.code).toBe('SELF_CHECK_FAILED');
    Object.assign(collector, working);
    await expect(vouching.attest(nonceOf(3))).rejects.toThrow();
    expect(vouching.stopReason?.code).toBe('SELF_CHECK_FAILED');
  });
});

describe('the policy', () => {
  /** The one for simulated hardware, with other measurements. */
  function withMeasurements(measurements: { name: string; value: string }[]): Policy {
    const policy = structuredClone(SIMULATED_POLICY);
    if (policy.cpu.snp === 'refused') throw new Error('no policy');
    policy.cpu.snp.measurements = measurements;
    return policy;
  }

  test('of an operator is kept to: without reference values nothing is served', async () => {
    const made = await changeable();
    const world = await makeWorld({ collector: made.collector, selfCheck: { policy: withMeasurements([]) } });
    expect(world.vouching.stopReason).toMatchObject({ refusal: 'REFERENCE_VALUES_MISSING' });
  });

  test('of an operator that names another measurement ends the start', async () => {
    const other = withMeasurements([{ name: 'other', value: '00'.repeat(48) }]);
    await expect(makeWorld({ selfCheck: { policy: other } })).rejects.toMatchObject({
      refusal: 'MEASUREMENT_MISMATCH',
    });
  });

  test('that nobody wrote leaves what was launched unjudged, which is said once and stops nothing', async () => {
    const anchors = DEFAULT_ANCHORS.map((anchor) => ({ ...anchor, simulated: false }));
    const { vouching, told } = await start({ selfCheck: { anchors, simulated: false } });
    await vouching.attest(nonceOf(1));
    expect([vouching.stopReason, told]).toEqual([undefined, ['unjudged 1']]);
  });

  test('of an operator need not say that some documents are for nobody’s nonce', async () => {
    const { vouching } = await start({ selfCheck: { policy: SIMULATED_POLICY } });
    expect(vouching.stopReason).toBeUndefined();
  });

  test('by default names the devices that are there, debugging off, and no measurement of software', async () => {
    const { vouching } = await makeWorld({ hardware: { gpus: 2 } });
    const document = parseDocument(vouching.head.encoded);
    const policy = defaultSelfCheckPolicy(document, false);
    expect(parsePolicy(policy)).toEqual(policy);
    expect(policy).toMatchObject({
      simulated: [],
      cpu: { snp: { debug: 'refused', measurements: [] }, tdx: { debug: 'refused' }, tpm: 'refused' },
      devices: { gpus: { minimum: 2, maximum: 2 }, switches: { minimum: 0, maximum: 0 } },
    });
    expect(policy.cpu.snp).toEqual(DEFAULT_POLICY.cpu.snp);
    expect(defaultSelfCheckPolicy({ ...document, devices: [] }, true)).toMatchObject({
      simulated: ['cpu'],
      devices: 'none',
    });
    const nitro = { platform: 'nitro' as const, report: new Uint8Array(0) };
    expect(defaultSelfCheckPolicy({ cpu: nitro, devices: [] }, false).cpu.nitro).toMatchObject({
      debug: 'refused',
      measurements: [],
    });
  });
});

describe('who is told', () => {
  test('devices are let at work after the first good document, and after the first good one that follows a failure', async () => {
    const verdicts: string[] = [];
    const { vouching, control, own } = await start({
      selfCheck: {
        onVerified: ({ decision }) => {
          verdicts.push(decision);
          return Promise.resolve();
        },
      },
    });
    await vouching.attest(nonceOf(1));
    expect(verdicts).toEqual(['accepted']);
    control.collateral = NO_COLLATERAL;
    await vouching.attest(nonceOf(2)).catch(() => undefined);
    control.collateral = own;
    await vouching.attest(nonceOf(3));
    expect(verdicts).toEqual(['accepted', 'accepted']);
  });

  test('devices that cannot be let at work keep the document from being published', async () => {
    const onVerified = () => Promise.reject(new Error('NVML'));
    await expect(makeWorld({ selfCheck: { onVerified } })).rejects.toThrow('NVML');
  });

  test('how long each document took', async () => {
    const { vouching } = await start({ hardware: { cpuDelayMs: 1, gpuDelayMs: 1 } });
    const times: (number | undefined)[][] = [];
    vouching.watchEvidence(({ cpuMs, devicesMs, selfCheckMs }) =>
      times.push([cpuMs, devicesMs, selfCheckMs]),
    );
    await vouching.attest(nonceOf(1));
    expect(times).toHaveLength(2);
    expect(times.flat().every((time) => time !== undefined && time > 0)).toBe(true);
  });
});
