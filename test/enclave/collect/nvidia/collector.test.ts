import { randomBytes } from 'node:crypto';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { concat } from '../../../../attestation/bytes/bytes.ts';
import { NO_COLLATERAL } from '../../../../attestation/collateral.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { referenceLibrary } from '../../../../attestation/evidence/appraise.ts';
import type { AppraisalContext } from '../../../../attestation/evidence/context.ts';
import { appraiseDevices } from '../../../../attestation/evidence/devices.ts';
import type { DeviceEvidence } from '../../../../attestation/evidence/evidence.ts';
import { SIMULATED_ANCHORS } from '../../../../attestation/evidence/simulatedAnchors.ts';
import { SIMULATED_POLICY } from '../../../../attestation/policy/defaults.ts';
import type { DeviceCollector } from '../../../../enclave/collect/collector.ts';
import type { CollectErrorCode } from '../../../../enclave/collect/errors.ts';
import { nvmlWay } from '../../../../enclave/collect/nvidia/way.ts';
import { createSimulatedGpu } from '../../../../enclave/collect/simulated/nvidia.ts';
import { createSimulatedRims } from '../../../../enclave/collect/simulated/rim.ts';
import { collectFailure } from '../../../support/collecting.ts';
import {
  describeDriver,
  type Fault,
  NvidiaDriver,
  pemOf,
  sized,
  uuidOf,
} from '../../../support/nvidiaDriver.ts';
import { mintDevice } from '../../../support/nvidiaMachine.ts';

const NONCE = new Uint8Array(32).fill(0x5a);
/** For calls that are never meant to be late, however busy the machine is. */
const PATIENT = { initialise: 600_000, attest: 600_000, ask: 600_000 };
const REPORT = 'nvmlDeviceGetConfComputeGpuAttestationReport';
const CERTIFICATE = 'nvmlDeviceGetConfComputeGpuCertificate';

async function failedChecks(devices: readonly DeviceEvidence[], nonce: Uint8Array) {
  const context: AppraisalContext = {
    policy: SIMULATED_POLICY,
    anchors: SIMULATED_ANCHORS,
    collateral: { ...NO_COLLATERAL, rims: await createSimulatedRims() },
    now: Date.now(),
    crypto: nodeCrypto,
  };
  const { checks, verified } = await appraiseDevices(devices, nonce, '', context, referenceLibrary(context));
  expect(verified).toHaveLength(devices.length);
  return checks.filter(({ result }) => result === 'fail').map(({ id, code }) => `${id} ${code}`);
}

