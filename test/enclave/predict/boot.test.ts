import { createHash } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { toHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { gptEvent } from '../../../enclave/predict/boot/gpt.ts';
import { patchKernel } from '../../../enclave/predict/boot/linuxHeader.ts';
import { predictPcrs } from '../../../enclave/predict/boot/pcrs.ts';
import {
  authenticodeDigest,
  peSections,
  sectionData,
} from '../../../enclave/predict/boot/portableExecutable.ts';
import { measureUki } from '../../../enclave/predict/boot/uki.ts';
import { PredictError } from '../../../enclave/predict/errors.ts';
import { mintPe } from '../../support/mintedFirmware.ts';

const sha256 = (...parts: readonly Uint8Array[]): string =>
  createHash('sha256').update(Buffer.concat(parts)).digest('hex');
const TEXT = { name: '.text', data: utf8('no code') };

describe('the Authenticode digest', () => {
  const plain = mintPe({ sections: [TEXT] });
  const digest = (image: Uint8Array) => toHex(authenticodeDigest(image, 'sha256', nodeCrypto));

  test('is over all but checksum, entry of the certificates and certificates', () => {
    const [checksum, directory] = [88 + 64, 88 + 144];
    expect(digest(plain)).toBe(
      sha256(
        plain.subarray(0, checksum),
        plain.subarray(checksum + 4, directory),
        plain.subarray(directory + 8),
      ),
    );
  });

  test('stays with a signature and another checksum', () => {
    expect(digest(mintPe({ sections: [TEXT], certificates: new Uint8Array(64).fill(7) }))).toBe(
      digest(plain),
    );
    expect(digest(mintPe({ sections: [TEXT], checksum: 1 }))).toBe(digest(plain));
  });

  test('changes with one bit of a section, and with bytes behind the last', () => {
    const changed = Uint8Array.from(plain);
    changed[1024]! ^= 1;
    const longer = Buffer.concat([plain, Uint8Array.of(1)]);
    expect(new Set([plain, changed, longer].map(digest)).size).toBe(3);
  });

  test.each<[name: string, change: (image: Buffer) => Buffer]>([
    ['cut before its sections', (image) => image.subarray(0, 1030)],
    ['cut in its headers', (image) => image.subarray(0, 90)],
    ['without MZ', (image) => (image.writeUInt16LE(0, 0), image)],
    ['without PE', (image) => (image.writeUInt16LE(0, 64), image)],
    ['of PE32', (image) => (image.writeUInt16LE(0x10b, 88), image)],
    ['with certificates inside', (image) => (image.writeUInt32LE(8, 88 + 148), image)],
    ['with a thousand sections', (image) => (image.writeUInt16LE(1000, 70), image)],
    ['empty', () => Buffer.alloc(0)],
  ])('refuses an image %s', (_name, change) => {
    expect(() => digest(change(Buffer.from(plain)))).toThrow(PredictError);
  });

  test('a section in memory has zeros behind those of the file, or fewer bytes', () => {
    const image = mintPe({
      sections: [
        { name: '.long', data: Uint8Array.of(1, 2), virtualSize: 600 },
        { name: '.short', data: Uint8Array.of(1, 2), virtualSize: 1 },
      ],
    });
    const [long, short] = peSections(image);
    expect(toHex(sectionData(image, long!))).toBe(`0102${'00'.repeat(598)}`);
    expect(toHex(sectionData(image, short!))).toBe('01');
  });
});

describe('a unified kernel image', () => {
  const kernel = mintPe({ sections: [TEXT] });
  const parts = [
    { name: '.osrel', data: utf8('ID=vouchsafe') },
    { name: '.cmdline', data: utf8('quiet\0') },
    { name: '.uname', data: utf8('6.12') },
    { name: '.initrd', data: Uint8Array.of(1, 2, 3) },
    { name: '.linux', data: kernel },
    { name: '.pcrsig', data: utf8('{}') },
  ];
  const uki = mintPe({ sections: parts });
  const measure = (image: Uint8Array, stub: 'systemd-252' | 'systemd-254' = 'systemd-254') =>
    measureUki(image, stub, 'sha256', nodeCrypto);

  test('is measured as a whole, as its kernel, and section by section in the order of the stub', () => {
    const { image, kernel: inner, sections, cmdline } = measure(uki);
    expect(image).toEqual(authenticodeDigest(uki, 'sha256', nodeCrypto));
    expect(inner).toEqual(authenticodeDigest(kernel, 'sha256', nodeCrypto));
    expect([...sections.keys()]).toEqual(['.linux', '.osrel', '.cmdline', '.initrd', '.uname']);
    expect(cmdline).toBe('quiet');
  });

  test('older stubs leave sections out', () => {
    expect([...measure(uki, 'systemd-252').sections.keys()]).not.toContain('.uname');
  });

  test('registers follow from it, and one changed byte changes those that hold it', () => {
    const pcrs = (image: Uint8Array) =>
      predictPcrs({ kind: 'uki', uki: measure(image) }, 'sha256', nodeCrypto);
    const altered = mintPe({
      sections: parts.map((part) =>
        part.name === '.initrd' ? { ...part, data: Uint8Array.of(1, 2, 4) } : part,
      ),
    });
    const [before, after] = [pcrs(uki), pcrs(altered)];
    expect([...before.keys()].sort((a, b) => a - b)).toEqual([2, 3, 4, 5, 6, 9, 11]);
    const changed = [...before].filter(([pcr, value]) => toHex(value) !== toHex(after.get(pcr)!));
    expect(changed.map(([pcr]) => pcr).sort((a, b) => a - b)).toEqual([4, 9, 11]);
  });

  test.each(['.linux', '.initrd', '.cmdline'])('without %s is refused', (missing) => {
    expect(() => measure(mintPe({ sections: parts.filter(({ name }) => name !== missing) }))).toThrow(
      PredictError,
    );
  });

  test('with a section twice is refused', () => {
    expect(() => measure(mintPe({ sections: [...parts, parts[0]!] }))).toThrow(PredictError);
  });
});

describe('a partition table', () => {
  function mintDisk(used: readonly number[], entries = 128): Buffer {
    const disk = Buffer.alloc(34 * 512);
    disk.write('EFI PART', 512);
    disk.writeUInt32LE(92, 512 + 12);
    disk.writeBigUInt64LE(2n, 512 + 72);
    disk.writeUInt32LE(entries, 512 + 80);
    disk.writeUInt32LE(128, 512 + 84);
    for (const index of used) disk.fill(index + 1, 1024 + 128 * index, 1024 + 128 * (index + 1));
    return disk;
  }

  test('is measured as its header, the number of used entries, and those', () => {
    const disk = mintDisk([0, 3]);
    const count = Buffer.alloc(8);
    count.writeUInt8(2);
    const [first, fourth] = [0, 3].map((index) =>
      disk.subarray(1024 + 128 * index, 1024 + 128 * (index + 1)),
    );
    expect(Buffer.from(gptEvent(disk))).toEqual(
      Buffer.concat([disk.subarray(512, 604), count, first!, fourth!]),
    );
  });

  test.each<[name: string, disk: Uint8Array]>([
    ['of another signature', new Uint8Array(34 * 512)],
    ['that is cut', mintDisk([0]).subarray(0, 33 * 512)],
    ['of a million entries', mintDisk([0], 1_000_000)],
    ['that is empty', new Uint8Array(0)],
  ])('%s is refused', (_name, disk) => {
    expect(() => gptEvent(disk)).toThrow(PredictError);
  });
});

describe('a kernel that QEMU rewrites', () => {
  function mintKernel(protocol: number, loadFlags = 0x3f): Uint8Array {
    const kernel = Buffer.alloc(4096);
    kernel.write('HdrS', 0x202);
    kernel.writeUInt16LE(protocol, 0x206);
    kernel.writeUInt32LE(0x7fff_ffff, 0x22c);
    kernel.writeUInt16LE(loadFlags, 0x236);
    return new Uint8Array(kernel);
  }
  const load = { initrdBytes: 5000, memoryBytes: 2 ** 31, acpiDataBytes: 0x2_8000 };
  const place = (kernel: Uint8Array, changes: Partial<typeof load> = {}) =>
    Buffer.from(patchKernel(kernel, { ...load, ...changes })).readUInt32LE(0x218);

  test('has its fields written, and the original is left alone', () => {
    const kernel = mintKernel(0x20f);
    const patched = Buffer.from(patchKernel(kernel, load));
    expect([patched[0x210], patched[0x211]! & 0x80, patched.readUInt32LE(0x228)]).toEqual([
      0xb0, 0x80, 0x2_0000,
    ]);
    expect(patched.readUInt32LE(0x21c)).toBe(5000);
    expect(kernel[0x210]).toBe(0);
  });

  test('has its initrd below the end of low memory, the ACPI tables and its own limit', () => {
    expect(place(mintKernel(0x20f))).toBe(0x7ffd_6000);
    expect(place(mintKernel(0x20f), { memoryBytes: 2 ** 32 })).toBe(0x7ffd_6000);
    expect(place(mintKernel(0x202))).toBe(0x37ff_e000);
    expect(place(mintKernel(0x20f), { initrdBytes: 0 })).toBe(0);
  });

  test.each<[name: string, kernel: Uint8Array, memoryBytes: number]>([
    ['too short', new Uint8Array(512), 2 ** 31],
    ['without a setup header', new Uint8Array(4096), 2 ** 31],
    ['of an old protocol', mintKernel(0x201), 2 ** 31],
    ['whose initrd does not fit', mintKernel(0x20f), 0x2_9000],
  ])('is refused where it is %s', (_name, kernel, memoryBytes) => {
    expect(() => patchKernel(kernel, { ...load, memoryBytes })).toThrow(PredictError);
  });
});
