import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from '@jest/globals';
import { nvmlWay } from '../../../../enclave/collect/nvidia/way.ts';
import { createSimulatedGpu } from '../../../../enclave/collect/simulated/nvidia.ts';
import type { CollectErrorCode } from '../../../../enclave/collect/errors.ts';
import { collectFailure } from '../../../support/collecting.ts';
import { describeDriver, type Fault, NvidiaDriver, uuidOf } from '../../../support/nvidiaDriver.ts';

const PATIENT = { initialise: 600_000, attest: 600_000, ask: 600_000 };
const NONCE = new Uint8Array(32).fill(0x5a);
const STATE = 'nvmlSystemGetConfComputeState';
const SETTINGS = 'nvmlSystemGetConfComputeSettings';

/** A folder as the kernel lists PCI devices in it: address, vendor and class. */
async function pciBus(...devices: readonly (readonly [string, string, string])[]): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'pci-'));
  for (const [address, vendor, kind] of devices) {
    await mkdir(join(folder, address));
    await writeFile(join(folder, address, 'vendor'), `${vendor}\n`);
    await writeFile(join(folder, address, 'class'), `${kind}\n`);
  }
  return folder;
}
const HOPPER = ['0000:0f:00.0', '0x10de', '0x030200'] as const;
/** NVIDIA makes network adapters and bridges, too. */
const OTHERS = [
  ['0000:00:01.0', '0x8086', '0x030000'],
  ['0000:00:02.0', '0x10de', '0x068000'],
] as const;

describe('a machine without the driver', () => {
  let withGpu: string;
  let withoutGpu: string;
  beforeAll(async () => {
    [withGpu, withoutGpu] = await Promise.all([pciBus(...OTHERS, HOPPER), pciBus(...OTHERS)]);
  });
  afterAll(() => Promise.all([withGpu, withoutGpu].map((folder) => rm(folder, { recursive: true }))));
  const way = (pciDevices: string) => nvmlWay({ nvml: join(pciDevices, 'libnvidia-ml.so.1'), pciDevices });

  test('has nothing of this way', async () => {
    const { state, fix } = await way(withoutGpu).find();
    expect(state).toBe('absent');
    expect(fix).toBeDefined();
    expect(await collectFailure(() => way(withoutGpu).open())).toBe('LIBRARY_MISSING');
  });

  test('but with a GPU on the bus has something that cannot be used', async () => {
    expect((await way(withGpu).find()).state).toBe('unusable');
  });

  test('has nothing where the kernel lists no devices', async () => {
    expect((await way('/does/not/exist').find()).state).toBe('absent');
  });

  test('a file that is no library cannot be loaded', async () => {
    const nvml = join(withoutGpu, 'broken.so');
    await writeFile(nvml, 'not a library');
    expect(await collectFailure(() => nvmlWay({ nvml }).open())).toBe('LIBRARY_MISSING');
  });
});

