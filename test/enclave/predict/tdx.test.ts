import { createHash } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { toHex } from '../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { PredictError } from '../../../enclave/predict/errors.ts';
import { EVENTS, registerOf } from '../../../enclave/predict/boot/register.ts';
import { predictMrtd } from '../../../enclave/predict/tdx/mrtd.ts';
import {
  predictRtmr0,
  predictRtmr1,
  predictRtmr2,
  type Rtmr0Input,
} from '../../../enclave/predict/tdx/rtmrs.ts';
import { encodeTdHob, tdHobInput } from '../../../enclave/predict/tdx/tdHob.ts';
import { type MintedTdxSection, mintFirmware } from '../../support/mintedFirmware.ts';

const SECTION: MintedTdxSection = {
  offset: 0,
  fileSize: 4096,
  address: 0xffff_f000,
  size: 4096,
  type: 0,
  attributes: 1,
};
const HOB = { ...SECTION, offset: 0, fileSize: 0, address: 0x80_9000, size: 0x2000, type: 2, attributes: 0 };
const TEMPORARY = { ...HOB, address: 0x80_0000, size: 0x6000, type: 3 };

function record(operation: string, address: number): Buffer {
  const bytes = Buffer.alloc(128);
  bytes.write(operation);
  bytes.writeBigUInt64LE(BigInt(address), 16);
  return bytes;
}

function extension(firmware: Uint8Array, address: number, offset: number): Buffer {
  const chunks = Array.from({ length: 16 }, (_, index) => [
    record('MR.EXTEND', address + 256 * index),
    Buffer.from(firmware.subarray(offset + 256 * index, offset + 256 * (index + 1))),
  ]);
  return Buffer.concat(chunks.flat());
}

describe('MRTD', () => {
  test('adds and extends pages in the order of the host', () => {
    const firmware = mintFirmware({
      tdx: [{ ...SECTION, fileSize: 8192, address: 0xffff_e000, size: 8192 }],
    });
    const [first, second] = [0xffff_e000, 0xffff_f000];
    const add = [record('MEM.PAGE.ADD', first), record('MEM.PAGE.ADD', second)] as const;
    const extend = [extension(firmware, first, 0), extension(firmware, second, 4096)] as const;
    const hash = (...parts: readonly Buffer[]) =>
      createHash('sha384').update(Buffer.concat(parts)).digest('hex');
    expect(toHex(predictMrtd(firmware, 'one-pass', nodeCrypto))).toBe(
      hash(add[0], extend[0], add[1], extend[1]),
    );
    expect(toHex(predictMrtd(firmware, 'two-pass', nodeCrypto))).toBe(hash(...add, ...extend));
  });

  test('leaves out what is added later, and the content of what is not extended', () => {
    const of = (...tdx: readonly MintedTdxSection[]) =>
      toHex(predictMrtd(mintFirmware({ tdx }), 'one-pass', nodeCrypto));
    expect(of(SECTION, { ...HOB, attributes: 2 })).not.toBe(of(SECTION, HOB));
    const empty = createHash('sha384').digest('hex');
    expect(of({ ...HOB, attributes: 2 })).toBe(empty);
  });

  test.each<[name: string, section: Partial<MintedTdxSection>]>([
    ['an address within a page', { address: 0xffff_f001 }],
    ['a size that is no whole page', { size: 4097 }],
    ['more in the file than in memory', { fileSize: 4096, size: 0 }],
    ['data that lead out of the file', { offset: 8192 }],
    ['an unknown type', { type: 9 }],
    ['memory of half a gigabyte', { fileSize: 0, size: 0x2000_0000 }],
  ])('refuses a section with %s', (_name, change) => {
    const firmware = mintFirmware({ tdx: [{ ...SECTION, ...change }] });
    expect(() => predictMrtd(firmware, 'one-pass', nodeCrypto)).toThrow(PredictError);
  });

  test('refuses firmware for other guests', () => {
    expect(() => predictMrtd(mintFirmware({ sev: [] }), 'one-pass', nodeCrypto)).toThrow(PredictError);
  });
});

