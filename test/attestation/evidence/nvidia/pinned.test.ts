import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { fromHex, toHex, utf8 } from '../../../../attestation/bytes/bytes.ts';
import type { Check, CheckId } from '../../../../attestation/checks.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { portableCrypto } from '../../../../attestation/crypto/portable.ts';
import { appraiseDevice } from '../../../../attestation/evidence/nvidia/appraise.ts';
import { indexText } from '../../../../attestation/evidence/nvidia/indices.ts';
import { pinMeasurements } from '../../../../attestation/evidence/nvidia/pinned.ts';
import {
  ReferenceLibrary,
  type DeviceReferences,
} from '../../../../attestation/evidence/nvidia/references.ts';
import { driverRimId, vbiosRimId, verifyRim } from '../../../../attestation/evidence/nvidia/rim.ts';
import { verifyDevice, type VerifiedDevice } from '../../../../attestation/evidence/nvidia/verify.ts';
import { SIMULATED_ANCHORS } from '../../../../attestation/evidence/simulatedAnchors.ts';
import { nvidiaPolicySchema } from '../../../../attestation/policy/nvidia.ts';
import type { PinnedMeasurements } from '../../../../attestation/policy/policy.ts';
import { describeCorpus } from '../../../support/corpus.ts';
import { measurementOf, mintDevice, NONCE, NOW, type DeviceSpec } from '../../../support/nvidiaMachine.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../../support/runs.ts';
import { CaseFolder, CORPUS, PERMISSIVE } from './corpusCases.ts';

const MISSING: DeviceReferences = { driver: { missing: 'DRIVER_ID' }, vbios: { missing: 'VBIOS_ID' } };
const SPAN = Array.from({ length: 64 }, (_, i) => i);
const ZERO = new Uint8Array(48);

async function verified(spec: DeviceSpec = {}): Promise<VerifiedDevice> {
  const minted = await mintDevice(spec);
  return verifyDevice(await minted.evidence(), {
    crypto: nodeCrypto,
    now: NOW,
    anchors: SIMULATED_ANCHORS,
    nonce: NONCE,
  });
}

function judge(
  device: VerifiedDevice,
  sets: readonly PinnedMeasurements[],
  references: DeviceReferences = MISSING,
): readonly Check[] {
  const policy = { ...PERMISSIVE, pinnedMeasurements: [...sets] };
  return appraiseDevice(device, references, policy, 'gpu 0').checks;
}

/** `result code` of the checks of reference values. */
function outcomes(checks: readonly Check[]): Partial<Record<CheckId, string>> {
  const judged = checks.filter(({ id }) => id.endsWith('-reference') || id === 'device.measurements');
  return Object.fromEntries(judged.map(({ id, result, code }) => [id, `${result} ${code}`]));
}

const measured = (checks: readonly Check[]) => checks.find(({ id }) => id === 'device.measurements')!;

function pin(device: VerifiedDevice): PinnedMeasurements {
  const [set, other] = pinMeasurements([device]);
  expect(other).toBeUndefined();
  return set!;
}

/** A set with other values at some indices; undefined leaves an index out. */
function withValues(
  set: PinnedMeasurements,
  changes: Readonly<Record<string, string[] | undefined>>,
): PinnedMeasurements {
  const entries = Object.entries({ ...set.values, ...changes });
  return { ...set, values: Object.fromEntries(entries.flatMap(([i, value]) => (value ? [[i, value]] : []))) };
}

const PINNED = {
  'device.driver-reference': 'skip NOT_REQUIRED',
  'device.vbios-reference': 'skip NOT_REQUIRED',
  'device.measurements': 'pass OK',
};

