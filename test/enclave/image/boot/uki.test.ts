import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { fromUtf8, toHex, utf8 } from '../../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { addSections } from '../../../../enclave/image/boot/peFile.ts';
import { readCpio } from '../../../../enclave/image/boot/readCpio.ts';
import { buildUki, type UkiParts } from '../../../../enclave/image/boot/uki.ts';
import { ImageError } from '../../../../enclave/image/errors.ts';
import {
  authenticodeDigest,
  peSections,
  sectionData,
} from '../../../../enclave/predict/boot/portableExecutable.ts';
import { measureUki, type StubRelease } from '../../../../enclave/predict/boot/uki.ts';
import { PredictError } from '../../../../enclave/predict/errors.ts';
import { errorOf } from '../../../support/refusal.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../../support/runs.ts';
import { inFolder } from '../../../support/folder.ts';
import { outputOf, testWith } from '../../../support/programs.ts';
import { mintKernel, mintProgram } from './mintedPrograms.ts';

const STUB = mintProgram({
  sections: [
    { name: '.text', data: Buffer.alloc(700, 0x90), virtualSize: 690 },
    { name: '.sbat', data: utf8('sbat,1,SBAT Version,sbat,1\n') },
  ],
});
const PARTS: UkiParts = {
  stub: STUB,
  kernel: mintKernel(),
  initrd: Buffer.alloc(5000, 3),
  cmdline: 'console=ttyS0 panic=-1',
  osRelease: 'ID=vouchsafe\nVERSION_ID=1\n',
  uname: '6.12.1-cloud-amd64',
};

const codeOf = (step: () => unknown) => errorOf(ImageError, step)?.code;