describe('the TD HOB', () => {
  const firmware = mintFirmware({ tdx: [SECTION, HOB, TEMPORARY] });
  const hobOf = (memoryBytes: number) => encodeTdHob(tdHobInput(firmware, memoryBytes));

  test('has one block for each range, and says where it ends', () => {
    const hob = hobOf(0x4000_0000);
    // Before, temporary memory, between, TD HOB, behind.
    expect(hob).toHaveLength(56 + 5 * 48);
    expect(new DataView(hob.buffer).getBigUint64(48, true)).toBe(BigInt(0x80_9000 + hob.length + 8));
  });

  test('has memory above 4 GiB where there is much', () => {
    expect(hobOf(0xafff_f000)).toHaveLength(56 + 5 * 48);
    const hob = Buffer.from(hobOf(0xb000_0000));
    expect(hob).toHaveLength(56 + 6 * 48);
    expect(hob.readBigUInt64LE(hob.length - 16)).toBe(0x1_0000_0000n);
    expect(hob.readBigUInt64LE(hob.length - 8)).toBe(0x3000_0000n);
  });

  test('refuses memory that does not hold what the firmware takes', () => {
    expect(() => hobOf(0x80_0000)).toThrow(PredictError);
    expect(() => tdHobInput(mintFirmware({ tdx: [SECTION] }), 2 ** 30)).toThrow(PredictError);
  });
});

describe('RTMRs', () => {
  const bytes = (value: number) => ({ bytes: Uint8Array.of(value) });
  const digest = (value: number) => new Uint8Array(48).fill(value);
  const direct = {
    kind: 'direct',
    direct: { kernel: digest(1), initrd: { digest: digest(2) }, cmdline: 'quiet' },
  } as const;
  const uki = {
    kind: 'uki',
    uki: {
      image: digest(1),
      kernel: digest(2),
      cmdline: 'quiet',
      sections: new Map([
        ['.linux', { digest: digest(3) }],
        ['.initrd', { digest: digest(4) }],
      ] as const),
    },
  } as const;
  const platform: Rtmr0Input = {
    tdHob: bytes(1),
    variableVolume: bytes(2),
    secureBoot: 'absent',
    acpi: [bytes(3), bytes(4), bytes(5)],
    bootOrder: bytes(6),
    bootOptions: [bytes(7)],
  };

  test('start with zeros and chain their events', () => {
    const [a, b] = [digest(1), digest(2)];
    const step = (value: Uint8Array, next: Uint8Array) =>
      createHash('sha384').update(value).update(next).digest();
    const expected = step(step(new Uint8Array(48), a), b);
    expect(toHex(registerOf([{ digest: a }, { digest: b }], 'sha384', nodeCrypto))).toBe(
      expected.toString('hex'),
    );
    const hashed = createHash('sha384')
      .update(Uint8Array.of(0, 0, 0, 0))
      .digest();
    expect(registerOf([EVENTS.separator], 'sha384', nodeCrypto)).toEqual(
      registerOf([{ digest: hashed }], 'sha384', nodeCrypto),
    );
  });

  test('differ with the platform, the separators and the way of booting', () => {
    const values = [
      predictRtmr0(platform, nodeCrypto),
      predictRtmr0({ ...platform, secureBoot: 'off' }, nodeCrypto),
      predictRtmr0({ ...platform, bootOptions: [] }, nodeCrypto),
      predictRtmr1(direct, 1, nodeCrypto),
      predictRtmr1(direct, 0, nodeCrypto),
      predictRtmr1(uki, 1, nodeCrypto),
      predictRtmr1({ ...uki, gpt: Uint8Array.of(1) }, 1, nodeCrypto),
      predictRtmr2(direct, nodeCrypto),
      predictRtmr2(uki, nodeCrypto),
    ];
    expect(new Set(values.map(toHex)).size).toBe(values.length);
  });
});