describeDriver('looking for GPUs', () => {
  let driver: NvidiaDriver;
  let nvml: string;
  let pciDevices: string;

  beforeAll(async () => {
    pciDevices = await pciBus(HOPPER);
    driver = await NvidiaDriver.start({ gpus: [await createSimulatedGpu('spt')] });
    nvml = driver.build('nvml');
  });
  beforeEach(() => driver.reset());
  afterAll(async () => {
    await driver.stop();
    await rm(pciDevices, { recursive: true });
  });
  const way = (path = nvml) => nvmlWay({ nvml: path, pciDevices, deadlines: PATIENT });

  test('says what is there and changes nothing', async () => {
    const { state, detail, fix } = await way().find();
    expect([state, fix]).toEqual(['usable', undefined]);
    for (const fact of ['580.95.05', 'Hopper', '96.00.9F.00.04', uuidOf(0)]) expect(detail).toContain(fact);
    expect(driver.asked.filter((question) => question.startsWith('nvmlSystemSet'))).toEqual([]);
    expect(driver.asked.filter((question) => question === 'nvmlInit_v2')).toHaveLength(1);
    expect(driver.asked.filter((question) => question === 'nvmlShutdown')).toHaveLength(1);
  });

  test('a driver without a GPU is nothing of this way', async () => {
    driver.faults.set('nvmlInit_v2', () => ({ code: 9 }));
    const finding = await nvmlWay({ nvml, pciDevices: '/does/not/exist', deadlines: PATIENT }).find();
    expect(finding.state).toBe('absent');
  });

  const answering =
    (code: number): Fault =>
    () => ({ code });
  const faults: readonly (readonly [string, string, Fault, CollectErrorCode])[] = [
    ['no kernel module', 'nvmlInit_v2', answering(9), 'DRIVER_NOT_LOADED'],
    ['a module of another version', 'nvmlInit_v2', answering(18), 'DRIVER_NOT_LOADED'],
    ['no permission', 'nvmlInit_v2', answering(4), 'PERMISSION_DENIED'],
    ['a blocked control device', 'nvmlInit_v2', answering(17), 'PERMISSION_DENIED'],
    ['a machine without the feature', STATE, answering(3), 'CONFIDENTIAL_COMPUTING_OFF'],
    ['settings that the driver does not answer', SETTINGS, answering(3), 'DEVICE_REFUSED'],
    ['settings of another version', SETTINGS, answering(25), 'LIBRARY_TOO_OLD'],
    ['no GPU', 'nvmlDeviceGetCount_v2', () => ({ number: 0 }), 'DEVICE_MISSING'],
    ['more GPUs than can be', 'nvmlDeviceGetCount_v2', () => ({ number: 65 }), 'EVIDENCE_MALFORMED'],
    ['one GPU twice', 'nvmlDeviceGetCount_v2', () => ({ number: 2 }), 'EVIDENCE_MALFORMED'],
    ['an older architecture', 'nvmlDeviceGetArchitecture', () => ({ number: 8 }), 'DEVICE_REFUSED'],
    ['a UUID of no text', 'nvmlDeviceGetUUID', () => ({ bytes: Buffer.from([7, 0]) }), 'EVIDENCE_MALFORMED'],
    [
      'a UUID without end',
      'nvmlDeviceGetUUID',
      () => ({ bytes: Buffer.alloc(96, 65) }),
      'EVIDENCE_MALFORMED',
    ],
  ];

  test.each(faults)('%s is named, and leaves nothing open', async (_, name, fault, expected) => {
    driver.faults.set(name, fault);
    if (name === 'nvmlDeviceGetCount_v2') {
      driver.faults.set('nvmlDeviceGetHandleByIndex_v2', () => ({ number: 0 }));
    }
    expect(await collectFailure(() => way().open())).toBe(expected);
    const { state, fix } = await way().find();
    expect(state).toBe('unusable');
    expect(fix).toBeDefined();
    const opened = name === 'nvmlInit_v2' ? 0 : 2;
    expect(driver.asked.filter((question) => question === 'nvmlShutdown')).toHaveLength(opened);
  });

  test.each([
    ['off', [2, 0, 0, 0], 'CONFIDENTIAL_COMPUTING_OFF'],
    ['in DevTools mode', [2, 1, 1, 0], 'DEVTOOLS_ON'],
  ] as const)('confidential computing %s is named', async (_, mode, expected) => {
    driver.mode = mode;
    expect(await collectFailure(() => way().open())).toBe(expected);
    expect((await way().find()).state).toBe('unusable');
  });

  test('a driver without attestation is too old', async () => {
    expect(await collectFailure(() => way(driver.build('nvml', 'REPORT')).open())).toBe('LIBRARY_TOO_OLD');
    expect(driver.asked).toEqual([]);
  });

  test('a driver without settings states no multi-GPU mode, and needs none', async () => {
    const collector = await way(driver.build('nvml', 'SETTINGS')).open();
    expect(await collector.collect(NONCE)).toHaveLength(1);
    await collector.close();
    expect(driver.asked).not.toContain(SETTINGS);
  });

  test('Protected PCIe without the library of switches is refused', async () => {
    driver.mode = [2, 0, 0, 1];
    const protectedWay = nvmlWay({ nvml, nscq: '/does/not/exist/nscq.so', deadlines: PATIENT });
    expect(await collectFailure(() => protectedWay.open())).toBe('LIBRARY_MISSING');
    // The GPUs are there: what lacks is a library more.
    expect((await protectedWay.find()).state).toBe('unusable');
  });
});