describe('pinned measurement sets of minted devices', () => {
  test('stand in for both manifests, and every reason says that NVIDIA did not publish them', async () => {
    const device = await verified();
    const set = pin(device);
    expect(set).toMatchObject({
      name: 'GH100 driver 550.90.07 VBIOS 96.00.9F.00.04',
      kind: 'gpu',
      chip: 'GH100',
      driverVersion: '550.90.07',
      vbiosVersion: '96.00.9F.00.04',
    });
    const checks = judge(device, [set]);
    expect(outcomes(checks)).toEqual(PINNED);
    for (const id of Object.keys(PINNED)) {
      const { reason } = checks.find((check) => check.id === id)!;
      expect(reason).toContain(`«${set.name}»`);
      expect(reason).toContain('pinned by policy, not published by NVIDIA');
    }
    expect(measured(checks).reason).toContain('32 measurements (index 0-12, 21-34, 36-40)');
    expect(measured(checks).reason).toContain('index 13-20, 35, 41-63 not judged');
  });

  test.each([
    ['driver', { fields: new Map([[3, utf8('550.90.12\0')]]) }],
    ['VBIOS', { fields: new Map([[6, fromHex('009f009605000000')]]) }],
    ['chip', { chip: 'GB100' as const }],
  ])('do not fit a device of another %s', async (_, spec) => {
    const set = pin(await verified());
    expect(outcomes(judge(await verified(spec), [set]))).toEqual({
      'device.driver-reference': 'fail REFERENCE_VALUES_MISSING',
      'device.vbios-reference': 'fail REFERENCE_VALUES_MISSING',
      'device.measurements': 'fail REFERENCE_VALUES_MISSING',
    });
  });

  test('another value at a pinned index', async () => {
    const set = pin(await verified());
    const device = await verified({ measurements: new Map([[9, ZERO]]) });
    const check = measured(judge(device, [set]));
    expect(check).toMatchObject({ result: 'fail', code: 'MEASUREMENT_MISMATCH' });
    expect(check.reason).toMatch(/^index 9 differs/);
    expect(check.reason).toContain(set.name);
  });

  test('the value of another index, and an index beyond the report', async () => {
    const device = await verified();
    const set = pin(device);
    const swapped = withValues(set, { '21': set.values['22'] });
    expect(measured(judge(device, [swapped])).code).toBe('MEASUREMENT_MISMATCH');
    const beyond = withValues(set, { '64': ['00'.repeat(48)] });
    expect(measured(judge(device, [beyond])).reason).toMatch(/^index 64 differs/);
  });

  test('any of several values of an index', async () => {
    const device = await verified();
    const set = pin(device);
    const alternatives = withValues(set, { '9': ['00'.repeat(48), ...set.values['9']!] });
    expect(outcomes(judge(device, [alternatives]))).toEqual(PINNED);
  });

  test('a set that leaves out what the manifests of the chip judge proves too little', async () => {
    const device = await verified();
    const few = withValues(pin(device), { '0': undefined, '9': undefined, '40': undefined });
    const check = measured(judge(device, [few]));
    expect(check).toMatchObject({ result: 'fail', code: 'REFERENCE_VALUES_MISSING' });
    expect(check.reason).toContain('no values for index 0, 9, 40');
  });

  test('NVDEC0 that was off when the values were pinned and is on now', async () => {
    const off = pin(await verified());
    expect(off.values).not.toHaveProperty('35');
    const on = await verified({ fields: new Map([[11, fromHex('aa')]]) });
    const check = measured(judge(on, [off]));
    expect(check).toMatchObject({ result: 'fail', code: 'REFERENCE_VALUES_MISSING' });
    expect(check.reason).toContain('no values for index 35');
    expect(outcomes(judge(on, [pin(on)]))).toEqual(PINNED);
    // With the engine off its value is undefined, pinned or not.
    const undefinedValue = await verified({ measurements: new Map([[35, ZERO]]) });
    const reason = measured(judge(undefinedValue, [pin(on)])).reason;
    expect(reason).toContain('index 35 not judged as NVDEC0 is off');
  });

  test('of a chip without known manifests, every value that is not zero must be pinned', async () => {
    const runtime = new Map([[63, ZERO]]);
    const set = pin(await verified({ chip: 'GB20X', measurements: runtime }));
    expect(Object.keys(set.values)).toHaveLength(63);
    const without = withValues(set, { '63': undefined, '50': undefined });
    const same = await verified({ chip: 'GB20X', measurements: new Map([...runtime, [50, ZERO]]) });
    expect(outcomes(judge(same, [without]))).toEqual(PINNED);
    const other = await verified({ chip: 'GB20X' });
    const check = measured(judge(other, [without]));
    expect(check).toMatchObject({ result: 'fail', code: 'REFERENCE_VALUES_MISSING' });
    expect(check.reason).toContain('no values for index 50, 63');
  });

  test('of several sets that fit, one must hold as a whole', async () => {
    const device = await verified();
    const set = pin(device);
    const first = { ...withValues(set, { '1': ['11'.repeat(48)] }), name: 'first' };
    const second = { ...withValues(set, { '2': ['22'.repeat(48)] }), name: 'second' };
    expect(outcomes(judge(device, [first, set]))).toEqual(PINNED);
    expect(measured(judge(device, [first, second])).code).toBe('MEASUREMENT_MISMATCH');
  });

  test('one set for each chip and pair of versions; devices that differ become alternatives', async () => {
    const devices = await Promise.all([
      verified(),
      verified({ measurements: new Map([[24, ZERO]]) }),
      verified({ fields: new Map([[3, utf8('570.10\0')]]) }),
      verified({ chip: 'LS10' }),
    ]);
    const sets = pinMeasurements(devices);
    expect(sets.map(({ name }) => name)).toEqual([
      'GH100 driver 550.90.07 VBIOS 96.00.9F.00.04',
      'GH100 driver 570.10 VBIOS 96.00.9F.00.04',
      'LS10 BIOS 96.10.55.00.01',
    ]);
    expect(sets[0]!.values['24']).toEqual([toHex(measurementOf(24)), toHex(ZERO)]);
    expect(Object.keys(sets[2]!.values)).toHaveLength(31);
    expect(nvidiaPolicySchema.parse({ ...PERMISSIVE, pinnedMeasurements: sets })).toBeTruthy();
    for (const device of devices) expect(measured(judge(device, sets)).result).toBe('pass');
    expect(pinMeasurements([])).toEqual([]);
  });

  test(
    'no change of what manifests judge passes',
    async () => {
      const set = pin(await verified());
      const indices = SPAN.filter((index) => Object.hasOwn(set.values, String(index)));
      await fc.assert(
        fc.asyncProperty(
          fc.constantFrom(...indices),
          fc.nat(47),
          fc.integer({ min: 1, max: 255 }),
          async (index, at, mask) => {
            const value = Uint8Array.from(measurementOf(index));
            value[at]! ^= mask;
            const device = await verified({ measurements: new Map([[index, value]]) });
            expect(measured(judge(device, [set])).code).toBe('MEASUREMENT_MISMATCH');
          },
        ),
        propertyRuns(40),
      );
    },
    PROPERTY_TIMEOUT,
  );
});

