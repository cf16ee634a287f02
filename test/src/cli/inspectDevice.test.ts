import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { parseBundle } from '../../../attestation/bundle/bundle.ts';
import { concat, fromHex, toBase64, toHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import { EXIT } from '../../../src/cli/exit.ts';
import {
  inspectBytes,
  inspectFile,
  inspectionJson,
  type Inspection,
  type InspectFlags,
} from '../../../src/cli/inspect.ts';
import { CliError } from '../../../src/cli/exit.ts';
import { mintDevice } from '../../support/nvidiaMachine.ts';
import { issueBundle, makeWorld } from '../../support/world.ts';
import { pem } from '../collateral/minted.ts';
import { entryOf, mintDeviceMaterial, type DeviceMaterial } from './inspectDeviceSamples.ts';
import { printed, said, unreadable } from './inspectOutput.ts';

let material: DeviceMaterial;
let folder: string;
beforeAll(async () => {
  material = await mintDeviceMaterial();
  folder = mkdtempSync(join(tmpdir(), 'vouchsafe-inspect-device-'));
  const [driver, vbios] = material.rims;
  const { simulated, lockedSwitch } = material;
  const files: Readonly<Record<string, string | Uint8Array>> = {
    'driver.rim.xml': driver,
    'vbios.rim.xml': vbios,
    'report.hex': toHex(simulated.report),
    'switch.bin': lockedSwitch.report,
    'evidence.json': JSON.stringify([entryOf(simulated), entryOf(material.gpu), entryOf(simulated)]),
    'chain.pem': pem(...simulated.certificates),
    'policy.json': JSON.stringify({ version: 'vouchsafe/policy/1' }),
    'bundle.cbor': (await issueBundle(await makeWorld(), { nonce: new Uint8Array(32).fill(3) })).bundle,
  };
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content);
});
afterAll(() => {
  rmSync(folder, { recursive: true });
});

const file = (name: string) => join(folder, name);

function inspect(
  name: string,
  flags: { readonly rim?: readonly string[]; readonly chain?: readonly string[] } = {},
) {
  const named: InspectFlags = { rim: (flags.rim ?? []).map(file), chain: (flags.chain ?? []).map(file) };
  return inspectFile(file(name), named);
}

const BOTH = { rim: ['driver.rim.xml', 'vbios.rim.xml'] };

interface Parsed {
  readonly sections: readonly ({
    readonly title: string;
    readonly entries: readonly Record<string, string>[];
  } & Record<string, unknown>)[];
}

function sectionOf(inspection: Inspection, title: string) {
  const { sections } = JSON.parse(inspectionJson(inspection)) as Parsed;
  const found = sections.find((section) => section.title === title);
  if (!found) throw new Error(`no section ${title} among ${sections.map((each) => each.title).join(', ')}`);
  return found;
}

const show = (bytes: Uint8Array) => said(inspectBytes(bytes, 'file'));

async function refusal(run: () => Promise<unknown>): Promise<CliError> {
  try {
    await run();
  } catch (error) {
    if (error instanceof CliError) return error;
    throw error;
  }
  throw new Error('nothing was refused');
}

