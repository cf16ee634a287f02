import { beforeAll, describe, expect, test } from '@jest/globals';
import { fromHex, toHex } from '../../../../attestation/bytes/bytes.ts';
import { CHECKS, fail, pass, skip, type Check } from '../../../../attestation/checks.ts';
import { NO_COLLATERAL, type Collateral } from '../../../../attestation/collateral.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { portableCrypto } from '../../../../attestation/crypto/portable.ts';
import type { CryptoProvider } from '../../../../attestation/crypto/provider.ts';
import { referenceLibrary } from '../../../../attestation/evidence/appraise.ts';
import type { AppraisalContext } from '../../../../attestation/evidence/context.ts';
import {
  appraiseDevices,
  checkDevicesBinding,
  type AppraisedDevices,
} from '../../../../attestation/evidence/devices.ts';
import type { DeviceEvidence } from '../../../../attestation/evidence/evidence.ts';
import { NVIDIA_ANCHORS } from '../../../../attestation/evidence/nvidia/anchors.ts';
import { pinMeasurements } from '../../../../attestation/evidence/nvidia/pinned.ts';
import { driverRimId, vbiosRimId } from '../../../../attestation/evidence/nvidia/rim.ts';
import { verifyDevice } from '../../../../attestation/evidence/nvidia/verify.ts';
import { SIMULATED_ANCHORS } from '../../../../attestation/evidence/simulatedAnchors.ts';
import { SIMULATED_POLICY } from '../../../../attestation/policy/defaults.ts';
import type { NvidiaPolicy, Policy } from '../../../../attestation/policy/policy.ts';
import { decide } from '../../../../attestation/verdict/verdict.ts';
import { createSimulatedCollector } from '../../../../enclave/collect/simulated/collector.ts';
import { describeCorpus } from '../../../support/corpus.ts';
import { mintDevice, mintMachine, NONCE, NOW } from '../../../support/nvidiaMachine.ts';
import * as ocsp from '../../../support/ocspAuthority.ts';
import { CaseFolder, CORPUS, PERMISSIVE } from './corpusCases.ts';

const PROVIDERS: readonly (readonly [string, CryptoProvider])[] = [
  ['node', nodeCrypto],
  ['portable', portableCrypto],
];

interface Setup {
  readonly nvidia?: Partial<NvidiaPolicy>;
  readonly gpus?: readonly [number, number];
  readonly switches?: readonly [number, number];
  readonly collateral?: Partial<Collateral>;
  readonly crypto?: CryptoProvider;
  readonly now?: number;
  readonly nonce?: Uint8Array;
  readonly anchors?: AppraisalContext['anchors'];
  readonly binding?: Check;
}

function judge(devices: readonly DeviceEvidence[], setup: Setup = {}): Promise<AppraisedDevices> {
  const range = ([minimum, maximum]: readonly [number, number]) => ({ minimum, maximum });
  const policy: Policy = {
    ...SIMULATED_POLICY,
    devices: {
      gpus: range(setup.gpus ?? [0, 8]),
      switches: range(setup.switches ?? [0, 4]),
      nvidia: { ...PERMISSIVE, ...setup.nvidia },
    },
  };
  const context: AppraisalContext = {
    policy,
    anchors: setup.anchors ?? SIMULATED_ANCHORS,
    collateral: { ...NO_COLLATERAL, ...setup.collateral },
    now: setup.now ?? NOW,
    crypto: setup.crypto ?? nodeCrypto,
  };
  const library = referenceLibrary(context);
  return appraiseDevices(devices, setup.nonce ?? NONCE, '', context, library, setup.binding);
}

/** `subject: check code` of all that failed. */
function failures({ checks }: Pick<AppraisedDevices, 'checks'>): readonly string[] {
  return checks
    .filter(({ result }) => result === 'fail')
    .map(({ subject, id, code }) => `${subject}: ${id} ${code}`);
}

const checkOf = ({ checks }: AppraisedDevices, id: string) => checks.find((check) => check.id === id)!;