test('indexText', () => {
  expect(indexText([])).toBe('');
  expect(indexText([9, 3, 1, 2, 11, 10])).toBe('1-3, 9-11');
  expect(indexText([5])).toBe('5');
});

describeCorpus('pinned measurement sets of recorded devices', CORPUS, (corpus) => {
  const load = async (id: string, file?: string, kind: 'gpu' | 'switch' = 'gpu', crypto = nodeCrypto) => {
    const folder = new CaseFolder(corpus, id);
    const evidence = file ? folder.devices(file, kind) : [folder.device(kind)];
    return Promise.all(evidence.map((device) => verifyDevice(device, folder.options({}, crypto))));
  };

  test.each([
    ['hgx-h200-570.124.06-no-ppcie', 'gpu_evidence.json', 8],
    ['hgx-h100-ppcie-590.12', 'gpu_evidence.json', 8],
    ['hgx-h100-590.12-four-gpus', 'gpu_evidence.json', 4],
    ['h100-570.86.10-pre-release-driver', 'gpu_evidence.json', 1],
    ['gb100-575.32-device', undefined, 1],
    ['gb20x-595.58.03-device', undefined, 1],
  ])('%s is judged by the values of its first device', async (id, file, count) => {
    const devices = await load(id, file);
    expect(devices).toHaveLength(count);
    const sets = pinMeasurements(devices.slice(0, 1));
    expect(nvidiaPolicySchema.parse({ ...PERMISSIVE, pinnedMeasurements: sets })).toBeTruthy();
    for (const device of devices) expect(outcomes(judge(device, sets))).toEqual(PINNED);
  });

  test('with the portable provider', async () => {
    const [device] = await load('gb20x-595.58.03-device', undefined, 'gpu', portableCrypto);
    const set = pin(device!);
    expect(set.values).toHaveProperty('35');
    expect(outcomes(judge(device!, [set]))).toEqual(PINNED);
  });

  test('LS10 of one machine differ: values of one refuse the others, those of all pass', async () => {
    const switches = await load('hgx-h100-ppcie-590.12', 'switch_evidence.json', 'switch');
    const references: DeviceReferences = { driver: undefined, vbios: { missing: 'BIOS_ID' } };
    const one = pinMeasurements(switches.slice(0, 1));
    const all = pinMeasurements(switches);
    expect(all).toHaveLength(1);
    const results = (sets: readonly PinnedMeasurements[]) =>
      switches.map((device) => measured(judge(device, sets, references)).code);
    expect(results(one)).toEqual(['OK', ...Array.from({ length: 3 }, () => 'MEASUREMENT_MISMATCH')]);
    expect(results(all)).toEqual(['OK', 'OK', 'OK', 'OK']);
  });

  test.each([
    ['h100-550.90.07-full', 'gpu', ['driver.rim.xml', 'vbios.rim.xml']],
    ['h100-545.00-no-fwid', 'gpu', ['driver.rim.xml', 'vbios.rim.xml']],
    ['ls10-96.10.55.00.01-full', 'switch', ['bios.rim.xml']],
  ] as const)('what is pinned of %s is what its manifests publish', async (id, kind, files) => {
    const folder = new CaseFolder(corpus, id);
    const [device] = await load(id, undefined, kind);
    const rims = await Promise.all(files.map((file) => verifyRim(folder.bytes(file), folder.options())));
    const published = new Map(
      rims.flatMap(({ measurements }) => [...measurements].filter(([, { active }]) => active)),
    );
    const { values } = pin(device!);
    const judged = [...published.keys()].filter((index) => index !== 35 || kind === 'switch');
    expect(Object.keys(values).map(Number)).toEqual(judged.toSorted((a, b) => a - b));
    for (const [index, [value]] of Object.entries(values)) {
      expect(published.get(Number(index))!.alternatives.map(toHex)).toContain(value);
    }
  });

  describe('a set that leaves the driver to its manifest', () => {
    const id = 'h100-550.90.07-full';
    const folder = new CaseFolder(corpus, id);
    const FIRMWARE = [0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12].map(String);

    const appraise = async (
      files: { readonly driver?: string; readonly vbios?: string },
      change: Readonly<Record<string, string[] | undefined>> = {},
      variant?: string,
    ) => {
      const options = folder.options(variant ? folder.change(variant) : {});
      const device = await verifyDevice(folder.device('gpu'), options);
      const whole = pin(device);
      const values = Object.fromEntries(FIRMWARE.map((index) => [index, whole.values[index]!]));
      const set = withValues({ ...whole, driverVersion: 'published', values } as PinnedMeasurements, change);
      const rims = new Map<string, Uint8Array>();
      if (files.driver) rims.set(driverRimId(device.report)!, folder.bytes(files.driver));
      if (files.vbios) rims.set(vbiosRimId(device.report), folder.bytes(files.vbios));
      return judge(device, [set], await new ReferenceLibrary(rims, options).of(device));
    };
    const driver = 'driver.rim.xml';

    test('while a set that covers the driver looks at no manifest, even where both are supplied', async () => {
      const device = await verifyDevice(folder.device('gpu'), folder.options());
      const rims = new Map([
        [driverRimId(device.report)!, folder.bytes(driver)],
        [vbiosRimId(device.report), folder.bytes('vbios.rim.xml')],
      ]);
      const references = await new ReferenceLibrary(rims, folder.options()).of(device);
      const policy = { ...PERMISSIVE, pinnedMeasurements: [pin(device)] };
      const { checks, manifests } = appraiseDevice(device, references, policy, 'gpu 0');
      expect(outcomes(checks)).toEqual(PINNED);
      expect(manifests).toEqual([]);
      expect(appraiseDevice(device, references, PERMISSIVE, 'gpu 0').manifests).toHaveLength(2);
    });

    test('passes with that manifest alone', async () => {
      const checks = await appraise({ driver });
      expect(outcomes(checks)).toEqual({ ...PINNED, 'device.driver-reference': 'pass OK' });
      expect(measured(checks).reason).toContain('32 measurements');
    });

    test('names the manifest that is missing', async () => {
      const checks = await appraise({});
      expect(outcomes(checks)).toEqual({
        'device.driver-reference': 'fail REFERENCE_VALUES_MISSING',
        'device.vbios-reference': 'skip NOT_REQUIRED',
        'device.measurements': 'fail REFERENCE_VALUES_MISSING',
      });
      expect(measured(checks).reason).toContain('NV_GPU_DRIVER_GH100_550.90.07');
    });

    test('refuses a mismatch although that manifest is missing', async () => {
      const checks = await appraise({}, { '9': ['00'.repeat(48)] });
      expect(measured(checks).code).toBe('MEASUREMENT_MISMATCH');
    });

    test('refuses with a manifest whose signer has expired, whatever is pinned', async () => {
      const checks = await appraise({ driver }, {}, 'after-both-rim-signers-expired');
      expect(outcomes(checks)).toEqual({
        'device.driver-reference': 'fail CERT_EXPIRED',
        'device.vbios-reference': 'skip NOT_REQUIRED',
        'device.measurements': 'skip NOT_REACHED',
      });
    });

    test('must not pin an index that the manifest judges', async () => {
      const check = measured(await appraise({ driver }, { '21': ['00'.repeat(48)] }));
      expect(check.code).toBe('MEASUREMENT_MISMATCH');
      expect(check.reason).toContain('two sources for index 21');
    });

    test('must cover the VBIOS', async () => {
      const check = measured(await appraise({ driver }, { '12': undefined }));
      expect(check.code).toBe('REFERENCE_VALUES_MISSING');
      expect(check.reason).toContain('no values for index 12');
    });
  });
});