describe('a report', () => {
  test.each([
    ['spt', undefined, '0 (not stated)', 'by PROTECTED_PCIE_STATUS (field 21)'],
    ['ppcie', undefined, '0 (not stated)', 'protected PCIe (PPCIE), by PROTECTED_PCIE_STATUS (field 21)'],
    ['mpt', '0100', '1', 'multi GPU passthrough (MPT), by the feature flag (field 36)'],
  ] as const)(
    'in mode %s of opaque version %s says where the mode is stated',
    async (mode, version, shown, by) => {
      const field = version === undefined ? undefined : fromHex(version);
      const { report } = await (await mintDevice({ mode, fields: new Map([[34, field]]) })).evidence();
      const text = show(report);
      expect(text).toContain(`mode  ${mode}\n`);
      expect(text).toContain(`opaque version  ${shown}`);
      expect(text).toContain(by);
    },
  );

  test('that states no mode at all says so', async () => {
    const fields = new Map([21, 34, 36].map((id) => [id, undefined]));
    const { report } = await (await mintDevice({ fields })).evidence();
    expect(show(report)).toContain('by no field: opaque data of version 0 states none');
  });

  test('has every measurement for programs, by its index and with who judges it', () => {
    const inspection = inspectBytes(material.gpu.report, 'file');
    const { entries } = sectionOf(inspection, 'device measurements by RIM index');
    expect(entries).toHaveLength(64);
    const judged = [0, 7, 12, 13, 35, 40, 41].map((index) => entries[index]!['judged by']);
    const [vbios, driver, none] = ['VBIOS RIM', 'driver RIM', 'in no RIM seen'];
    expect(judged).toEqual([vbios, driver, vbios, none, 'nothing: NVDEC0 is off', driver, none]);
    expect(entries[12]).toEqual({ index: '12', 'judged by': vbios, value: '0d'.repeat(48) });
    const { entries: blackwell } = sectionOf(
      inspectBytes(material.blackwell.report, 'file'),
      'device measurements by RIM index',
    );
    expect(blackwell[0]!['judged by']).toBe('RIM unknown');
  });

  test('has its fields under their names for programs', () => {
    expect(sectionOf(inspectBytes(material.gpu.report, 'file'), 'device')).toMatchObject({
      kind: 'gpu',
      chip: 'GH100',
      mode: 'spt',
      driver: '550.90.07',
      VBIOS: '96.00.9F.00.04',
      'driver RIM': 'NV_GPU_DRIVER_GH100_550.90.07',
      'VBIOS RIM': 'NV_GPU_VBIOS_1010_0200_882_96009F0004',
    });
  });

  test.each([
    ['with a byte behind its signature', (bytes: Uint8Array) => concat(bytes, Uint8Array.of(0)), '1 bytes follow the end'],
    ['of Rubin', (bytes: Uint8Array) => Uint8Array.from(bytes, (byte, i) => (i === 45 ? 0xfd : byte)), 'structured manifest (Rubin) is not supported'],
    ['of another SPDM version', (bytes: Uint8Array) => Uint8Array.from(bytes, (byte, i) => (i === 37 ? 0x12 : byte)), 'SPDM version 12'],
  ])('%s is refused by name', (_, damage, why) => {
    const refused = unreadable(damage(material.gpu.report));
    expect(refused?.exit).toBe(EXIT.unreadable);
    expect(refused?.message).toContain('looks like this: NVIDIA device report');
    expect(refused?.message).toContain(why);
  }); // prettier-ignore

  test('of a switch that cannot be read says why as a switch', async () => {
    const { report } = await (
      await mintDevice({ chip: 'LS10', fields: new Map([[25, undefined]]) })
    ).evidence();
    expect(unreadable(report)?.message).toContain('opaque field 25 is absent');
  });

  test('of a switch that is not locked says so', async () => {
    const { report } = await (
      await mintDevice({ chip: 'LS10', fields: new Map([[25, fromHex('0000')]]) })
    ).evidence();
    expect(show(report)).toContain('locked  no');
  });
});

describe('certificates beside a report', () => {
  test('named by an option or behind it say the same', async () => {
    const { simulated } = material;
    const named = said(await inspect('report.hex', { chain: ['chain.pem'] }));
    const behind = show(concat(simulated.report, utf8(pem(...simulated.certificates))));
    const chain = (text: string) => text.slice(text.indexOf('device chain'));
    expect(chain(named)).toBe(chain(behind));
    expect(named).toContain('Vouchsafe SIMULATED');
  });

  test('of another device say what differs', () => {
    const { lockedSwitch, hopper } = material;
    const chain = utf8(pem(...hopper.certificates));
    const text = show(concat(lockedSwitch.report, chain));
    expect(text).toMatch(/PDI {2}[0-9a-f]{16} \(NOT that of the report\)/);
    expect(text).toContain('certified chip  GH100');
  });

  test('of another firmware say so', async () => {
    const device = await mintDevice();
    const changed = await device.evidence(undefined, { fields: new Map([[20, new Uint8Array(48).fill(7)]]) });
    expect(show(concat(changed.report, utf8(pem(...device.certificates))))).toContain(
      '(NOT that of the report)',
    );
  });

  test('one that cannot be read does not hide the report', () => {
    const { report, certificates } = material.gpu;
    const text = show(concat(report, utf8(pem(certificates[0]!, Uint8Array.of(0x30, 0)))));
    expect(text).toContain('chip  GH100');
    expect(text).toContain('device certificate 2\nunreadable');
    expect(text).toContain('device certificate 1');
  });
});

