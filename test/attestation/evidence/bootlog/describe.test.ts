import { describe, expect, test } from '@jest/globals';
import { concat, fromHex, utf8 } from '../../../../attestation/bytes/bytes.ts';
import { describeEvent } from '../../../../attestation/evidence/bootlog/describe.ts';
import { devicePathText } from '../../../../attestation/evidence/bootlog/devicePath.ts';
import { EV, eventTypeName } from '../../../../attestation/evidence/bootlog/eventTypes.ts';
import type { BootEvent } from '../../../../attestation/evidence/bootlog/log.ts';
import { refusalOf } from '../../../support/refusal.ts';
import { le, tagged, utf16, variable } from './mint.ts';

const said = (type: number, data: Uint8Array, runtime?: BootEvent['runtime']) =>
  describeEvent({
    index: 0,
    register: 0,
    type,
    typeName: eventTypeName(type),
    digests: new Map(),
    data,
    runtime,
  });

const node = (type: number, subtype: number, body: Uint8Array) =>
  concat(Uint8Array.of(type, subtype), le(body.length + 4, 2), body);
const END = Uint8Array.of(0x7f, 0xff, 4, 0);
const GUID = fromHex('61dfe48bca93d211aa0d00e098032b8c');
const PATH = concat(
  node(2, 1, concat(le(0x0a0341d0, 4), le(0, 4))),
  node(1, 1, Uint8Array.of(0, 3)),
  node(3, 0x17, concat(le(1, 4), new Uint8Array(8))),
  node(4, 1, concat(le(12, 4), new Uint8Array(16), GUID, Uint8Array.of(2, 2))),
  node(4, 4, utf16('\\EFI\\BOOT\\BOOTX64.EFI\0')),
  END,
);
const image = (path: Uint8Array) => concat(new Uint8Array(24), le(path.length, 8), path);
const gpt = concat(new Uint8Array(56), GUID, new Uint8Array(20), le(3, 8));

describe('describeEvent', () => {
  test.each([
    [EV.NO_ACTION, concat(utf8('StartupLocality\0'), Uint8Array.of(3)), 'TPM2_Startup at locality 3'],
    [EV.NO_ACTION, utf8('SP800-155 Event3…'), 'SP800-155 Event3'],
    [EV.NO_ACTION, Uint8Array.of(1), '1 byte 01'],
    [EV.SEPARATOR, new Uint8Array(4), 'end of the firmware phase'],
    [EV.SEPARATOR, new Uint8Array(4).fill(0xff), 'end of the firmware phase'],
    [EV.SEPARATOR, Uint8Array.of(1, 0, 0, 0), 'the firmware failed to measure'],
    [EV.SEPARATOR, Uint8Array.of(2, 0, 0, 0), '4 bytes 02000000'],
    [EV.EFI_ACTION, utf8('Exit Boot Services Invocation'), 'Exit Boot Services Invocation'],
    [EV.S_CRTM_VERSION, utf16('2.3.5\0'), '2.3.5'],
    [EV.S_CRTM_VERSION, GUID, '8be4df61-93ca-11d2-aa0d-00e098032b8c'],
    [EV.IPL, utf8('kernel_cmdline: /k root=a\0'), 'kernel command line: /k root=a'],
    [EV.IPL, utf8('grub_kernel_cmdline /k root=a\0g'), 'kernel command line: /k root=a'],
    [EV.IPL, utf8('grub_cmd: boot\0'), 'GRUB command: boot'],
    [EV.IPL, utf8('MokList\0'), 'MokList'],
    [EV.IPL, utf16('.cmdline\0'), '.cmdline'],
    [EV.EVENT_TAG, tagged(0x8f3b_22ed, utf8('LOADED_IMAGE\0')), 'Linux command line: LOADED_IMAGE'],
    [EV.EVENT_TAG, tagged(0x8f3b_22ec, utf8('Linux initrd\0')), 'Linux initrd: Linux initrd'],
    [EV.EVENT_TAG, tagged(0x4141_454c, utf8('a b c')), 'application event: a b c'],
    [EV.EVENT_TAG, tagged(7, utf8('x')), 'tag 0x00000007: x'],
    [EV.EVENT_TAG, utf8('x'), '1 byte 78'],
    [EV.EFI_PLATFORM_FIRMWARE_BLOB, concat(le(0xff00_0000, 8), le(16, 8)), '16 bytes at 0xff000000'],
    [
      EV.EFI_PLATFORM_FIRMWARE_BLOB2,
      concat(le(2, 1), utf8('Fv'), le(16, 8), le(8, 8)),
      'Fv: 8 bytes at 0x10',
    ],
    [EV.EFI_HANDOFF_TABLES2, concat(le(4, 1), utf8('Tdx\0'), le(1, 8)), 'Tdx'],
    [EV.EFI_GPT_EVENT, gpt, 'partition table of disk 8be4df61-93ca-11d2-aa0d-00e098032b8c with 3 partitions'],
    [EV.EFI_BOOT_SERVICES_APPLICATION, image(new Uint8Array()), 'no device path'],
    [EV.POST_CODE, utf8('ACPI DATA'), 'ACPI DATA'],
    [EV.POST_CODE, Uint8Array.of(1, 2), '2 bytes 0102'],
    [EV.CPU_MICROCODE, new Uint8Array(), 'empty'],
    [0x401, new Uint8Array(40), `40 bytes ${'00'.repeat(32)}…`],
  ])('type %# of %p', (type, data, text) => {
    expect(said(type, data)).toBe(text);
  });

  test('a variable by name, GUID and value', () => {
    expect(said(EV.EFI_VARIABLE_DRIVER_CONFIG, variable('SecureBoot', Uint8Array.of(1)))).toBe(
      'SecureBoot (8be4df61-93ca-11d2-aa0d-00e098032b8c): 1 byte 01',
    );
    const option = concat(le(1, 4), le(0, 2), utf16('Linux Boot Manager\0'), END);
    expect(said(EV.EFI_VARIABLE_BOOT, variable('Boot0001', option))).toContain(': Linux Boot Manager');
    expect(said(EV.EFI_VARIABLE_BOOT, variable('Boot0001', Uint8Array.of(1)))).toContain(': 1 byte 01');
  });

  test('a boot application by its device path', () => {
    expect(said(EV.EFI_BOOT_SERVICES_APPLICATION, image(PATH))).toBe(
      'Acpi(0xa0341d0,0)/Pci(0x3,0x0)/NVMe(1)/HD(12,GPT,8be4df61-93ca-11d2-aa0d-00e098032b8c)/\\EFI\\BOOT\\BOOTX64.EFI',
    );
  });

  test('a runtime event by name and payload', () => {
    const runtime = { name: 'compose-hash', version: 1 } as const;
    expect(said(0x0800_0001, Uint8Array.of(0xab, 0xcd), runtime)).toBe('compose-hash: 2 bytes abcd');
  });

  test('data that breaks its format is shown in hex', () => {
    for (const type of Object.values(EV)) expect(said(type, Uint8Array.of(0x80))).toBe('1 byte 80');
    const cut = image(PATH.subarray(0, 20));
    expect(said(EV.EFI_BOOT_SERVICES_APPLICATION, cut)).toContain(`${cut.length} bytes`);
  });

  test('half a surrogate pair is replaced, control characters in text make it hex', () => {
    const lone = concat(utf16('a'), Uint8Array.of(0x00, 0xd8), utf16('b'));
    expect(said(EV.EFI_VARIABLE_BOOT, variableNamed(lone))).toContain('a\ufffdb (');
    expect(said(EV.EFI_ACTION, utf8('a\u001b[2Jb'))).toBe('6 bytes 611b5b324a62');
  });

  test('no text is longer than its bound', () => {
    const long = utf8('kernel_cmdline: '.padEnd(100_000, '\u{1f600}'));
    const text = said(EV.IPL, long);
    expect(Array.from(text).length).toBeLessThanOrEqual(2048 + 32);
    expect(text).not.toMatch(/\p{Surrogate}/u);
    const nodes = concat(...Array.from({ length: 200 }, () => node(4, 4, utf16('x'.repeat(2000)))), END);
    expect(Array.from(said(EV.EFI_BOOT_SERVICES_DRIVER, image(nodes))).length).toBeLessThanOrEqual(2049);
    const runtime = { name: 'n'.repeat(100_000), version: 1 } as const;
    expect(said(0x0800_0001, new Uint8Array(), runtime).length).toBeLessThanOrEqual(2049);
  });
});