async function pinnedOf(
  devices: readonly DeviceEvidence[],
  { anchors = SIMULATED_ANCHORS, now = NOW, nonce = NONCE }: Setup = {},
): Promise<NvidiaPolicy['pinnedMeasurements']> {
  const options = { crypto: nodeCrypto, now, anchors, nonce };
  return [...pinMeasurements(await Promise.all(devices.map((device) => verifyDevice(device, options))))];
}

describe('a minted machine in protected PCIe', () => {
  let machine: readonly DeviceEvidence[];
  let strict: Setup;

  beforeAll(async () => {
    const { gpus, switches } = await mintMachine();
    machine = await Promise.all([...gpus, ...switches].map((device) => device.evidence()));
    const pinnedMeasurements = await pinnedOf(machine);
    const nvidia = { modes: ['ppcie' as const], topology: 'required' as const, pinnedMeasurements };
    strict = { nvidia, gpus: [8, 8], switches: [4, 4] };
  });

  test.each(PROVIDERS)('passes as a whole with the %s provider', async (_, crypto) => {
    const binding = pass('devices.binding', 'devices', 'bound');
    const result = await judge(machine, { ...strict, crypto, binding });
    expect(failures(result)).toEqual([]);
    expect(result.verified).toHaveLength(12);
    const set = result.checks.filter(({ subject }) => subject === 'devices').map(({ id }) => id);
    expect(set).toEqual([
      'devices.count',
      'devices.distinct',
      'devices.binding',
      'devices.mode',
      'devices.topology',
    ]);
  });

  test('the checks of each device stand in the order of the list', async () => {
    const { checks } = await judge(machine, strict);
    const order = Object.keys(CHECKS);
    const subjects = [...new Set(checks.map(({ subject }) => subject))];
    expect(subjects.slice(1)).toEqual([
      ...Array.from({ length: 8 }, (_, i) => `gpu ${i}`),
      ...Array.from({ length: 4 }, (_, i) => `switch ${i}`),
    ]);
    for (const subject of subjects) {
      const places = checks.filter((check) => check.subject === subject).map(({ id }) => order.indexOf(id));
      expect(places).toEqual(places.toSorted((a, b) => a - b));
      expect(new Set(places).size).toBe(places.length);
    }
    const gpu = checks.filter(({ subject }) => subject === 'gpu 0').map(({ id }) => id);
    expect(gpu).toEqual(order.filter((id) => id.startsWith('device.')));
  });

  test('gpu-hidden: one of eight, though the policy takes seven', async () => {
    expect(failures(await judge(machine.slice(1), { ...strict, gpus: [1, 8] }))).toEqual([
      'devices: devices.topology TOPOLOGY_MISMATCH',
    ]);
  });

  test('a hidden switch, though the policy takes three', async () => {
    expect(failures(await judge(machine.slice(0, -1), { ...strict, switches: [0, 4] }))).toEqual([
      'devices: devices.topology TOPOLOGY_MISMATCH',
    ]);
  });

  test('gpu-twice', async () => {
    expect(failures(await judge(machine.with(1, machine[0]!), strict))).toEqual([
      'devices: devices.distinct DEVICE_DUPLICATE',
      'devices: devices.topology TOPOLOGY_MISMATCH',
    ]);
  });

  test('chains exchanged: each report is of another key, and the machine is not judged', async () => {
    const [a, b] = machine as [DeviceEvidence, DeviceEvidence];
    const exchanged = machine
      .with(0, { ...a, certificates: b.certificates })
      .with(1, { ...b, certificates: a.certificates });
    const result = await judge(exchanged, strict);
    expect(failures(result)).toEqual([
      'devices: devices.count DEVICE_COUNT_MISMATCH',
      'gpu 0: device.signature SIGNATURE_INVALID',
      'gpu 1: device.signature SIGNATURE_INVALID',
    ]);
    expect(checkOf(result, 'devices.topology')).toMatchObject({ result: 'skip', code: 'NOT_REACHED' });
  });

  test('a device of another statement', async () => {
    const { gpus } = await mintMachine();
    const foreign = await gpus[0]!.evidence(new Uint8Array(32).fill(1));
    expect(failures(await judge(machine.with(7, foreign), strict))).toContain(
      'gpu 7: device.nonce NONCE_MISMATCH',
    );
  });

  test('a GPU in single GPU passthrough beside the others', async () => {
    const single = await (await mintDevice({ mode: 'spt' })).evidence();
    const result = await judge(machine.with(3, single), { ...strict, nvidia: PERMISSIVE });
    expect(failures(result)).toEqual(
      expect.arrayContaining([
        'devices: devices.mode DEVICE_MODE_FORBIDDEN',
        'devices: devices.topology TOPOLOGY_MISMATCH',
      ]),
    );
  });

  test('without reference values the machine is not judged, and the ids are named', async () => {
    const result = await judge(machine, { ...strict, nvidia: { topology: 'required' } });
    expect(decide(result.checks)).toBe('not-judged');
    const missing = result.checks.filter(({ code }) => code === 'REFERENCE_VALUES_MISSING');
    const reasons = missing.map(({ reason }) => reason).join();
    for (const { report } of result.verified) {
      expect(reasons).toContain(vbiosRimId(report));
      expect(reasons).toContain(driverRimId(report) ?? '');
    }
  });
});