describe('several devices in one file', () => {
  test('what a later one measures too is said by indices, and programs get all of it', async () => {
    const inspection = await inspect('evidence.json');
    const text = said(inspection);
    expect(text).toContain('as device 0  index 0-63');
    expect(text).toContain('certificate 1  as device 0 certificate 1');
    const { entries } = sectionOf(inspection, 'device 2 measurements by RIM index');
    expect(entries).toHaveLength(64);
  });

  test('one that cannot be read does not hide the others', () => {
    const { gpu } = material;
    const entries = [
      { ...entryOf(gpu), evidence: 'AAAA' },
      { evidence: toBase64(new Uint8Array(200)) },
      entryOf(gpu, { certificate: 'AAAA' }),
      7,
      entryOf(gpu),
    ];
    const text = show(utf8(JSON.stringify(entries)));
    expect(text).toContain('device 0  unreadable: MALFORMED: the evidence is neither base64 nor hex');
    expect(text).toContain('device 1  unreadable: UNSUPPORTED: SPDM version 0');
    expect(text).toContain('device 2\nunreadable');
    expect(text).toContain('device 3\nunreadable  MALFORMED: device: invalid_type');
    expect(text).toContain('device 4\nkind  gpu');
  });

  test.each([
    ['no JSON', '[{"evidence":1', 'is not JSON'],
    ['too many', JSON.stringify(Array.from({ length: 65 }, () => ({ evidence: 'AAAA' }))), 'too_big'],
    ['a name twice', '[{"evidence":"a","evidence":"b"}]', 'a name twice'],
  ])('%s is refused', (_, text, why) => {
    expect(unreadable(utf8(text))?.message).toContain(why);
  });
});