describeDriver('evidence of GPUs through NVML', () => {
  let driver: NvidiaDriver;
  let nvml: string;
  let collector: DeviceCollector;

  beforeAll(async () => {
    const gpus = await Promise.all([createSimulatedGpu('mpt'), createSimulatedGpu('mpt')]);
    driver = await NvidiaDriver.start({ gpus });
    nvml = driver.build('nvml');
  });
  afterAll(() => driver.stop());
  beforeEach(async () => {
    driver.reset();
    collector = await nvmlWay({ nvml, deadlines: PATIENT }).open();
  });
  afterEach(() => collector.close());

  test('passes the production verifier, for each nonce anew', async () => {
    for (const nonce of [NONCE, randomBytes(32)]) {
      const devices = await collector.collect(nonce);
      expect(devices.map(({ kind }) => kind)).toEqual(['gpu', 'gpu']);
      expect(devices.map(({ certificates }) => certificates)).toEqual(
        driver.gpus.map(({ certificates }) => certificates),
      );
      expect(await failedChecks(devices, nonce)).toEqual([]);
    }
  });

  test('asks one thing at a time, however many collections are wanted', async () => {
    const nonces = [NONCE, randomBytes(32), randomBytes(32)];
    const collected = await Promise.all(nonces.map((nonce) => collector.collect(nonce)));
    for (const [i, devices] of collected.entries()) {
      expect(await failedChecks(devices, nonces[i]!)).toEqual([]);
    }
    expect(driver.mostOpen).toBe(1);
    expect(driver.asked.filter((question) => question.startsWith(REPORT))).toHaveLength(6);
  });

  test('is for the nonce as it was, whatever the caller does with its buffer', async () => {
    const buffer = NONCE.slice();
    const collected = collector.collect(buffer);
    buffer.fill(0x77);
    expect(await failedChecks(await collected, NONCE)).toEqual([]);
  });

  test('refuses a nonce of another length', () => {
    expect(() => collector.collect(new Uint8Array(31))).toThrow(RangeError);
  });

  test('has nothing to say once it is closed', async () => {
    await collector.close();
    expect(await collectFailure(() => collector.collect(NONCE))).toBe('STOPPED');
    expect(driver.asked.at(-1)).toBe('nvmlShutdown');
  });

  test.each([
    ['permission denied', 4, 'PERMISSION_DENIED'],
    ['the GPU is lost', 15, 'DEVICE_LOST'],
    ['the GPU needs a reset', 16, 'DEVICE_LOST'],
    ['the driver was unloaded', 1, 'DEVICE_LOST'],
    ['the GPU is in use', 19, 'DEVICE_BUSY'],
    ['the driver gave up', 10, 'DEVICE_TIMEOUT'],
    ['not supported', 3, 'DEVICE_REFUSED'],
    ['unknown', 999, 'DEVICE_REFUSED'],
    ['a code of no meaning', -77, 'DEVICE_REFUSED'],
  ])('%s: refused by name, and collected again once it is over', async (_, code, expected) => {
    driver.faults.set(REPORT, (usual, [gpu]) => (gpu === '1' ? { code } : usual));
    expect(await collectFailure(() => collector.collect(NONCE))).toBe(expected);
    driver.faults.clear();
    expect(await failedChecks(await collector.collect(NONCE), NONCE)).toEqual([]);
  });

  const shorter: Fault = ({ bytes }) => sized(bytes!.subarray(0, -30));
  const longer: Fault = ({ bytes }) => sized(concat(bytes!, new Uint8Array(1)));
  const older: Fault = async () => sized(await driver.gpus[0]!.report(new Uint8Array(32).fill(1)));
  const stating =
    (number: number): Fault =>
    ({ bytes }) => ({ number, bytes: bytes! });

  test.each<readonly [string, string, Fault, CollectErrorCode]>([
    ['a report for an older nonce', REPORT, older, 'EVIDENCE_MISMATCH'],
    ['an empty report', REPORT, stating(0), 'EVIDENCE_MALFORMED'],
    ['a report said to be larger than its array', REPORT, stating(8193), 'EVIDENCE_MALFORMED'],
    ['a report said to be as large as can be', REPORT, stating(0xffffffff), 'EVIDENCE_MALFORMED'],
    ['a truncated report', REPORT, shorter, 'EVIDENCE_MALFORMED'],
    ['a report with a byte too many', REPORT, longer, 'EVIDENCE_MALFORMED'],
    ['an empty chain', CERTIFICATE, stating(0), 'EVIDENCE_MALFORMED'],
    ['a chain said to be larger than its array', CERTIFICATE, stating(5121), 'EVIDENCE_MALFORMED'],
    ['a truncated chain', CERTIFICATE, shorter, 'EVIDENCE_MALFORMED'],
  ])('%s is refused', async (_, name, fault, expected) => {
    driver.faults.set(name, fault);
    expect(await collectFailure(() => collector.collect(NONCE))).toBe(expected);
  });

  test('a chain that counts the NUL at its end is read', async () => {
    driver.faults.set(CERTIFICATE, longer);
    expect(await failedChecks(await collector.collect(NONCE), NONCE)).toEqual([]);
  });

  test.each([
    ['root first', (chain: readonly Uint8Array[]) => chain.toReversed()],
    ['four certificates', (chain: readonly Uint8Array[]) => chain.slice(0, 4)],
    ['six certificates', (chain: readonly Uint8Array[]) => [...chain, ...chain.slice(4)]],
    ['another device between', (chain: readonly Uint8Array[]) => [...chain.slice(1), ...chain.slice(0, 1)]],
  ])('a chain with %s is refused', async (_, alter) => {
    const altered = pemOf(alter(driver.gpus[0]!.certificates));
    driver.faults.set(CERTIFICATE, () => ({ number: altered.length, bytes: altered }));
    expect(await collectFailure(() => collector.collect(NONCE))).toBe('EVIDENCE_MALFORMED');
  });

  test('GPUs in another order are not those of the start', async () => {
    driver.faults.set('nvmlDeviceGetHandleByIndex_v2', (_, [index]) => ({ number: 1 - Number(index) }));
    expect(await collectFailure(() => collector.collect(NONCE))).toBe('DEVICE_LOST');
  });

  test('a GPU less is not the machine of the start', async () => {
    driver.faults.set('nvmlDeviceGetCount_v2', () => ({ number: 1 }));
    expect(await collectFailure(() => collector.collect(NONCE))).toBe('DEVICE_LOST');
  });

  test('a GPU in the place of another is told by its UUID', async () => {
    driver.faults.set('nvmlDeviceGetUUID', (_, [gpu]) => ({
      bytes: Buffer.from(`${uuidOf(5 + Number(gpu))}\0`),
    }));
    expect(await collectFailure(() => collector.collect(NONCE))).toBe('DEVICE_LOST');
  });

  test.each([
    ['confidential computing switched off', [2, 0, 0, 0], 'CONFIDENTIAL_COMPUTING_OFF'],
    ['DevTools switched on', [2, 1, 1, 0], 'DEVTOOLS_ON'],
    ['a simulated environment', [1, 1, 0, 0], 'CONFIDENTIAL_COMPUTING_OFF'],
    ['Protected PCIe from now on', [2, 1, 0, 1], 'DEVICE_LOST'],
    ['a multi-GPU mode that nobody knows', [2, 1, 0, 3], 'DEVICE_REFUSED'],
  ] as const)('%s after the start: no evidence and no work', async (_, mode, expected) => {
    driver.mode = mode;
    expect(await collectFailure(() => collector.collect(NONCE))).toBe(expected);
    expect(await collectFailure(() => collector.admitWork())).toBe(expected);
    expect(driver.ready).toBe(0);
  });

  test('a report in Protected PCIe mode that the driver does not state is refused', async () => {
    const gpu = await mintDevice({ mode: 'ppcie' });
    driver.faults.set(REPORT, async (_, [, nonce = '']) =>
      sized((await gpu.evidence(Buffer.from(nonce, 'hex'))).report),
    );
    expect(await collectFailure(() => collector.collect(NONCE))).toBe('EVIDENCE_MISMATCH');
  });
});