describe('devtools-gpu', () => {
  test('shows as another measurement or not at all, and every verdict says so', async () => {
    const good = await mintDevice();
    const pinnedMeasurements = await pinnedOf([await good.evidence()]);
    // On H100 part of what index 9 measures is the confidential-computing mode of the GPU, on or devtools.
    const measurements = new Map([[9, new Uint8Array(48).fill(0xdd)]]);
    const debugged = await good.evidence(NONCE, { measurements });
    const result = await judge([debugged], { nvidia: { pinnedMeasurements } });
    expect(failures(result)).toEqual(['gpu 0: device.measurements MEASUREMENT_MISMATCH']);
    const accepted = await judge([await good.evidence()], { nvidia: { pinnedMeasurements } });
    expect(failures(accepted)).toEqual([]);
    expect(checkOf(accepted, 'device.mode').reason).toMatch(
      /developer tools mode is not visible in the report/,
    );
  });
});

describe('devices.binding', () => {
  const device: DeviceEvidence = { kind: 'gpu', report: new Uint8Array(1), certificates: [] };
  const digest = fromHex('ab'.repeat(32));
  const bound = (...cpu: readonly Check[]) => checkDevicesBinding([device], digest, cpu, 'devices');
  const good = pass('cpu.binding', 'cpu', 'report data commits');

  test('follows what the CPU commits to', () => {
    expect(bound(good)).toMatchObject({ id: 'devices.binding', result: 'pass', subject: 'devices' });
    expect(bound(good).reason).toContain(toHex(digest));
    const broken = fail('cpu.binding', 'cpu', 'BINDING_MISMATCH', 'report data is 00');
    expect(bound(good, broken)).toMatchObject({ result: 'fail', code: 'BINDING_MISMATCH' });
    expect(bound(broken).reason).toContain('report data is 00');
  });

  test('is not reached where the CPU did not verify or was refused before', () => {
    const unreached = skip('cpu.binding', 'cpu', 'NOT_REACHED', 'not reached');
    expect(bound()).toMatchObject({ result: 'skip', code: 'NOT_REACHED' });
    expect(bound(good, unreached)).toMatchObject({ result: 'skip', code: 'NOT_REACHED' });
    expect(bound(pass('cpu.signature', 'cpu', 'signed'))).toMatchObject({ code: 'NOT_REACHED' });
  });

  test('never passes where the policy waives a part of it', () => {
    const waived = skip('cpu.binding', 'cpu paravisor', 'NOT_REQUIRED', 'user-data is not set');
    expect(bound(waived, good)).toMatchObject({ result: 'skip', code: 'NOT_REQUIRED' });
  });
});