describe('a report beside manifests', () => {
  test('that it matches', async () => {
    const inspection = await inspect('report.hex', BOTH);
    const text = said(inspection);
    expect(text).toContain('driver RIM of GH100 999.01.02 (for this chip and version)');
    expect(text).toContain('VBIOS RIM of GH100 FF.53.49.4D.01 (for this chip and version)');
    expect(text).toContain('equal  33: index 0-12, 21-40');
    expect(text).toContain('differs  0');
    expect(text).toContain('12, VBIOS RIM  equal, alternative 4 of 4');
    expect(text).toContain('in no manifest  31: index 13-20, 41-63');
    expect(printed(inspection)).toContain('nothing here is verified');
  });

  test('for programs: expected, got and what came of it, index by index', async () => {
    const inspection = await inspect('report.hex', BOTH);
    expect(JSON.parse(inspectionJson(inspection))).toMatchObject({ verified: false });
    const { entries } = sectionOf(inspection, 'device compared by RIM index');
    expect(entries).toHaveLength(64);
    const twelve = entries[12]!;
    expect(twelve).toMatchObject({
      index: '12',
      result: 'equal',
      manifest: 'VBIOS RIM',
      alternative: '4 of 4',
    });
    expect(twelve['name']).toBe('Measurement_12');
    expect(twelve['expected']!.split(' ')).toHaveLength(4);
    expect(twelve['expected']!.split(' ').at(-1)).toBe(twelve['got']);
    expect(entries[50]).toMatchObject({
      result: 'not judged',
      reason: 'in no manifest',
      expected: 'nothing',
    });
  });

  test('that it does not match, of another version', async () => {
    const { report } = material.gpu;
    writeFileSync(file('other.bin'), report);
    const inspection = await inspect('other.bin', BOTH);
    const text = said(inspection);
    expect(text).toContain('(NOT of this version, 550.90.07)');
    expect(text).toContain('differs  32: index 0-12, 21-34, 36-40');
    expect(text).toContain('NVDEC0 is off  1: index 35');
    expect(text).toContain('35, driver RIM  not judged: NVDEC0 is off');
    expect(text).toContain('7, driver RIM  DIFFERS\n  got  0808');
    const { entries } = sectionOf(inspection, 'device compared by RIM index');
    expect(entries[7]).toMatchObject({ result: 'differs' });
    expect(entries[35]).toMatchObject({ result: 'not judged', reason: 'NVDEC0 is off' });
  });

  test('of another chip', async () => {
    const text = said(await inspect('switch.bin', BOTH));
    expect(text).toContain('NOT of this chip, LS10; NOT of this version, none');
    expect(text).toContain('not named  BIOS RIM NV_SWITCH_BIOS_5612_0002_890_9610550001');
  });

  test('one of which is missing, or named twice', async () => {
    const one = said(await inspect('report.hex', { rim: ['vbios.rim.xml'] }));
    expect(one).toContain('not named  driver RIM NV_GPU_DRIVER_GH100_999.01.02');
    expect(one).toContain('equal  12: index 0-6, 8-12');
    const twice = await inspect('report.hex', { rim: ['vbios.rim.xml', 'vbios.rim.xml'] });
    expect(said(twice)).toContain('two sources  12: index 0-6, 8-12');
    const { entries } = sectionOf(twice, 'device compared by RIM index');
    expect(entries[0]).toMatchObject({ result: 'not judged', reason: 'two manifests give values' });
  });

  test('with values for an index beyond the report', async () => {
    const [driver] = material.rims;
    const beyond = Buffer.from(driver).toString('latin1').replace('index="40"', 'index="99"');
    writeFileSync(file('beyond.rim.xml'), beyond);
    const inspection = await inspect('report.hex', { rim: ['beyond.rim.xml'] });
    expect(said(inspection)).toContain('99, driver RIM  DIFFERS\n  got  not measured');
  });

  test('that the verifier refuses: compared all the same, and said', async () => {
    const [driver] = material.rims;
    writeFileSync(file('dtd.rim.xml'), concat(utf8('<!DOCTYPE SoftwareIdentity>'), driver));
    const text = said(await inspect('report.hex', { rim: ['dtd.rim.xml'] }));
    expect(text).toContain('(the verifier refuses it: MALFORMED: manifest has a DOCTYPE)');
    expect(text).toContain('equal  21: index 7, 21-40');
  });

  test('in files of several devices and in documents', async () => {
    const several = said(await inspect('evidence.json', BOTH));
    expect(several).toContain('device 0 compared by RIM index');
    expect(several).toContain('device 2 compared by RIM index\nequal  index 0-12, 21-40');
    const bundle = said(await inspect('bundle.cbor', BOTH));
    expect(bundle).toContain('cited device 0 comparison');
    expect(bundle).toContain('covering device 0 comparison');
    const document = parseBundle((await issueBundle(await makeWorld())).bundle).cited;
    writeFileSync(file('document.cbor'), document);
    expect(said(await inspect('document.cbor', BOTH))).toContain('device 0 comparison');
  });

  test.each([
    ['chain.pem', BOTH, '--rim goes with evidence of devices'],
    ['evidence.json', { chain: ['chain.pem'] }, '--chain goes with a device report'],
  ])('%s takes no such option', async (name, flags, why) => {
    const error = await refusal(() => inspect(name, flags));
    expect(error.exit).toBe(EXIT.misuse);
    expect(error.message).toContain(why);
  });

  test('that are none', async () => {
    for (const name of ['policy.json', 'report.hex']) {
      const error = await refusal(() => inspect('report.hex', { rim: [name] }));
      expect(error.exit).toBe(EXIT.unreadable);
      expect(error.message).toContain('is no manifest');
    }
    writeFileSync(file('cut.rim.xml'), material.rims[0].subarray(0, 3000));
    const cut = await refusal(() => inspect('report.hex', { rim: ['cut.rim.xml'] }));
    expect(cut.message).toContain('looks like this: NVIDIA reference integrity manifest');
  });
});