describe('devicePathText', () => {
  test.each([
    [node(3, 2, concat(le(1, 2), le(2, 2))), 'Scsi(1,2)'],
    [node(3, 5, Uint8Array.of(1, 2)), 'Usb(1,2)'],
    [node(3, 0x0b, concat(fromHex('001122334455'), new Uint8Array(27))), 'Mac(6 bytes 001122334455)'],
    [node(3, 0x12, concat(le(1, 2), le(65535, 2), le(0, 2))), 'Sata(1,65535,0)'],
    [node(3, 0x18, utf8('https://boot.example/a')), 'Uri(https://boot.example/a)'],
    [node(4, 1, concat(le(2, 4), new Uint8Array(32), Uint8Array.of(1, 1))), 'HD(2)'],
    [node(4, 2, concat(le(1, 4), new Uint8Array(16))), 'Cd(1)'],
    [node(4, 3, GUID), 'VenMedia(8be4df61-93ca-11d2-aa0d-00e098032b8c)'],
    [node(4, 6, GUID), 'FvFile(8be4df61-93ca-11d2-aa0d-00e098032b8c)'],
    [node(4, 7, GUID), 'Fv(8be4df61-93ca-11d2-aa0d-00e098032b8c)'],
    [node(4, 8, concat(le(0, 4), le(16, 8), le(32, 8))), 'Offset(0x10,0x20)'],
    [node(5, 1, utf8('BIOS')), 'Path(5,1)'],
  ])('node %#', (bytes, text) => {
    expect(devicePathText(concat(bytes, END))).toBe(text);
    expect(devicePathText(bytes)).toBe(text);
  });

  test.each([
    ['a node without a header', Uint8Array.of(4, 4, 3, 0)],
    ['a node of length 0', new Uint8Array(4)],
    ['a node beyond the end', Uint8Array.of(4, 4, 9, 0)],
    ['half a header', Uint8Array.of(4, 4)],
    ['a short hard drive', node(4, 1, new Uint8Array(4))],
  ])('refuses %s', (_corruption, bytes) => {
    expect(refusalOf(() => devicePathText(bytes))?.code).toBe('MALFORMED');
  });
});

function variableNamed(name: Uint8Array): Uint8Array {
  return concat(GUID, le(name.length / 2, 8), le(0, 8), name);
}