describe('revocation', () => {
  const rules = { hold: 'refused', toleranceSeconds: 0 } as const;
  const demanded = { ...rules, device: 'required', references: 'required' } as const;
  const offered = { ...rules, device: 'when-present', references: 'when-present' } as const;

  async function simulated() {
    const collector = await createSimulatedCollector({ now: () => new Date(NOW) });
    const { rims } = await collector.collateral();
    return { devices: await collector.collectDevices(NONCE), rims };
  }

  test('responses that the policy requires and nobody supplied', async () => {
    const { devices, rims } = await simulated();
    const result = await judge(devices, { nvidia: { revocation: demanded }, collateral: { rims } });
    expect(failures(result)).toEqual([
      'gpu 0: device.revocation COLLATERAL_MISSING',
      'gpu 0: device.reference-revocation COLLATERAL_MISSING',
    ]);
    expect(decide(result.checks)).toBe('not-judged');
  });

  test('without a demand they are skipped, never passed', async () => {
    const { devices, rims } = await simulated();
    for (const revocation of ['not-checked', offered] as const) {
      const result = await judge(devices, { nvidia: { revocation }, collateral: { rims } });
      expect(failures(result)).toEqual([]);
      for (const id of ['device.revocation', 'device.reference-revocation']) {
        expect(checkOf(result, id)).toMatchObject({ result: 'skip', code: 'NOT_REQUIRED' });
      }
    }
  });

  test.each([
    ['device', 'deviceIdentity', 'deviceProvisioner', 'device.revocation'],
    ['signer of manifests', 'rimIssuer', 'rimSigner', 'device.reference-revocation'],
  ] as const)('a revoked %s', async (_, issuer, subject, id) => {
    const { devices, rims } = await simulated();
    const { serial } = ocsp.certificateOf(ocsp.AUTHORITY[subject]);
    const certId = ocsp.encodeCertId(ocsp.AUTHORITY[issuer], serial);
    const statements = [ocsp.encodeStatement({ certId, status: ocsp.revoked(NOW - ocsp.DAY, 1) })];
    const responder = ocsp.mintResponder(ocsp.AUTHORITY[issuer]);
    const ocspResponses = [ocsp.encodeResponse({ responder, statements })];
    const collateral = { rims, ocspResponses };
    const result = await judge(devices, { nvidia: { revocation: offered }, collateral });
    expect(failures(result)).toEqual([`gpu 0: ${id} CERT_REVOKED`]);
    // The default asks nothing, and says that it does not.
    expect(failures(await judge(devices, { collateral }))).toEqual([]);
  });

  test('of manifests, where none is judged', async () => {
    const evidence = [await (await mintDevice()).evidence()];
    const missing = await judge(evidence, { nvidia: { revocation: offered } });
    expect(checkOf(missing, 'device.reference-revocation').code).toBe('NOT_REACHED');
    const pinnedMeasurements = await pinnedOf(evidence);
    const pinned = await judge(evidence, { nvidia: { revocation: demanded, pinnedMeasurements } });
    expect(failures(pinned)).toEqual(['gpu 0: device.revocation COLLATERAL_MISSING']);
    expect(checkOf(pinned, 'device.reference-revocation').code).toBe('NOT_REQUIRED');
  });
});