describe('a manifest', () => {
  const xml = () => Buffer.from(material.rims[0]).toString('latin1');
  const changed = (from: string | RegExp, to: string) => show(utf8(xml().replace(from, to)));

  test.each<[string, string | RegExp, string, string]>([
    ['a DTD', /^/, '<!DOCTYPE SoftwareIdentity [<!ENTITY a "x">]>', 'foreign parts  DTD (DOCTYPE)'],
    ['a declaration', /^/, '<?xml version="1.0"?>\n', 'foreign parts  XML declaration'],
    ['a comment', '</SoftwareIdentity>', '<!-- a --></SoftwareIdentity>', 'foreign parts  comment'],
    ['an instruction', '</SoftwareIdentity>', '<?a b?></SoftwareIdentity>', 'foreign parts  processing instruction'],
    ['a key of its own', '<ds:KeyInfo>', '<ds:KeyInfo><ds:KeyName>a</ds:KeyName>', 'foreign parts  ds:KeyName in KeyInfo'],
    ['an object', '</ds:KeyInfo>', '</ds:KeyInfo><ds:Object></ds:Object>', 'foreign parts  ds:Object in Signature'],
    ['another child', '</SoftwareIdentity>', '<a></a></SoftwareIdentity>', 'foreign parts  a in the root'],
    ['a reference elsewhere', 'URI=""', 'URI="#a"', 'foreign parts  reference to #a'],
  ])('with %s says so, and is shown', (_, from, to, says) => {
    const text = changed(from, to);
    expect(text).toContain(says);
    expect(text).toContain('layout  the verifier refuses it');
    expect(text).toContain('active  7, 21-40');
  }); // prettier-ignore

  test('with a certificate more has a layout that is read and a chain that is refused', () => {
    const text = changed(
      '<ds:X509Certificate>',
      '<ds:X509Certificate>AAAA</ds:X509Certificate><ds:X509Certificate>',
    );
    expect(text).toContain('foreign parts  5 certificates instead of 4');
    expect(text).toContain('layout  the verifier reads it and refuses its chain');
    expect(text).toContain('signature certificate 1\nunreadable');
  });

  test('that was changed after it was signed shows it by its digest', () => {
    const text = changed('colloquialVersion="999.01.02"', 'colloquialVersion="999.01.03"');
    expect(text).toContain('version  999.01.03');
    expect(text).toContain('digest  NOT that of the manifest');
    expect(show(material.rims[0])).toContain(
      'digest  that of the manifest (the signature over it is not verified)',
    );
  });

  test('without a signature shows its values', () => {
    const text = changed(/<ds:Signature [^]*<\/ds:Signature>/, '');
    expect(text).not.toContain('signer valid');
    expect(text).toContain('active  7, 21-40');
  });

  test('with a resource that is none says so', () => {
    expect(changed('size="48"', 'size="47"')).toContain('unreadable  MALFORMED');
  });

  test('has each index for programs, active or not', () => {
    const { entries } = sectionOf(inspectBytes(material.rims[0], 'file'), 'reference values');
    expect(entries).toHaveLength(64);
    expect(entries[0]).toMatchObject({ active: 'no', name: 'Measurement_0' });
    expect(entries[23]!['values']!.split(' ')).toHaveLength(2);
  });

  test('that is no XML is refused', () => {
    const refused = unreadable(utf8('<SoftwareIdentity'));
    expect(refused?.exit).toBe(EXIT.unreadable);
    expect(refused?.message).toContain('manifest is no XML');
  });
});
