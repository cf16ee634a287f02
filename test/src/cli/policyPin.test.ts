import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { parseBundle } from '../../../attestation/bundle/bundle.ts';
import { concat, toHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import { encodeDocument, parseDocument } from '../../../attestation/evidence/document.ts';
import { DEFAULT_POLICY } from '../../../attestation/policy/defaults.ts';
import { policySchema } from '../../../attestation/policy/policy.ts';
import { CliError, EXIT } from '../../../src/cli/exit.ts';
import { deviceText, pinCommand, pinFiles, type PinFlags } from '../../../src/cli/policyPin.ts';
import { corpusPath, describeCorpus } from '../../support/corpus.ts';
import { linksField, mintDevice, NONCE } from '../../support/nvidiaMachine.ts';
import { issueBundle, makeWorld } from '../../support/world.ts';
import { attestation } from '../client/service.ts';
import { pem } from '../collateral/minted.ts';
import { entryOf, mintDeviceMaterial, type DeviceMaterial } from './inspectDeviceSamples.ts';

const AT = { at: '2026-11-21T12:00:00Z' };
let folder: string;
let material: DeviceMaterial;
const file = (name: string) => join(folder, name);

function write(name: string, content: Uint8Array | string): string {
  writeFileSync(file(name), content);
  return file(name);
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'vouchsafe-pin-'));
  material = await mintDeviceMaterial();
  const world = await makeWorld();
  const { bundle } = await issueBundle(world, { nonce: new Uint8Array(32).fill(3) });
  write('bundle.cbor', bundle);
  write('document.cbor', parseBundle(bundle).cited);
  write('answer.json', (await attestation(world, new Uint8Array(32).fill(5))).body);
  const { gpu, lockedSwitch } = material;
  write('gpus.json', JSON.stringify([entryOf(gpu), entryOf(material.hopper)]));
  write('switches.json', JSON.stringify([entryOf(lockedSwitch)]));
  write(
    'request.json',
    JSON.stringify({ nonce: toHex(NONCE), arch: 'HOPPER', evidence_list: [entryOf(gpu)] }),
  );
  write('report.hex', toHex(gpu.report));
  write('chain.pem', pem(...gpu.certificates));
  write('both.bin', concat(gpu.report, utf8(pem(...gpu.certificates))));
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