describeCorpus('recorded machines', CORPUS, (corpus) => {
  const GPUS = ['gpu_evidence.json', 'gpu'] as const;
  const SWITCHES = ['switch_evidence.json', 'switch'] as const;
  const HGX = 'hgx-h100-ppcie-590.12';
  const folder = new CaseFolder(corpus, HGX);
  const whole = [...folder.devices(...GPUS), ...folder.devices(...SWITCHES)];

  const recorded = (source: CaseFolder, changes: Setup = {}): Setup => {
    const { now, nonce } = source.options();
    return { now, nonce, anchors: NVIDIA_ANCHORS, ...changes };
  };
  const EXACT = { gpus: [8, 8], switches: [4, 4] } as const;
  const MISSING = 'REFERENCE_VALUES_MISSING';

  test.each<[string, readonly (readonly [string, 'gpu' | 'switch'])[], number]>([
    [HGX, [GPUS, SWITCHES], 12],
    ['hgx-h200-570.124.06-no-ppcie', [GPUS], 8],
    ['h100-570.86.10-pre-release-driver', [GPUS], 1],
  ])('%s: only reference values are missing', async (id, files, count) => {
    const source = new CaseFolder(corpus, id);
    const devices = files.flatMap(([file, kind]) => source.devices(file, kind));
    const result = await judge(devices, recorded(source));
    expect(result.verified).toHaveLength(count);
    expect(decide(result.checks)).toBe('not-judged');
    expect(new Set(failures(result).map((failure) => failure.split(' ').at(-1)))).toEqual(new Set([MISSING]));
    const facts = source.data.deviceFacts ?? [source.data.facts['gpu']];
    for (const [i, { serial }] of result.verified.entries()) {
      const { ueid } = facts[i] as { ueid: string };
      expect(BigInt(`0x${toHex(serial)}`).toString()).toBe(ueid);
      expect(result.checks.filter(({ id }) => id === 'device.identity')[i]!.reason).toContain(ueid);
    }
  });

  test.each(['gb100-575.32-device', 'gb20x-595.58.03-device'])('%s: likewise', async (id) => {
    const source = new CaseFolder(corpus, id);
    const result = await judge([source.device('gpu')], recorded(source));
    expect(decide(result.checks)).toBe('not-judged');
    expect(checkOf(result, 'devices.topology').code).toBe('NOT_REQUIRED');
  });

  test('four of eight GPUs that are in protected PCIe', async () => {
    const source = new CaseFolder(corpus, 'hgx-h100-590.12-four-gpus');
    const devices = source.devices(...GPUS);
    const result = await judge(devices, recorded(source));
    expect(decide(result.checks)).toBe('refused');
    expect(failures(result)).toContain('devices: devices.topology TOPOLOGY_MISMATCH');
    const any = await judge(devices, recorded(source, { nvidia: { topology: 'any' } }));
    expect(decide(any.checks)).toBe('not-judged');
  });

  test.each(PROVIDERS)('an HGX machine by pinned values, with the %s provider', async (_, crypto) => {
    const pinnedMeasurements = await pinnedOf(whole, recorded(folder));
    const result = await judge(
      whole,
      recorded(folder, { ...EXACT, crypto, nvidia: { topology: 'required', pinnedMeasurements } }),
    );
    expect(failures(result)).toEqual([]);
  });

  test('variant one-switch-missing', async () => {
    const change = folder.fileChange('one-switch-missing', 'switch_evidence.json');
    const devices = [...folder.devices(...GPUS), ...folder.devices(...SWITCHES, change)];
    const result = await judge(devices, recorded(folder, EXACT));
    expect(failures(result).slice(0, 2)).toEqual([
      'devices: devices.count DEVICE_COUNT_MISMATCH',
      'devices: devices.topology TOPOLOGY_MISMATCH',
    ]);
    expect(decide(result.checks)).toBe('refused');
  });

  test('variant gpu-duplicated', async () => {
    const change = folder.fileChange('gpu-duplicated', 'gpu_evidence.json');
    const devices = [...folder.devices(...GPUS, change), ...folder.devices(...SWITCHES)];
    const result = await judge(devices, recorded(folder, EXACT));
    expect(failures(result).slice(0, 2)).toEqual([
      'devices: devices.distinct DEVICE_DUPLICATE',
      'devices: devices.topology TOPOLOGY_MISMATCH',
    ]);
  });

  test('variant chains-exchanged', async () => {
    const change = folder.fileChange('chains-exchanged', 'gpu_evidence.json');
    const devices = [...folder.devices(...GPUS, change), ...folder.devices(...SWITCHES)];
    const result = await judge(devices, recorded(folder, EXACT));
    expect(failures(result).filter((failure) => !failure.endsWith(MISSING))).toEqual([
      'devices: devices.count DEVICE_COUNT_MISMATCH',
      'gpu 0: device.signature SIGNATURE_INVALID',
      'gpu 1: device.signature SIGNATURE_INVALID',
    ]);
  });

  test('variant nonce-per-device-differs', async () => {
    const { expectedNonceHex } = folder.change('nonce-per-device-differs');
    const nonce = fromHex(expectedNonceHex!);
    const result = await judge(whole, recorded(folder, { ...EXACT, nonce }));
    expect(
      failures(result).filter((failure) => failure.endsWith('device.nonce NONCE_MISMATCH')),
    ).toHaveLength(12);
    expect(result.verified).toEqual([]);
  });
});
