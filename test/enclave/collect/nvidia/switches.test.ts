import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from '@jest/globals';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { checkTopology } from '../../../../attestation/evidence/nvidia/topology.ts';
import { verifyDevice } from '../../../../attestation/evidence/nvidia/verify.ts';
import { SIMULATED_ANCHORS } from '../../../../attestation/evidence/simulatedAnchors.ts';
import type { DeviceCollector } from '../../../../enclave/collect/collector.ts';
import type { CollectErrorCode } from '../../../../enclave/collect/errors.ts';
import { nvmlWay } from '../../../../enclave/collect/nvidia/way.ts';
import { collectFailure } from '../../../support/collecting.ts';
import {
  describeDriver,
  type DrivenDevice,
  type Fault,
  NvidiaDriver,
  sizedValue,
  switchUuid,
  values,
} from '../../../support/nvidiaDriver.ts';
import { mintMachine, type MintedDevice, NOW } from '../../../support/nvidiaMachine.ts';

const PATIENT = { initialise: 600_000, attest: 600_000, ask: 600_000 };
const NONCE = new Uint8Array(32).fill(0x5a);

function driven(device: MintedDevice): DrivenDevice {
  const report = async (nonce: Uint8Array) => (await device.evidence(nonce)).report;
  return { certificates: device.certificates, report };
}

