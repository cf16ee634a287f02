import { describe, expect, test } from '@jest/globals';
import { toHex } from '../../../../attestation/bytes/bytes.ts';
import type { Check, CheckId } from '../../../../attestation/checks.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { portableCrypto } from '../../../../attestation/crypto/portable.ts';
import { Refusal } from '../../../../attestation/errors.ts';
import { appraiseDevice, appraiseDeviceSet } from '../../../../attestation/evidence/nvidia/appraise.ts';
import { compareMeasurements } from '../../../../attestation/evidence/nvidia/measurements.ts';
import { ReferenceLibrary } from '../../../../attestation/evidence/nvidia/references.ts';
import {
  driverRimId,
  vbiosRimId,
  verifyRim,
  type VerifiedRim,
} from '../../../../attestation/evidence/nvidia/rim.ts';
import { verifyDevice, type VerifiedDevice } from '../../../../attestation/evidence/nvidia/verify.ts';
import type { NvidiaPolicy } from '../../../../attestation/policy/policy.ts';
import { describeCorpus } from '../../../support/corpus.ts';
import { CaseFolder, CORPUS, PERMISSIVE, type Change } from './corpusCases.ts';
import { verifyOnce } from '../../../support/verifyOnce.ts';

const CRYPTO = verifyOnce(nodeCrypto);

const H100 = 'h100-550.90.07-full';
const LS10 = 'ls10-96.10.55.00.01-full';

/** `result code` of each check. */
function outcomes(checks: readonly Check[]): Partial<Record<CheckId, string>> {
  return Object.fromEntries(checks.map(({ id, result, code }) => [id, `${result} ${code}`]));
}

function minimum<Chip extends string>(chip: Chip, version: string): { chip: Chip; version: string } {
  return { chip, version };
}

function reasonOf(checks: readonly Check[], id: CheckId): string {
  return checks.find((check) => check.id === id)?.reason ?? '';
}