describe('a unified kernel image', () => {
  const uki = buildUki(PARTS);
  const image = Buffer.from(uki);

  test('has the sections of the stub and one for each part, the kernel last', () => {
    expect(peSections(uki).map(({ name }) => name)).toEqual([
      '.text', '.sbat', '.osrel', '.cmdline', '.uname', '.initrd', '.linux',
    ]); // prettier-ignore
  });

  test('is measured with exactly the bytes of its parts', () => {
    const { sections, cmdline, kernel } = measureUki(uki, 'systemd-257', 'sha256', nodeCrypto);
    const bytes = Object.fromEntries(
      [...sections].map(([name, part]) => [name, 'bytes' in part ? toHex(part.bytes) : '']),
    );
    expect(bytes).toEqual({
      '.linux': toHex(PARTS.kernel),
      '.osrel': toHex(utf8(PARTS.osRelease)),
      '.cmdline': toHex(utf8(PARTS.cmdline)),
      '.initrd': toHex(PARTS.initrd),
      '.uname': toHex(utf8(PARTS.uname)),
      '.sbat': toHex(utf8('sbat,1,SBAT Version,sbat,1\n')),
    });
    expect(cmdline).toBe(PARTS.cmdline);
    expect(kernel).toEqual(authenticodeDigest(PARTS.kernel, 'sha256', nodeCrypto));
  });

  test('is laid out as firmware loads it', () => {
    const sections = Array.from({ length: 7 }, (_, index) => {
      const entry = 88 + 240 + 40 * index;
      const [virtualSize, address, size, offset] = [8, 12, 16, 20].map((field) =>
        image.readUInt32LE(entry + field),
      );
      return { virtualSize: virtualSize!, address: address!, size: size!, offset: offset! };
    });
    for (const [index, { virtualSize, address, size, offset }] of sections.entries()) {
      expect([address % 4096, size % 512, offset % 512]).toEqual([0, 0, 0]);
      const next = sections[index + 1];
      if (next) expect(next.address).toBeGreaterThanOrEqual(address + Math.max(virtualSize, size));
      if (next) expect(next.offset).toBe(offset + size);
      else expect(image.length).toBe(offset + size);
    }
    expect(image.readUInt32LE(88 + 56)).toBe(
      Math.ceil((sections[6]!.address + sections[6]!.virtualSize) / 4096) * 4096,
    );
    expect(image.length % 8).toBe(0);
    expect(image.readUInt32LE(88 + 64)).toBe(0);
    expect(image.subarray(1024, STUB.length).equals(STUB.subarray(1024))).toBe(true);
  });

  test('says that it runs without executable data where stub and kernel do', () => {
    const flags = (parts: Partial<UkiParts>) =>
      Buffer.from(buildUki({ ...PARTS, ...parts })).readUInt16LE(88 + 70);
    expect(flags({})).toBe(0x160);
    expect(flags({ kernel: mintKernel({ nxCompatible: false }) })).toBe(0x60);
  });

  test('is the same from the same parts', () => {
    expect(image.equals(buildUki({ ...PARTS, stub: Uint8Array.from(STUB) }))).toBe(true);
  });

  test.each<[what: string, parts: Partial<UkiParts>, code: string]>([
    ['a command line with a NUL', { cmdline: 'quiet\0' }, 'IMAGE_PART_MALFORMED'],
    ['a command line of two lines', { cmdline: 'quiet\nsplash' }, 'IMAGE_PART_MALFORMED'],
    ['a command line with spaces at its end', { cmdline: 'quiet ' }, 'IMAGE_PART_MALFORMED'],
    ['no command line', { cmdline: '' }, 'IMAGE_PART_MALFORMED'],
    ['a command line that the kernel would cut', { cmdline: 'q'.repeat(2048) }, 'IMAGE_TOO_LARGE'],
    ['a release with an accent', { uname: '6.12-é' }, 'IMAGE_PART_MALFORMED'],
    ['os-release that is no list', { osRelease: 'vouchsafe' }, 'IMAGE_PART_MALFORMED'],
    ['no initrd', { initrd: new Uint8Array() }, 'IMAGE_PART_MALFORMED'],
    ['a kernel that is none', { kernel: STUB }, 'IMAGE_PART_MALFORMED'],
    ['a kernel of a few bytes', { kernel: new Uint8Array(9) }, 'IMAGE_PART_MALFORMED'],
    ['a stub that is empty', { stub: new Uint8Array() }, 'IMAGE_PART_MALFORMED'],
    ['a stub that has a kernel', { stub: uki }, 'IMAGE_PART_MALFORMED'],
    [
      'a stub that is signed',
      { stub: mintProgram({ sections: [], certificates: new Uint8Array(8) }) },
      'IMAGE_PART_MALFORMED',
    ],
    [
      'a stub without space for more sections',
      {
        stub: mintProgram({
          sections: Array.from({ length: 15 }, (_, i) => ({ name: `.${i}`, data: utf8('x') })),
        }),
      },
      'IMAGE_PART_MALFORMED',
    ],
  ])('is not made of %s', (_what, parts, code) => {
    expect(codeOf(() => buildUki({ ...PARTS, ...parts }))).toBe(code);
  });

  test.each<[what: string, change: (stub: Buffer) => unknown]>([
    ['of another processor', (stub) => stub.writeUInt16LE(0xaa64, 68)],
    ['of PE32', (stub) => stub.writeUInt16LE(0x10b, 88)],
    ['without MZ', (stub) => stub.writeUInt16LE(0, 0)],
    ['whose headers lie outside', (stub) => stub.writeUInt32LE(0xffff_fff0, 60)],
    ['with an alignment of 3', (stub) => stub.writeUInt32LE(3, 88 + 36)],
    ['with an alignment of 0', (stub) => stub.writeUInt32LE(0, 88 + 32)],
    ['whose sections overlap', (stub) => stub.writeUInt32LE(4096, 328 + 40 + 12)],
    ['with a section outside of the file', (stub) => stub.writeUInt32LE(1 << 20, 328 + 16)],
    ['with a section of 4 GB', (stub) => stub.writeUInt32LE(0xffff_ffff, 328 + 40 + 8)],
    ['with something behind its section table', (stub) => stub.writeUInt8(1, 328 + 80)],
  ])('is not made of a stub %s', (_what, change) => {
    const stub = Buffer.from(STUB);
    change(stub);
    expect(codeOf(() => buildUki({ ...PARTS, stub }))).toBe('IMAGE_PART_MALFORMED');
  });

  testWith('objdump', 'is what objdump reads', async (objdump) => {
    await inFolder(async (folder) => {
      await writeFile(join(folder, 'uki.efi'), uki);
      const lines = (await outputOf(objdump, '-h', join(folder, 'uki.efi'))).split('\n');
      const sizes = lines.flatMap((line) => {
        const [, name, size] = /^ +\d+ (\.\w+) +([0-9a-f]{8}) /.exec(line) ?? [];
        return name === undefined ? [] : [[name, Number.parseInt(size ?? '', 16)]];
      });
      expect(Object.fromEntries(sizes)).toMatchObject({
        '.osrel': PARTS.osRelease.length,
        '.cmdline': PARTS.cmdline.length,
        '.initrd': PARTS.initrd.length,
        '.linux': PARTS.kernel.length,
      });
    });
  });
});

