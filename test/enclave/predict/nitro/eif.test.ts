import { describe, expect, test } from '@jest/globals';
import { concat, utf8 } from '../../../../attestation/bytes/bytes.ts';
import { crc32 } from '../../../../enclave/predict/nitro/crc32.ts';
import { parseEif } from '../../../../enclave/predict/nitro/eif.ts';
import { mintEif, SECTIONS, withChecksum, type MintedSection } from './mintedEif.ts';

const FILE = mintEif();
const MALFORMED: unknown = expect.objectContaining({ code: 'IMAGE_MALFORMED' });

/** The file after an edit, with the checksum that belongs to it. */
function edited(edit: (view: DataView) => void): Uint8Array {
  const file = Uint8Array.from(FILE);
  edit(new DataView(file.buffer));
  return withChecksum(file);
}

test('CRC-32 is that of ISO-HDLC, in one piece or several', () => {
  expect(crc32(utf8('123456789'))).toBe(0xcbf4_3926);
  expect(crc32(utf8('6789'), crc32(utf8('12345')))).toBe(0xcbf4_3926);
  expect(crc32(new Uint8Array())).toBe(0);
});

describe('parseEif', () => {
  test('reads the parts', () => {
    expect(parseEif(FILE)).toEqual({
      architecture: 'x86_64',
      kernel: utf8('kernel'),
      cmdline: 'reboot=k panic=30',
      ramdisks: ['ramdisk 1', 'ramdisk 2', 'ramdisk 3'].map(utf8),
      metadata: utf8('{}'),
      signature: undefined,
    });
  });

  test('reads another architecture, and a signature', () => {
    expect(parseEif(edited((view) => view.setUint16(6, 1))).architecture).toBe('aarch64');
    expect(parseEif(mintEif([...SECTIONS, ['signature', utf8('s')]])).signature).toEqual(utf8('s'));
  });

  test.each<[string, Uint8Array]>([
    ['nothing', new Uint8Array()],
    ['a header cut short', FILE.slice(0, 547)],
    ['another magic', edited((view) => view.setUint8(0, 0x2f))],
    ['version 3', edited((view) => view.setUint16(4, 3))],
    ['reserved flags', edited((view) => view.setUint16(6, 2))],
    ['a reserved member', edited((view) => view.setUint16(24, 1))],
    ['the unused member', edited((view) => view.setUint32(540, 1))],
    ['33 sections', edited((view) => view.setUint16(26, 33))],
    ['fewer sections than it names', edited((view) => view.setUint16(26, 5))],
    ['more sections than it has', edited((view) => view.setUint16(26, 7))],
    ['another checksum', Uint8Array.from(FILE, (byte, index) => (index === 544 ? byte ^ 1 : byte))],
    ['a section elsewhere', edited((view) => view.setBigUint64(36, 9n))],
    ['two sizes of a section', edited((view) => view.setBigUint64(284, 5n))],
    ['a section beyond the end', edited((view) => {
      view.setBigUint64(284, 2n ** 63n);
      view.setBigUint64(552, 2n ** 63n);
    })],
    ['flags of a section', edited((view) => view.setUint16(550, 1))],
    ['trailing bytes', withChecksum(concat(FILE, Uint8Array.of(0)))],
    ['the last byte missing', withChecksum(FILE.slice(0, -1))],
  ])('refuses %s', (_name, file) => {
    expect(() => parseEif(file)).toThrow(MALFORMED);
  }); // prettier-ignore

  const without = (...types: readonly string[]): MintedSection[] =>
    SECTIONS.filter(([type]) => !types.includes(String(type)));

  test.each<[string, readonly MintedSection[]]>([
    ['no kernel', without('kernel')],
    ['no command line', without('cmdline')],
    ['no metadata', without('metadata')],
    ['no RAM disk', without('ramdisk')],
    ['two kernels', [...SECTIONS, ['kernel', utf8('k')]]],
    ['two command lines', [...SECTIONS, ['cmdline', utf8('c')]]],
    ['metadata twice', [...SECTIONS, ['metadata', utf8('{}')]]],
    ['two signatures', [...SECTIONS, ['signature', utf8('s')], ['signature', utf8('s')]]],
    ['too long a signature', [...SECTIONS, ['signature', new Uint8Array(32_769)]]],
    ['a section of no type', [...SECTIONS, [0, utf8('x')]]],
    ['a section of an unknown type', [...SECTIONS, [6, utf8('x')]]],
    ['the kernel after a RAM disk', [...SECTIONS.slice(3, 4), ...SECTIONS.slice(0, 3)]],
    ['a NUL in the command line', SECTIONS.map(([type, data]) => [type, type === 'cmdline' ? utf8('a\0') : data])],
    ['a command line that is no text', SECTIONS.map(([type, data]) => [type, type === 'cmdline' ? Uint8Array.of(0xff) : data])],
  ])('refuses %s', (_name, sections) => {
    expect(() => parseEif(mintEif(sections))).toThrow(MALFORMED);
  }); // prettier-ignore
});