describeDriver('evidence of a machine in Protected PCIe mode', () => {
  let driver: NvidiaDriver;
  let nvml: string;
  let nscq: string;
  let collector: DeviceCollector;

  beforeAll(async () => {
    const { gpus, switches } = await mintMachine();
    driver = await NvidiaDriver.start({ gpus: gpus.map(driven), switches: switches.map(driven) });
    nvml = driver.build('nvml');
    nscq = driver.build('nscq');
  });
  afterAll(() => driver.stop());
  beforeEach(async () => {
    driver.reset();
    collector = await way().open();
  });
  afterEach(() => collector.close());
  const way = () => nvmlWay({ nvml, nscq, deadlines: PATIENT });

  test('is that of GPUs and switches, of one topology, for each nonce anew', async () => {
    for (const nonce of [NONCE, new Uint8Array(32).fill(7)]) {
      const devices = await collector.collect(nonce);
      expect(devices.map(({ kind }) => kind).join(' ')).toBe(
        `${'gpu '.repeat(8)}${'switch '.repeat(4)}`.trim(),
      );
      const options = { crypto: nodeCrypto, now: NOW, anchors: SIMULATED_ANCHORS, nonce };
      const verified = await Promise.all(devices.map((device) => verifyDevice(device, options)));
      expect(checkTopology(verified, { topology: 'required' }).result).toBe('pass');
    }
    expect(driver.mostOpen).toBe(1);
  });

  test('is found', async () => {
    const { state, detail } = await way().find();
    expect(state).toBe('usable');
    expect(detail).toContain('4 switches');
  });

  test('ends with its session', async () => {
    await collector.close();
    expect(driver.asked.slice(-2)).toEqual(['nscq_session_destroy', 'nvmlShutdown']);
  });

  const PCIE_MODE = '/config/pcie_mode';
  const CHAIN = '/config/certificate';
  const SWITCH_REPORT = '/config/attestation_report';
  const UUIDS = '/drv/nvswitch/{device}/uuid';
  const ARCHITECTURES = '/{nvswitch}/id/arch';
  const answering =
    (code: number): Fault =>
    () => ({ code });
  const observing =
    (rc: number): Fault =>
    ({ number = 0, bytes = new Uint8Array(0) }) => {
      const altered = Uint8Array.from(bytes);
      altered[0] = rc;
      return { number, bytes: altered };
    };
  const resized =
    (size: number): Fault =>
    ({ bytes = new Uint8Array(0) }) =>
      values(sizedValue(bytes.subarray(5), size));
  const older: Fault = async () => {
    const report = await driver.switches[0]!.report(new Uint8Array(32).fill(1));
    return values(sizedValue(report, report.length));
  };
  const twice: Fault = ({ number = 0, bytes = new Uint8Array(0) }) => ({
    number,
    bytes: Buffer.concat([bytes, bytes]),
  });
  const swapped: Fault = () => values(...[1, 0, 2, 3].map(switchUuid));
  const small = (value: number, count: number) => () =>
    values(...Array.from({ length: count }, () => Uint8Array.of(value)));

  test.each<readonly [string, string, Fault, CollectErrorCode]>([
    ['a switch that is not locked any more', PCIE_MODE, small(1, 1), 'CONFIDENTIAL_COMPUTING_OFF'],
    ['a switch whose mode is unknown', PCIE_MODE, small(0xff, 1), 'CONFIDENTIAL_COMPUTING_OFF'],
    ['a switch without a mode', PCIE_MODE, () => ({}), 'EVIDENCE_MALFORMED'],
    ['a switch less', UUIDS, () => values(...[0, 1, 2].map(switchUuid)), 'DEVICE_LOST'],
    ['no switch', UUIDS, () => values(), 'DEVICE_MISSING'],
    ['switches in another order', UUIDS, swapped, 'DEVICE_LOST'],
    ['one switch twice', UUIDS, twice, 'EVIDENCE_MALFORMED'],
    [
      'more switches than can be',
      UUIDS,
      () => values(...Array.from({ length: 65 }, (_, i) => switchUuid(i))),
      'EVIDENCE_MALFORMED',
    ],
    ['switches of another architecture', ARCHITECTURES, small(1, 4), 'DEVICE_REFUSED'],
    ['an architecture too few', ARCHITECTURES, small(2, 3), 'DEVICE_REFUSED'],
    [
      'a label that is a path',
      'nscq_uuid_to_label',
      () => ({ bytes: Buffer.from('a/{x}\0') }),
      'EVIDENCE_MALFORMED',
    ],
    ['a nonce that is not taken', 'nscq_session_set_input', answering(-5), 'DEVICE_REFUSED'],
    ['a nonce that is silently not taken', 'nscq_session_set_input', answering(1), 'DEVICE_REFUSED'],
    ['a report for an older nonce', SWITCH_REPORT, older, 'EVIDENCE_MISMATCH'],
    ['an empty report', SWITCH_REPORT, resized(0), 'EVIDENCE_MALFORMED'],
    ['a report larger than its array', SWITCH_REPORT, resized(8193), 'EVIDENCE_MALFORMED'],
    ['a truncated report', SWITCH_REPORT, resized(2000), 'EVIDENCE_MALFORMED'],
    ['no report', SWITCH_REPORT, () => ({}), 'EVIDENCE_MALFORMED'],
    ['two reports', SWITCH_REPORT, twice, 'EVIDENCE_MALFORMED'],
    ['a report that failed for the device', SWITCH_REPORT, observing(-7), 'DEVICE_REFUSED'],
    ['a report that failed', SWITCH_REPORT, answering(-8), 'DEVICE_TIMEOUT'],
    ['a driver that does not know reports', SWITCH_REPORT, answering(-1), 'LIBRARY_TOO_OLD'],
    ['a driver of another version', SWITCH_REPORT, answering(-6), 'DRIVER_NOT_LOADED'],
    ['a chain larger than its array', CHAIN, resized(5121), 'EVIDENCE_MALFORMED'],
    ['a truncated chain', CHAIN, resized(100), 'EVIDENCE_MALFORMED'],
  ])('%s is refused, and forgotten once it is over', async (_, name, fault, expected) => {
    driver.faults.set(name, fault);
    expect(await collectFailure(() => collector.collect(NONCE))).toBe(expected);
    driver.faults.clear();
    expect(await collector.collect(NONCE)).toHaveLength(12);
  });

  test.each<readonly [string, string, Fault, CollectErrorCode]>([
    ['switches are not locked', PCIE_MODE, small(1, 1), 'CONFIDENTIAL_COMPUTING_OFF'],
    ['there is no session', 'nscq_session_create', answering(-7), 'DEVICE_REFUSED'],
    ['a session comes with a warning', 'nscq_session_create', answering(1), 'DEVICE_REFUSED'],
  ])('cannot be had where %s', async (_, name, fault, expected) => {
    driver.faults.set(name, fault);
    expect(await collectFailure(() => way().open())).toBe(expected);
    expect((await way().find()).state).toBe('unusable');
  });

  test('cannot be had any more where the mode is switched off', async () => {
    driver.mode = [2, 1, 0, 0];
    expect(await collectFailure(() => collector.collect(NONCE))).toBe('DEVICE_LOST');
  });
});
