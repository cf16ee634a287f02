import { beforeAll, describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { fromHex, toHex } from '../../../../attestation/bytes/bytes.ts';
import type { Check } from '../../../../attestation/checks.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { portableCrypto } from '../../../../attestation/crypto/portable.ts';
import type { DeviceEvidence } from '../../../../attestation/evidence/evidence.ts';
import { checkSetMode } from '../../../../attestation/evidence/nvidia/modes.ts';
import { checkTopology } from '../../../../attestation/evidence/nvidia/topology.ts';
import { verifyDevice, type VerifiedDevice } from '../../../../attestation/evidence/nvidia/verify.ts';
import { SIMULATED_ANCHORS } from '../../../../attestation/evidence/simulatedAnchors.ts';
import { describeCorpus } from '../../../support/corpus.ts';
import {
  linksField,
  mintDevice,
  mintMachine,
  NONCE,
  NOW,
  portsField,
  type Machine,
} from '../../../support/nvidiaMachine.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../../support/runs.ts';
import { CaseFolder, CORPUS } from './corpusCases.ts';

const WHEN_PPCIE = { topology: 'when-ppcie' } as const;
const OPTIONS = { crypto: nodeCrypto, now: NOW, anchors: SIMULATED_ANCHORS, nonce: NONCE };

async function verifyAll(
  evidence: readonly (DeviceEvidence | Promise<DeviceEvidence>)[],
): Promise<readonly VerifiedDevice[]> {
  return Promise.all(evidence.map(async (device) => verifyDevice(await device, OPTIONS)));
}

const outcome = ({ result, code }: Check) => `${result} ${code}`;
const judge = (devices: readonly VerifiedDevice[]) => checkTopology(devices, WHEN_PPCIE);

describe('checkTopology of minted machines', () => {
  let machine: Machine;
  let other: Machine;
  let gpus: readonly VerifiedDevice[];
  let switches: readonly VerifiedDevice[];

  beforeAll(async () => {
    [machine, other] = await Promise.all([mintMachine(), mintMachine()]);
    gpus = await verifyAll(machine.gpus.map((gpu) => gpu.evidence()));
    switches = await verifyAll(machine.switches.map((each) => each.evidence()));
  });

  test('eight GPUs and four switches that name each other', () => {
    const check = judge([...gpus, ...switches]);
    expect(outcome(check)).toBe('pass OK');
    for (const { pdi } of [...machine.gpus, ...machine.switches]) expect(check.reason).toContain(pdi);
    expect(outcome(checkSetMode([...gpus, ...switches]))).toBe('pass OK');
  });

  test('in whatever order they are listed', () => {
    expect(outcome(judge([...switches.toReversed(), ...gpus.toReversed()]))).toBe('pass OK');
  });

  test('one of eight GPUs hidden: the switches name it', () => {
    const check = judge([...gpus.slice(1), ...switches]);
    expect(outcome(check)).toBe('fail TOPOLOGY_MISMATCH');
    expect(check.reason).toContain('verified are 7 and 4');
    expect(check.reason).toContain(machine.gpus[0]!.pdi);
  });

  test('one of four switches hidden: the GPUs name it', () => {
    const check = judge([...gpus, ...switches.slice(1)]);
    expect(outcome(check)).toBe('fail TOPOLOGY_MISMATCH');
    expect(check.reason).toContain(`gpu 0 names switches`);
    expect(check.reason).toContain(machine.switches[0]!.pdi);
  });

  test('all switches hidden', () => {
    expect(judge(gpus).reason).toContain('listed are none');
    expect(outcome(judge(gpus))).toBe('fail TOPOLOGY_MISMATCH');
  });

  test('a GPU twice in the place of another', () => {
    const check = judge([gpus[0]!, gpus[0]!, ...gpus.slice(2), ...switches]);
    expect(outcome(check)).toBe('fail TOPOLOGY_MISMATCH');
    expect(check.reason).toContain('two devices have one PDI');
  });

  test('a ninth GPU, a fifth switch', async () => {
    const [gpu, nvswitch] = await verifyAll([other.gpus[0]!.evidence(), other.switches[0]!.evidence()]);
    expect(outcome(judge([...gpus, gpu!, ...switches]))).toBe('fail TOPOLOGY_MISMATCH');
    expect(outcome(judge([...gpus, ...switches, nvswitch!]))).toBe('fail TOPOLOGY_MISMATCH');
  });

  test('foreign-gpu-splice: a GPU of another machine in the place of one', async () => {
    const [foreign] = await verifyAll([other.gpus[0]!.evidence()]);
    const check = judge([foreign!, ...gpus.slice(1), ...switches]);
    expect(outcome(check)).toBe('fail TOPOLOGY_MISMATCH');
    expect(check.reason).toContain(other.gpus[0]!.pdi);
    expect(check.reason).toContain(machine.gpus[0]!.pdi);
  });

  test('the switches of another machine', async () => {
    const foreign = await verifyAll(other.switches.map((each) => each.evidence()));
    expect(outcome(judge([...gpus, ...foreign]))).toBe('fail TOPOLOGY_MISMATCH');
  });

  test.each<[string, (machine: Machine) => readonly [number, Uint8Array | undefined]]>([
    ['names three of the switches', ({ switches: all }) => [22, linksField(pdisOf(all).slice(1))]],
    ['names a fifth switch', ({ switches: all }) => [22, linksField([...pdisOf(all), '1122334455667788'])]],
    ['names them in the byte order of switches', ({ switches: all }) => [22, reversedLinks(all)]],
    ['names none', () => [22, linksField([])]],
    ['states no links', () => [22, undefined]],
  ])('a GPU that %s', async (_, change) => {
    const [gpu] = await verifyAll([machine.gpus[3]!.evidence(NONCE, { fields: new Map([change(machine)]) })]);
    const check = judge([...gpus.with(3, gpu!), ...switches]);
    expect(outcome(check)).toBe('fail TOPOLOGY_MISMATCH');
    expect(check.reason).toContain('gpu 3 names switches');
  });

  test.each<[string, string, (machine: Machine) => readonly [number, Uint8Array | undefined]]>([
    ['names seven of the GPUs', 'names GPUs', ({ gpus: all }) => [26, portsField(pdisOf(all).slice(1))]],
    [
      'names another GPU',
      'names GPUs',
      ({ gpus: all }) => [26, portsField(pdisOf(all).with(0, 'aa'.repeat(8)))],
    ],
    ['states no ports', 'names GPUs', () => [26, undefined]],
    ['calls itself by another PDI', 'calls itself', ({ switches: all }) => [22, fromHex(all[0]!.pdi)]],
    ['does not state its PDI', 'calls itself nothing', () => [22, undefined]],
    ['is not locked', 'is not locked', () => [25, fromHex('0000')]],
  ])('a switch that %s', async (_, reason, change) => {
    const fields = new Map([change(machine)]);
    const [nvswitch] = await verifyAll([machine.switches[2]!.evidence(NONCE, { fields })]);
    const check = judge([...gpus, ...switches.with(2, nvswitch!)]);
    expect(outcome(check)).toBe('fail TOPOLOGY_MISMATCH');
    expect(check.reason).toContain(`switch 2 ${reason}`);
  });

  test('a policy that takes any topology skips what does not fit, and passes what does', () => {
    const any = { topology: 'any' } as const;
    const check = checkTopology([...gpus.slice(1), ...switches], any);
    expect(outcome(check)).toBe('skip NOT_REQUIRED');
    expect(check.reason).toContain(machine.gpus[0]!.pdi);
    expect(outcome(checkTopology([...gpus, ...switches], any))).toBe('pass OK');
  });

  describe('without protected PCIe', () => {
    const minted = (chip: 'GH100' | 'GB100', mode: 'spt' | 'mpt') =>
      verifyAll([1, 2].map(async () => (await mintDevice({ chip, mode })).evidence()));

    test.each([
      ['GH100', 'spt', 'single GPU passthrough'],
      ['GB100', 'mpt', 'NVLink is encrypted'],
    ] as const)('%s in %s has none, and says why', async (chip, mode, reason) => {
      const devices = await minted(chip, mode);
      const check = judge(devices);
      expect(outcome(check)).toBe('skip NOT_REQUIRED');
      expect(check.reason).toContain(reason);
      const required = checkTopology(devices, { topology: 'required' });
      expect(outcome(required)).toBe('fail TOPOLOGY_MISMATCH');
      expect(required.reason).toContain(reason);
    });

    test('switches that stand beside such GPUs', async () => {
      const devices = [...(await minted('GH100', 'spt')), ...switches];
      expect(outcome(judge(devices))).toBe('fail TOPOLOGY_MISMATCH');
      expect(outcome(checkTopology(devices, { topology: 'any' }))).toBe('skip NOT_REQUIRED');
    });

    test('switches alone, and no device at all', () => {
      expect(outcome(judge(switches))).toBe('skip NOT_REQUIRED');
      expect(outcome(judge([]))).toBe('skip NOT_REQUIRED');
      expect(outcome(checkTopology([], { topology: 'required' }))).toBe('fail TOPOLOGY_MISMATCH');
      expect(outcome(checkSetMode(switches))).toBe('skip NOT_REQUIRED');
    });

    test('mixed modes', async () => {
      const [single] = await minted('GH100', 'spt');
      const [multi] = await minted('GH100', 'mpt');
      const check = checkSetMode([single!, multi!]);
      expect(outcome(check)).toBe('fail DEVICE_MODE_FORBIDDEN');
      expect(check.reason).toMatch(/SPT.*MPT/);
      // One GPU that claims to need no topology does not take the others out of it.
      expect(outcome(judge([single!, ...gpus.slice(1), ...switches]))).toBe('fail TOPOLOGY_MISMATCH');
      expect(outcome(checkSetMode([single!, ...gpus.slice(1)]))).toBe('fail DEVICE_MODE_FORBIDDEN');
    });
  });

  test(
    'no change of what one device names is taken for the same machine',
    async () => {
      const whole = [...gpus, ...switches];
      const position = fc.nat(whole.length - 1);
      await fc.assert(
        fc.asyncProperty(position, fc.nat(1000), fc.integer({ min: 1, max: 255 }), async (at, byte, mask) => {
          const minted = [...machine.gpus, ...machine.switches][at]!;
          const field = minted.kind === 'gpu' ? 22 : [22, 26][byte % 2]!;
          const original = whole[at]!.report.fields.get(field)!;
          // The map of ports in the second half of field 26 names no device.
          const length = field === 26 ? 64 : original.length;
          const changed = Uint8Array.from(original);
          changed[byte % length]! ^= mask;
          const fields = new Map([[field, changed]]);
          const [device] = await verifyAll([minted.evidence(NONCE, { fields })]);
          expect(outcome(judge(whole.with(at, device!)))).toBe('fail TOPOLOGY_MISMATCH');
        }),
        propertyRuns(60),
      );
    },
    PROPERTY_TIMEOUT,
  );
});

function pdisOf(devices: Machine['gpus']): readonly string[] {
  return devices.map(({ pdi }) => pdi);
}

function reversedLinks(devices: Machine['gpus']): Uint8Array {
  return linksField(pdisOf(devices).map((pdi) => toHex(fromHex(pdi).toReversed())));
}

describeCorpus('checkTopology of recorded machines', CORPUS, (corpus) => {
  const folder = new CaseFolder(corpus, 'hgx-h100-ppcie-590.12');
  const load = async (
    { crypto = nodeCrypto, id = 'hgx-h100-ppcie-590.12' },
    ...files: readonly (readonly [string, 'gpu' | 'switch'])[]
  ) => {
    const source = new CaseFolder(corpus, id);
    const evidence = files.flatMap(([file, kind]) => source.devices(file, kind));
    return Promise.all(evidence.map((device) => verifyDevice(device, source.options({}, crypto))));
  };
  const GPUS = ['gpu_evidence.json', 'gpu'] as const;
  const SWITCHES = ['switch_evidence.json', 'switch'] as const;

  test.each([
    ['node', nodeCrypto],
    ['portable', portableCrypto],
  ])('8 H100 and 4 LS10, verified with the %s provider', async (_, crypto) => {
    const devices = await load({ crypto }, GPUS, SWITCHES);
    const check = judge(devices);
    expect(outcome(check)).toBe('pass OK');
    const { topology } = folder.data.checks as unknown as {
      topology: { gpuPdis: readonly string[]; switchPdis: readonly string[] };
    };
    for (const pdi of [...topology.gpuPdis, ...topology.switchPdis]) expect(check.reason).toContain(pdi);
    expect(outcome(checkSetMode(devices))).toBe('pass OK');
    expect(outcome(checkTopology(devices, { topology: 'required' }))).toBe('pass OK');
  });

  test('variants one-switch-missing and gpu-duplicated', async () => {
    const devices = await load({}, GPUS, SWITCHES);
    const verify = (changed: readonly DeviceEvidence[]) =>
      Promise.all(changed.map((device) => verifyDevice(device, folder.options())));
    const [gpus, switches] = [devices.slice(0, 8), devices.slice(8)];
    const remaining = await verify(
      folder.devices(...SWITCHES, folder.fileChange('one-switch-missing', 'switch_evidence.json')),
    );
    expect(remaining).toHaveLength(3);
    expect(outcome(judge([...gpus, ...remaining]))).toBe('fail TOPOLOGY_MISMATCH');
    const doubled = await verify(
      folder.devices(...GPUS, folder.fileChange('gpu-duplicated', 'gpu_evidence.json')),
    );
    expect(doubled[1]!.serial).toEqual(doubled[0]!.serial);
    expect(outcome(judge([...doubled, ...switches]))).toBe('fail TOPOLOGY_MISMATCH');
  });

  test('every device hidden in turn', async () => {
    const devices = await load({}, GPUS, SWITCHES);
    for (const [i, { bootRomSerial }] of devices.entries()) {
      const check = judge(devices.toSpliced(i, 1));
      expect(outcome(check)).toBe('fail TOPOLOGY_MISMATCH');
      expect(check.reason).toContain(toHex(bootRomSerial.subarray(1)));
    }
  });

  test('four of eight GPUs without switches, unless the policy takes any topology', async () => {
    const gpus = await load({ id: 'hgx-h100-590.12-four-gpus' }, GPUS);
    const check = judge(gpus);
    expect(outcome(check)).toBe('fail TOPOLOGY_MISMATCH');
    expect(check.reason).toContain('verified are 4 and 0');
    expect(outcome(checkTopology(gpus, { topology: 'any' }))).toBe('skip NOT_REQUIRED');
  });

  test('8 H200 that are not in protected PCIe have no topology', async () => {
    const gpus = await load({ id: 'hgx-h200-570.124.06-no-ppcie' }, GPUS);
    expect(gpus).toHaveLength(8);
    expect(outcome(judge(gpus))).toBe('skip NOT_REQUIRED');
    expect(outcome(checkSetMode(gpus))).toBe('pass OK');
    expect(outcome(checkTopology(gpus, { topology: 'required' }))).toBe('fail TOPOLOGY_MISMATCH');
  });
});