describe('what the stub hands to the kernel', () => {
  const part = (name: string, data: Uint8Array) => ({ name, data });
  const sections = [
    part('.osrel', utf8('ID=v\n')),
    part('.cmdline', utf8('quiet')),
    part('.initrd', Uint8Array.of(1, 2, 3)),
    part('.ucode', Uint8Array.of(9)),
    part('.linux', mintKernel()),
  ];
  const initrdOf = (image: Uint8Array, stub: StubRelease) => {
    const { initrd } = measureUki(image, stub, 'sha256', nodeCrypto);
    return initrd && 'bytes' in initrd ? Buffer.from(initrd.bytes) : undefined;
  };
  const uki = addSections(STUB, sections, true);

  test('is the initrd as it is, for stubs before 257', () => {
    expect(initrdOf(uki, 'systemd-254')).toEqual(Buffer.of(1, 2, 3));
    expect([...measureUki(uki, 'systemd-254', 'sha256', nodeCrypto).sections.keys()]).not.toContain('.ucode');
  });

  test('is microcode, initrd, and an archive with os-release, for 257', () => {
    const initrd = initrdOf(uki, 'systemd-257')!;
    expect(initrd.subarray(0, 8)).toEqual(Buffer.of(9, 0, 0, 0, 1, 2, 3, 0));
    // Like ours but for the modes, and for one number of its end in upper case.
    const archive = initrd.toString('latin1', 8).replace(/0000000B(?=0{8}TRAILER)/, '0000000b');
    const tree = readCpio(Buffer.from(archive, 'latin1'));
    expect(tree.entries()).toEqual([
      ['.extra', { kind: 'folder', mode: 0o555 }],
      ['.extra/os-release', { kind: 'file', mode: 0o444, content: utf8('ID=v\n') }],
    ]);
    expect([...measureUki(uki, 'systemd-257', 'sha256', nodeCrypto).sections.keys()].slice(0, 5)).toEqual([
      '.linux', '.osrel', '.cmdline', '.initrd', '.ucode',
    ]); // prettier-ignore
  });

  test('is not known where the stub chooses by the machine', () => {
    const image = addSections(uki, [part('.dtbauto', Uint8Array.of(1))], true);
    expect(() => measureUki(image, 'systemd-257', 'sha256', nodeCrypto)).toThrow(PredictError);
  });
});

describe('sections that are added to a program', () => {
  const section = fc.record({
    name: fc.stringMatching(/^\.[a-z]{1,7}$/),
    data: fc.uint8Array({ minLength: 1, maxLength: 9000 }),
  });

  test('are read as they were given, whatever they are', () => {
    const sections = fc.uniqueArray(section, { maxLength: 14, selector: ({ name }) => name });
    fc.assert(
      fc.property(sections, (chosen) => {
        const added = chosen.filter(({ name }) => name !== '.text' && name !== '.sbat');
        const image = addSections(STUB, added, true);
        const read = peSections(image).slice(2);
        expect(read.map(({ name }) => name)).toEqual(added.map(({ name }) => name));
        for (const [index, one] of read.entries()) {
          expect(toHex(sectionData(image, one))).toBe(toHex(added[index]!.data));
        }
      }),
      propertyRuns(60),
    );
  });

  test(
    'go into no damaged program that cannot be read afterwards',
    () => {
      const change = fc.tuple(fc.nat(500), fc.nat(255));
      fc.assert(
        fc.property(
          fc.array(change, { minLength: 1, maxLength: 6 }),
          fc.nat(STUB.length),
          (changes, length) => {
            const stub = Uint8Array.from(STUB).subarray(0, Math.max(length, 600));
            for (const [offset, value] of changes) stub[offset] = value;
            const added = [{ name: '.osrel', data: utf8('ID=v\n') }];
            const code = codeOf(() => {
              const image = addSections(stub, added, true);
              const last = peSections(image).at(-1)!;
              expect(fromUtf8(sectionData(image, last))).toBe('ID=v\n');
            });
            expect([undefined, 'IMAGE_PART_MALFORMED']).toContain(code);
          },
        ),
        propertyRuns(300),
      );
    },
    PROPERTY_TIMEOUT,
  );

  test('have names of the format', () => {
    expect(() => addSections(STUB, [{ name: '.toolongname', data: utf8('x') }], true)).toThrow(RangeError);
  });
});