describeDriver('a GPU that hangs', () => {
  let driver: NvidiaDriver;

  beforeAll(async () => {
    driver = await NvidiaDriver.start({ gpus: [await createSimulatedGpu('spt')] });
  });
  afterAll(() => driver.stop());

  test('is late, then busy until the call returns, then as before', async () => {
    const way = nvmlWay({ nvml: driver.build('nvml'), deadlines: { ...PATIENT, attest: 1000 } });
    const collector = await way.open();
    let release: () => void = () => undefined;
    const released = new Promise<void>((resolve) => (release = resolve));
    driver.faults.set(REPORT, async (usual) => {
      await released;
      return usual;
    });
    expect(await collectFailure(() => collector.collect(NONCE))).toBe('DEVICE_TIMEOUT');
    expect(await collectFailure(() => collector.collect(NONCE))).toBe('DEVICE_BUSY');
    // Whoever looks or opens meanwhile adds no second call.
    expect((await way.find()).state).toBe('unusable');
    expect(await collectFailure(() => way.open())).toBe('DEVICE_BUSY');
    expect(driver.asked.filter((question) => question.startsWith(REPORT))).toHaveLength(1);
    driver.faults.clear();
    release();
    let evidence: readonly DeviceEvidence[] | undefined;
    while (!evidence) {
      await collectFailure(async () => (evidence = await collector.collect(NONCE)));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(await failedChecks(evidence, NONCE)).toEqual([]);
    await collector.close();
  });
});

describeDriver('a GPU that hangs for ever', () => {
  let driver: NvidiaDriver;

  beforeAll(async () => {
    driver = await NvidiaDriver.start({ gpus: [await createSimulatedGpu('spt')] });
  });
  afterAll(() => driver.stop());

  test('keeps nobody from closing, and who waits is told', async () => {
    const collector = await nvmlWay({ nvml: driver.build('nvml'), deadlines: PATIENT }).open();
    let release: () => void = () => undefined;
    const released = new Promise<void>((resolve) => (release = resolve));
    const reached = new Promise<void>((reach) => {
      driver.faults.set(REPORT, async (usual) => {
        reach();
        await released;
        return usual;
      });
    });
    const collecting = collectFailure(() => collector.collect(NONCE));
    const waiting = collectFailure(() => collector.admitWork());
    await reached;
    await collector.close();
    expect([await collecting, await waiting]).toEqual(['STOPPED', 'STOPPED']);
    expect(driver.asked).not.toContain('nvmlShutdown');
    release();
    // The library is let go of once the call is back, and nothing more is asked of the GPU.
    while (!driver.asked.includes('nvmlShutdown')) await new Promise((resolve) => setImmediate(resolve));
    expect(driver.asked.slice(driver.asked.findIndex((asked) => asked.startsWith(REPORT)) + 1)).toEqual([
      'nvmlShutdown',
    ]);
  });
});

describeDriver('the ready state', () => {
  let driver: NvidiaDriver;
  let collector: DeviceCollector;
  const SET = 'nvmlSystemSetConfComputeGpusReadyState';

  beforeAll(async () => {
    driver = await NvidiaDriver.start({ gpus: [await createSimulatedGpu('spt')] });
    collector = await nvmlWay({ nvml: driver.build('nvml'), deadlines: PATIENT }).open();
  });
  beforeEach(() => driver.reset());
  afterAll(async () => {
    await collector.close();
    await driver.stop();
  });
  const settings = () => driver.asked.filter((question) => question.startsWith(SET));

  test('is set by nothing but admitWork, to 1', async () => {
    await collector.collect(NONCE);
    expect(settings()).toEqual([]);
    await collector.admitWork();
    expect(settings()).toEqual([`${SET} 1`]);
    expect(driver.ready).toBe(1);
  });

  test('is left as it is where it is 1 already, as after a restart of the service', async () => {
    driver.ready = 1;
    await collector.admitWork();
    expect(settings()).toEqual([]);
  });

  test('is read back: a driver that says yes and does nothing is refused', async () => {
    driver.faults.set('nvmlSystemGetConfComputeGpusReadyState', () => ({ number: 0 }));
    expect(await collectFailure(() => collector.admitWork())).toBe('DEVICE_REFUSED');
  });

  test('may not be set by everybody', async () => {
    driver.faults.set(SET, () => ({ code: 4 }));
    expect(await collectFailure(() => collector.admitWork())).toBe('PERMISSION_DENIED');
    expect(driver.ready).toBe(0);
  });

  test('is not set to 0 at the end', async () => {
    const other = await nvmlWay({ nvml: driver.build('nvml', 'SETTINGS'), deadlines: PATIENT }).open();
    await other.admitWork();
    await other.close();
    expect(driver.ready).toBe(1);
  });
});