async function refusal(paths: readonly string[], flags: PinFlags = {}): Promise<CliError> {
  try {
    await pinFiles(paths, { ...AT, ...flags });
  } catch (error) {
    if (error instanceof CliError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

describe('vouchsafe policy pin', () => {
  test.each([
    ['document.cbor', 'document'],
    ['bundle.cbor', 'document'],
    ['answer.json', 'document'],
    ['gpus.json', 'any'],
    ['request.json', 'any'],
    ['both.bin', 'any'],
  ])('takes the devices of %s', async (name, nonce) => {
    const { sets, devices } = await pinFiles([file(name)], AT);
    expect(devices.map((device) => device.nonce)).toContain(nonce);
    expect(sets).toHaveLength(1);
    const [set] = sets;
    expect(Object.keys(set!.values).length).toBeGreaterThan(31);
    const { devices: accepted } = DEFAULT_POLICY;
    if (accepted === 'none') throw new Error('the default policy takes no devices');
    const policy = {
      ...DEFAULT_POLICY,
      devices: { ...accepted, nvidia: { ...accepted.nvidia, pinnedMeasurements: sets } },
    };
    expect(policySchema.safeParse(policy).success).toBe(true);
  });

  test('takes a report with certificates that are named, for a nonce', async () => {
    const flags = { ...AT, chain: [file('chain.pem')], nonce: toHex(NONCE).toUpperCase() };
    const { sets, devices } = await pinFiles([file('report.hex')], flags);
    expect(sets.map(({ name }) => name)).toEqual(['GH100 driver 550.90.07 VBIOS 96.00.9F.00.04']);
    const [device] = devices;
    expect(deviceText(device!)).toMatch(/report\.hex: GH100 of serial 53[0-9a-f]{38}, verified to .*SIMULATED, for the nonce that you named/);
  }); // prettier-ignore

  test('makes one set for each chip and versions of all files', async () => {
    const { sets } = await pinFiles([file('gpus.json'), file('switches.json')], AT);
    expect(sets.map(({ chip }) => chip)).toEqual(['GH100', 'LS10']);
  });

  test('says that devices are simulated by the anchor that they lead to', async () => {
    const { devices } = await pinFiles([file('gpus.json')], AT);
    expect(devices.map(({ verified }) => verified.anchor.simulated)).toEqual([true, true]);
  });

  test.each([
    ['another nonce than was named', 'gpus.json', { nonce: '11'.repeat(32) }, 'device.nonce NONCE_MISMATCH'],
    [
      'a time before its certificates',
      'gpus.json',
      { at: '2001-01-01T00:00:00Z' },
      'device.chain CERT_EXPIRED',
    ],
  ])('refuses %s', async (_, name, flags, why) => {
    const error = await refusal([file(name)], flags);
    expect(error.exit).toBe(EXIT.refused);
    expect(error.message).toContain(`device 0 of ${file(name)} does not verify: ${why}`);
    expect(error.advice).toContain('Nothing is pinned');
  });

  test('refuses a changed measurement', async () => {
    const report = Uint8Array.from(material.gpu.report, (byte, i) => (i === 60 ? byte ^ 1 : byte));
    write('changed.json', JSON.stringify([entryOf({ ...material.gpu, report })]));
    expect((await refusal([file('changed.json')])).message).toContain('device.signature SIGNATURE_INVALID');
  });

  test('refuses the report of one device with the certificates of another', async () => {
    write('other.pem', pem(...material.hopper.certificates));
    const error = await refusal([file('report.hex')], { chain: [file('other.pem')] });
    expect(error.message).toContain('SIGNATURE_INVALID');
  });

  test('refuses firmware that is not the certified one, and a switch that is not locked', async () => {
    const device = await mintDevice({ fields: new Map([[20, new Uint8Array(48).fill(7)]]) });
    write('firmware.json', JSON.stringify([entryOf(await device.evidence())]));
    expect((await refusal([file('firmware.json')])).message).toContain(
      'device.firmware-id FIRMWARE_ID_MISMATCH',
    );
    const unlocked = await mintDevice({ chip: 'LS10', fields: new Map([[25, Uint8Array.of(0, 0)]]) });
    write('unlocked.json', JSON.stringify([entryOf(await unlocked.evidence())]));
    expect((await refusal([file('unlocked.json')])).message).toContain('device.mode DEVICE_MODE_FORBIDDEN');
  });

  test('refuses a document whose devices are not bound to it', async () => {
    const { cited } = parseBundle((await issueBundle(await makeWorld())).bundle);
    const parts = parseDocument(cited);
    write('moved.cbor', encodeDocument({ ...parts, devices: [material.gpu] }));
    expect((await refusal([file('moved.cbor')])).message).toContain('device.nonce NONCE_MISMATCH');
    write('none.cbor', encodeDocument({ ...parts, devices: [] }));
    expect((await refusal([file('none.cbor')])).message).toContain('holds no GPU or switch');
  });

  test('refuses one device among good ones: nothing is pinned', async () => {
    const bad = { ...entryOf(material.hopper), certificate: '' };
    write('some.json', JSON.stringify([entryOf(material.gpu), bad]));
    expect((await refusal([file('some.json')])).message).toContain('device 1 of');
    const links = await mintDevice({ fields: new Map([[22, linksField([])], [3, utf8('pre.release\0')]]) });
    write('odd.json', JSON.stringify([entryOf(await links.evidence())]));
    expect((await refusal([file('odd.json')])).message).toContain('no policy can hold what was measured');
  }); // prettier-ignore

  test.each<[string, string[], PinFlags, number, string]>([
    ['a report without certificates', ['report.hex'], {}, EXIT.misuse, 'name them with --chain'],
    [
      'certificates for nobody',
      ['gpus.json'],
      { chain: ['chain.pem'] },
      EXIT.misuse,
      '--chain goes with one report',
    ],
    ['certificates alone', ['chain.pem'], {}, EXIT.misuse, 'holds no GPU or switch'],
    ['a nonce that is none', ['gpus.json'], { nonce: 'abc' }, EXIT.misuse, '--nonce is 64'],
    ['a time that is none', ['gpus.json'], { at: 'now' }, EXIT.misuse, '--at is a time'],
    ['a file that is not there', ['missing'], {}, EXIT.unreadable, 'there is no such file'],
  ])('%s', async (_, names, flags, exit, why) => {
    const named = { ...flags, ...(flags.chain && { chain: flags.chain.map(file) }) };
    const error = await refusal(names.map(file), named);
    expect([error.exit, error.message]).toEqual([exit, expect.stringContaining(why)]);
  });

  test.each([
    ['[{"evidence":', EXIT.unreadable],
    ['hello', EXIT.unreadable],
    ['{"a":1}', EXIT.unreadable],
  ])('unreadable input %s', async (text, exit) => {
    expect((await refusal([write('odd', text)])).exit).toBe(exit);
  });

  test('has help with examples', () => {
    let text = '';
    pinCommand()
      .configureOutput({ writeOut: (more) => (text += more) })
      .outputHelp();
    expect(text).toContain('vouchsafe policy pin gpu_evidence.json switch_evidence.json');
    expect(text).toContain('Revocation is not looked up');
  });
});

describeCorpus('vouchsafe policy pin with recorded devices', 'evidence/gpu/', (corpus) => {
  const at = { at: '2026-02-01T00:00:00Z' };
  const path = (name: string) => join(corpus, name);

  test('a machine in protected PCIe gives a set for its GPUs and one for its switches', async () => {
    const files = ['gpu_evidence.json', 'switch_evidence.json'].map((name) =>
      path(`hgx-h100-ppcie-590.12/${name}`),
    );
    const { sets, devices } = await pinFiles(files, at);
    expect(devices).toHaveLength(12);
    expect(devices[0]!.verified.anchor.name).toBe('NVIDIA Device Identity CA');
    expect(sets.map(({ name }) => name)).toEqual([
      'GH100 driver 590.12 VBIOS 96.00.A5.00.01',
      'LS10 BIOS 96.10.73.00.01',
    ]);
  });

  test.each([
    ['gb20x-595.58.03-device', 'GB20X driver 595.58.03 VBIOS 98.02.81.00.01'],
    ['gb100-575.32-device', 'GB100 driver 575.32 VBIOS 97.00.88.00.0F'],
  ])('%s', async (name, set) => {
    const chain = [path(`${name}/certchain.pem`)];
    const { sets } = await pinFiles([path(`${name}/report.hex`)], { ...at, chain });
    expect(sets.map((each) => each.name)).toEqual([set]);
  });

  test.each([
    ['forged-h100-own-root', 'certchain.pem', 'device.chain UNTRUSTED_ROOT'],
    ['h100-560.00-wrong-chain', 'certchain.pem', 'device.signature SIGNATURE_INVALID'],
    ['h100-545.00-bad-chain', 'certchain-incomplete.pem', 'device.chain CERT_MISSING'],
    ['h100-580.95.05-trailing-zero', 'certchain.pem', 'MALFORMED'],
  ])('%s is refused', async (name, chain, why) => {
    const flags = { ...at, chain: [path(`${name}/${chain}`)] };
    const error = await refusal([path(`${name}/report.hex`)], flags);
    expect(error.exit).toBe(EXIT.refused);
    expect(error.message).toContain(why);
    expect(corpusPath('evidence/gpu/')).toBe(corpus);
  });
});