describeCorpus('appraiseDevice', CORPUS, (corpus) => {
  interface Setup {
    readonly kind?: 'gpu' | 'switch';
    readonly change?: Change;
    readonly driver?: string;
    readonly vbios?: string;
    readonly policy?: Partial<NvidiaPolicy>;
    readonly crypto?: typeof nodeCrypto;
  }

  /** Verifies the device of a case, supplies the named files as its manifests and judges it. */
  async function appraise(id: string, setup: Setup): Promise<readonly Check[]> {
    const { kind = 'gpu', change = {}, crypto = CRYPTO } = setup;
    const folder = new CaseFolder(corpus, id);
    const options = folder.options(change, crypto);
    const device = await verifyDevice(folder.device(kind, change), options);
    const rims = new Map<string, Uint8Array>();
    const driverId = driverRimId(device.report);
    if (setup.driver && driverId) rims.set(driverId, folder.bytes(setup.driver));
    if (setup.vbios) rims.set(vbiosRimId(device.report), folder.bytes(setup.vbios));
    const references = await new ReferenceLibrary(rims, options).of(device);
    return appraiseDevice(device, references, { ...PERMISSIVE, ...setup.policy }, `${kind} 0`).checks;
  }

  const both = { driver: 'driver.rim.xml', vbios: 'vbios.rim.xml' };
  const PASSED = {
    'device.firmware-id': 'pass OK',
    'device.mode': 'pass OK',
    'device.identity': 'pass OK',
    'device.driver-reference': 'pass OK',
    'device.vbios-reference': 'pass OK',
    'device.measurements': 'pass OK',
  };

  test.each([
    ['node', nodeCrypto],
    ['portable', portableCrypto],
  ])('the full H100 set passes with the %s provider', async (_, crypto) => {
    const checks = await appraise(H100, { ...both, crypto, policy: { firmwareId: 'required' } });
    expect(outcomes(checks)).toEqual(PASSED);
    expect(checks.map(({ subject }) => subject)).toEqual(checks.map(() => 'gpu 0'));
  });

  test('the H100 set of 2023 passes without a firmware id, unless the policy requires one', async () => {
    const id = 'h100-545.00-no-fwid';
    expect(outcomes(await appraise(id, both))).toEqual({
      ...PASSED,
      'device.firmware-id': 'skip NOT_REQUIRED',
    });
    const required = await appraise(id, { ...both, policy: { firmwareId: 'required' } });
    expect(outcomes(required)['device.firmware-id']).toBe('fail EVIDENCE_INCOMPLETE');
  });

  test('the LS10 set passes with its one manifest', async () => {
    const checks = await appraise(LS10, { kind: 'switch', vbios: 'bios.rim.xml' });
    expect(outcomes(checks)).toEqual({
      'device.firmware-id': 'skip NOT_REQUIRED',
      'device.mode': 'pass OK',
      'device.identity': 'pass OK',
      'device.vbios-reference': 'pass OK',
      'device.measurements': 'pass OK',
    });
  });

  test('the compared indices are those that were recomputed for the corpus', async () => {
    for (const [id, kind, files] of [
      [H100, 'gpu', ['driver.rim.xml', 'vbios.rim.xml']],
      ['h100-545.00-no-fwid', 'gpu', ['driver.rim.xml', 'vbios.rim.xml']],
      [LS10, 'switch', ['bios.rim.xml']],
    ] as const) {
      const folder = new CaseFolder(corpus, id);
      const { report } = await verifyDevice(folder.device(kind), folder.options());
      const rims = await Promise.all(files.map((file) => verifyRim(folder.bytes(file), folder.options())));
      const expected = folder.data.checks['measurements'] as unknown as Record<string, number[]>;
      const compared = compareMeasurements(report, rims);
      expect(compared.equal.toSorted((a, b) => a - b)).toEqual(expected['comparedAndEqual']);
      expect(compared).toMatchObject({
        mismatched: expected['mismatched'],
        skipped: expected['skipped'],
        conflicting: expected['indexConflicts'],
      });
    }
  });

  test.each([
    ['after-vbios-rim-signer-expiry', 'pass OK', 'fail CERT_EXPIRED'],
    ['after-both-rim-signers-expired', 'fail CERT_EXPIRED', 'fail CERT_EXPIRED'],
  ])('%s', async (variant, driver, vbios) => {
    const change = new CaseFolder(corpus, H100).change(variant);
    expect(outcomes(await appraise(H100, { ...both, change }))).toMatchObject({
      'device.driver-reference': driver,
      'device.vbios-reference': vbios,
      'device.measurements': 'skip NOT_REACHED',
    });
  });

  test('h100-545.00-no-fwid, rim-signers-expired', async () => {
    const id = 'h100-545.00-no-fwid';
    const change = new CaseFolder(corpus, id).change('rim-signers-expired');
    expect(outcomes(await appraise(id, { ...both, change }))).toMatchObject({
      'device.driver-reference': 'fail CERT_EXPIRED',
      'device.vbios-reference': 'fail CERT_EXPIRED',
    });
  });

  test('rims-swapped: each manifest is for another version', async () => {
    const swapped = { driver: 'vbios.rim.xml', vbios: 'driver.rim.xml' };
    expect(outcomes(await appraise(H100, swapped))).toMatchObject({
      'device.driver-reference': 'fail COLLATERAL_MISMATCH',
      'device.vbios-reference': 'fail COLLATERAL_MISMATCH',
      'device.measurements': 'skip NOT_REACHED',
    });
  });

  test('one manifest in both places does not pass for the other', async () => {
    const checks = await appraise(H100, { driver: 'driver.rim.xml', vbios: 'driver.rim.xml' });
    expect(outcomes(checks)['device.vbios-reference']).toBe('fail COLLATERAL_MISMATCH');
  });

  test('an edited driver manifest, and a VBIOS manifest of another edition that differs at index 9', async () => {
    const checks = await appraise('h100-535.86.09-rim-negative', both);
    expect(outcomes(checks)).toMatchObject({
      'device.driver-reference': 'fail SIGNATURE_INVALID',
      'device.vbios-reference': 'pass OK',
      'device.measurements': 'fail MEASUREMENT_MISMATCH',
    });
    expect(reasonOf(checks, 'device.measurements')).toMatch(/\b9\b/);
    const first = await appraise('h100-535.86.09-rim-negative', { ...both, vbios: 'vbios-2023.rim.xml' });
    expect(outcomes(first)).toMatchObject({
      'device.vbios-reference': 'pass OK',
      'device.measurements': 'skip NOT_REACHED',
    });
  });

  test('stale-rim: an old VBIOS manifest refuses although the driver manifest is missing', async () => {
    const id = 'h100-580.95.05-trailing-zero';
    const change = new CaseFolder(corpus, id).change('trimmed');
    const checks = await appraise(id, { change, vbios: 'vbios-2023.rim.xml' });
    expect(outcomes(checks)).toMatchObject({
      'device.driver-reference': 'fail REFERENCE_VALUES_MISSING',
      'device.vbios-reference': 'pass OK',
      'device.measurements': 'fail MEASUREMENT_MISMATCH',
    });
  });

  test.each([
    ['gb100-575.32-device', 'NV_GPU_CC_DRIVER_GB100_575.32', 'NV_GPU_VBIOS_G525_0220_886_970088000F'],
    ['gb20x-595.58.03-device', 'NV_GPU_CC_DRIVER_GB202_595.58.03', 'NV_GPU_VBIOS_G153_0210_895_9802810001'],
  ])('%s without manifests names the two that are missing', async (id, driver, vbios) => {
    const checks = await appraise(id, {});
    expect(outcomes(checks)).toEqual({
      ...PASSED,
      'device.driver-reference': 'fail REFERENCE_VALUES_MISSING',
      'device.vbios-reference': 'fail REFERENCE_VALUES_MISSING',
      'device.measurements': 'fail REFERENCE_VALUES_MISSING',
    });
    expect(reasonOf(checks, 'device.driver-reference')).toContain(driver);
    expect(reasonOf(checks, 'device.vbios-reference')).toContain(vbios);
  });

  test('gb100-575.32-device, with-foreign-rim: signed below a debug root', async () => {
    const checks = await appraise('gb100-575.32-device', {
      vbios: 'vbios-other-version.debug-signed.rim.xml',
    });
    expect(outcomes(checks)['device.vbios-reference']).toBe('fail UNTRUSTED_ROOT');
  });

  test('wrong-chip-rim: a driver manifest of another chip', async () => {
    const switchFolder = new CaseFolder(corpus, LS10);
    const rim = await verifyRim(switchFolder.bytes('bios.rim.xml'), switchFolder.options());
    const folder = new CaseFolder(corpus, H100);
    const device = await verifyDevice(folder.device('gpu'), folder.options());
    const { checks } = appraiseDevice(device, { driver: rim, vbios: rim }, PERMISSIVE, 'gpu 0');
    expect(outcomes(checks)['device.driver-reference']).toBe('fail PRODUCT_MISMATCH');
  });

  test('a manifest that is no XML becomes a value, not a throw', async () => {
    const folder = new CaseFolder(corpus, H100);
    const device = await verifyDevice(folder.device('gpu'), folder.options());
    const rims = new Map([[driverRimId(device.report)!, Uint8Array.of(0)]]);
    const references = await new ReferenceLibrary(rims, folder.options()).of(device);
    expect(references.driver).toMatchObject({ id: 'NV_GPU_DRIVER_GH100_550.90.07' });
    expect(references.driver && 'refused' in references.driver && references.driver.refused).toBeInstanceOf(
      Refusal,
    );
    expect(references.vbios).toEqual({ missing: 'NV_GPU_VBIOS_1010_0200_882_96009F0001' });
  });

  describe('measurements', () => {
    /** Manifests are branded: their values are changed as only their signer could. */
    async function judge(
      change: (rims: { driver: VerifiedRim; vbios: VerifiedRim }, device: VerifiedDevice) => unknown[],
    ): Promise<Check> {
      const folder = new CaseFolder(corpus, H100);
      const options = folder.options();
      const device = await verifyDevice(folder.device('gpu'), options);
      const [driver, vbios] = await Promise.all(
        ['driver.rim.xml', 'vbios.rim.xml'].map((file) => verifyRim(folder.bytes(file), options)),
      );
      const [changedDriver, changedVbios, report] = change({ driver: driver!, vbios: vbios! }, device) as [
        VerifiedRim,
        VerifiedRim,
        VerifiedDevice['report'] | undefined,
      ];
      const judged = { ...device, report: report ?? device.report };
      const references = { driver: changedDriver, vbios: changedVbios };
      return appraiseDevice(judged, references, PERMISSIVE, 'gpu 0').checks.at(-1)!;
    }

    const withIndex = (rim: VerifiedRim, index: number, active: boolean, value?: Uint8Array): VerifiedRim => {
      const { alternatives } = rim.measurements.get(index) ?? { alternatives: [new Uint8Array(48)] };
      const changed = { active, alternatives: value ? [value] : alternatives };
      return { ...rim, measurements: new Map([...rim.measurements, [index, changed]]) };
    };

    test('an index that is active in both manifests', async () => {
      const check = await judge(({ driver, vbios }) => [driver, withIndex(vbios, 21, true)]);
      expect(check).toMatchObject({ code: 'MEASUREMENT_MISMATCH', result: 'fail' });
    });

    test('an index beyond the measurements of the report', async () => {
      const check = await judge(({ driver, vbios }) => [withIndex(driver, 64, true), vbios]);
      expect(check).toMatchObject({ code: 'MEASUREMENT_MISMATCH' });
      expect(check.reason).toMatch(/\b64\b/);
    });

    test('the value of another index does not match', async () => {
      const check = await judge(({ driver, vbios }) => [
        withIndex(driver, 21, true, driver.measurements.get(22)!.alternatives[0]),
        vbios,
      ]);
      expect(check.code).toBe('MEASUREMENT_MISMATCH');
    });

    test('manifests without any active value', async () => {
      const none = (rim: VerifiedRim): VerifiedRim => ({ ...rim, measurements: new Map() });
      const check = await judge(({ driver, vbios }) => [none(driver), none(vbios)]);
      expect(check).toMatchObject({ result: 'fail', code: 'REFERENCE_VALUES_MISSING' });
    });

    test('index 35 is judged when NVDEC0 is on', async () => {
      const wrong = new Uint8Array(48).fill(1);
      const off = await judge(({ driver, vbios }) => [withIndex(driver, 35, true, wrong), vbios]);
      expect(off.code).toBe('OK');
      const on = await judge(({ driver, vbios }, { report }) => [
        withIndex(driver, 35, true, wrong),
        vbios,
        { ...report, nvdec0: true },
      ]);
      expect(on.code).toBe('MEASUREMENT_MISMATCH');
      expect(on.reason).toMatch(/\b35\b/);
    });
  });

  describe('policy', () => {
    test('a firmware id that differs from the certified one', async () => {
      const folder = new CaseFolder(corpus, H100);
      const device = await verifyDevice(folder.device('gpu'), folder.options());
      const changed = { ...device, certifiedFirmwareId: new Uint8Array(48) };
      const references = { driver: undefined, vbios: { missing: 'x' } };
      const [check] = appraiseDevice(changed, references, PERMISSIVE, 'gpu 0').checks;
      expect(check).toMatchObject({ id: 'device.firmware-id', code: 'FIRMWARE_ID_MISMATCH' });
    });

    test.each<[string, Partial<NvidiaPolicy>, CheckId, string]>([
      ['another mode', { modes: ['mpt', 'ppcie'] }, 'device.mode', 'fail DEVICE_MODE_FORBIDDEN'],
      [
        'another architecture',
        { architectures: ['blackwell', 'ls10'] },
        'device.identity',
        'fail DEVICE_NOT_ALLOWED',
      ],
      ['another serial', { serials: ['00'] }, 'device.identity', 'fail DEVICE_NOT_ALLOWED'],
      ['its serial', { serials: ['53c22ba15e5d68088282da074ed9fb37aa585771'] }, 'device.identity', 'pass OK'],
      ['the same driver', { minimumDriver: '550.90.7' }, 'device.identity', 'pass OK'],
      ['an older driver', { minimumDriver: '550.9.100' }, 'device.identity', 'pass OK'],
      ['a shorter version', { minimumDriver: '550.90' }, 'device.identity', 'pass OK'],
      ['a newer driver', { minimumDriver: '550.90.8' }, 'device.identity', 'fail TCB_OUT_OF_DATE'],
      ['a newer branch', { minimumDriver: '1000.1' }, 'device.identity', 'fail TCB_OUT_OF_DATE'],
      ['a longer version', { minimumDriver: '550.90.7.1' }, 'device.identity', 'fail TCB_OUT_OF_DATE'],
      [
        'an older driver for its chip',
        { minimumDriver: [minimum('GB100', '999.1'), minimum('GH100', '550.54')] },
        'device.identity',
        'pass OK',
      ],
      [
        'a newer driver for its chip',
        { minimumDriver: [minimum('GH100', '570.10')] },
        'device.identity',
        'fail TCB_OUT_OF_DATE',
      ],
      [
        'drivers for other chips only',
        { minimumDriver: [minimum('GB100', '550.54')] },
        'device.identity',
        'fail REFERENCE_VALUES_MISSING',
      ],
      ['its chip', { chips: ['GH100'] }, 'device.identity', 'pass OK'],
      ['other chips', { chips: ['GB100', 'GB20X', 'LS10'] }, 'device.identity', 'fail DEVICE_NOT_ALLOWED'],
      ['its VBIOS', { minimumVbios: [minimum('GH100', '96.00.9F.00.01')] }, 'device.identity', 'pass OK'],
      [
        'its VBIOS whatever the board',
        { minimumVbios: [minimum('GH100', '96.00.9F.00')] },
        'device.identity',
        'pass OK',
      ],
      [
        'an older VBIOS, compared in hex',
        { minimumVbios: [minimum('GH100', '96.00.74.FF.FF')] },
        'device.identity',
        'pass OK',
      ],
      [
        'a newer VBIOS, compared in hex',
        { minimumVbios: [minimum('GH100', '96.00.A5.00.01')] },
        'device.identity',
        'fail TCB_OUT_OF_DATE',
      ],
      [
        'a newer VBIOS of the board',
        { minimumVbios: [minimum('GH100', '96.00.9F.00.02')] },
        'device.identity',
        'fail TCB_OUT_OF_DATE',
      ],
      [
        'a VBIOS of another chip only',
        { minimumVbios: [minimum('GB100', '97.00.00.00.00')] },
        'device.identity',
        'fail REFERENCE_VALUES_MISSING',
      ],
      [
        'another serial beside a missing minimum',
        { minimumVbios: [minimum('GB100', '97.00.00.00.00')], serials: ['00'] },
        'device.identity',
        'fail DEVICE_NOT_ALLOWED',
      ],
      [
        'opaque data that states the mode',
        { minimumOpaqueVersion: 1 },
        'device.mode',
        'fail EVIDENCE_INCOMPLETE',
      ],
    ])('%s', async (_, policy, id, outcome) => {
      expect(outcomes(await appraise(H100, { ...both, policy }))[id]).toBe(outcome);
    });

    test.each([
      ['96.10.55.00.01', 'pass OK'],
      ['96.10.56.00.00', 'fail TCB_OUT_OF_DATE'],
    ])('a switch of at least BIOS %s', async (version, outcome) => {
      const policy = { minimumVbios: [minimum('LS10', version)] };
      const checks = await appraise(LS10, { kind: 'switch', vbios: 'bios.rim.xml', policy });
      expect(outcomes(checks)['device.identity']).toBe(outcome);
    });

    test('the device is named by serial, UEID, board and versions', async () => {
      const checks = await appraise(H100, both);
      const { ueid } = new CaseFolder(corpus, H100).data.facts as { ueid: string };
      for (const text of ['53c22ba15e5d68088282da074ed9fb37aa585771', ueid, '1010 0200 882', '550.90.07']) {
        expect(reasonOf(checks, 'device.identity')).toContain(text);
      }
      const refused = await appraise(H100, { ...both, policy: { serials: ['00'] } });
      expect(reasonOf(refused, 'device.identity')).toContain(ueid);
    });

    test.each([
      [H100, /SPT.*version 0 states no feature flag/],
      ['gb100-575.32-device', /SPT.*SYS_ENABLE_STATUS 0707 \(not judged\)/],
      ['gb20x-595.58.03-device', /SPT.*as its feature flag states, SYS_ENABLE_STATUS 0700/],
    ])('the mode of %s, and what it does not say', async (id, pattern) => {
      const reason = reasonOf(await appraise(id, {}), 'device.mode');
      expect(reason).toMatch(pattern);
      expect(reason).toContain('developer tools mode is not visible in the report');
    });

    test('a switch that is not locked', async () => {
      const folder = new CaseFolder(corpus, LS10);
      const device = await verifyDevice(folder.device('switch'), folder.options());
      const unlocked = { ...device, report: { ...device.report, locked: false } } as VerifiedDevice;
      const references = { driver: undefined, vbios: { missing: 'x' } };
      const { checks } = appraiseDevice(unlocked, references, PERMISSIVE, 'switch 0');
      expect(outcomes(checks)['device.mode']).toBe('fail DEVICE_MODE_FORBIDDEN');
    });
  });
});

describeCorpus('appraiseDeviceSet', CORPUS, (corpus) => {
  const folder = new CaseFolder(corpus, 'hgx-h100-ppcie-590.12');
  const exactly = (count: number) => ({ minimum: count, maximum: count });
  const load = async (file: string, kind: 'gpu' | 'switch') =>
    Promise.all(folder.devices(file, kind).map((device) => verifyDevice(device, folder.options())));
  const loaded = Promise.all([load('gpu_evidence.json', 'gpu'), load('switch_evidence.json', 'switch')]);
  const policy = { gpus: exactly(8), switches: exactly(4), nvidia: PERMISSIVE };

  test('eight GPUs and four switches', async () => {
    const [gpus, switches] = await loaded;
    expect(outcomes(appraiseDeviceSet([...gpus, ...switches], policy))).toEqual({
      'devices.count': 'pass OK',
      'devices.distinct': 'pass OK',
      'devices.mode': 'pass OK',
      'devices.topology': 'pass OK',
    });
  });

  test('one-switch-missing, one GPU hidden, none at all', async () => {
    const [gpus, switches] = await loaded;
    for (const devices of [[...gpus, ...switches.slice(1)], [...gpus.slice(1), ...switches], []]) {
      expect(outcomes(appraiseDeviceSet(devices, policy))['devices.count']).toBe(
        'fail DEVICE_COUNT_MISMATCH',
      );
    }
  });

  test('gpu-duplicated', async () => {
    const [gpus, switches] = await loaded;
    const devices = [gpus[0]!, gpus[0]!, ...gpus.slice(2), ...switches];
    expect(outcomes(appraiseDeviceSet(devices, policy))).toEqual({
      'devices.count': 'pass OK',
      'devices.distinct': 'fail DEVICE_DUPLICATE',
      'devices.mode': 'pass OK',
      'devices.topology': 'fail TOPOLOGY_MISMATCH',
    });
  });

  test('one device under two leaf certificates', async () => {
    const [gpus, switches] = await loaded;
    const again = { ...gpus[0]!, serial: Uint8Array.of(1) };
    const devices = [gpus[0]!, again, ...gpus.slice(2), ...switches];
    const check = appraiseDeviceSet(devices, policy)[1]!;
    expect(check.code).toBe('DEVICE_DUPLICATE');
    expect(check.reason).toContain(toHex(gpus[0]!.bootRomSerial));
  });

  test('mixed modes', async () => {
    const [gpus, switches] = await loaded;
    const other = { ...gpus[0]!, report: { ...gpus[0]!.report, mode: 'spt' } } as VerifiedDevice;
    const devices = [other, ...gpus.slice(1), ...switches];
    expect(outcomes(appraiseDeviceSet(devices, policy))).toMatchObject({
      'devices.count': 'pass OK',
      'devices.mode': 'fail DEVICE_MODE_FORBIDDEN',
    });
  });

  test('a device that did not verify leaves the topology unjudged', async () => {
    const [gpus, switches] = await loaded;
    const checks = appraiseDeviceSet([...gpus, ...switches.slice(1)], policy, 12);
    expect(outcomes(checks)['devices.topology']).toBe('skip NOT_REACHED');
  });

  test('nonce-per-device-differs refuses each device', async () => {
    const change = folder.change('nonce-per-device-differs');
    const [device] = folder.devices('gpu_evidence.json', 'gpu');
    await expect(verifyDevice(device!, folder.options(change))).rejects.toMatchObject({
      code: 'NONCE_MISMATCH',
    });
  });
});
