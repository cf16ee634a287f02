import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { concat, fromHex, utf8 } from '../../../../attestation/bytes/bytes.ts';
import {
  parseDeviceReport,
  type GpuReport,
  type SwitchReport,
} from '../../../../attestation/evidence/nvidia/parse.ts';
import { driverRimId, vbiosRimId } from '../../../../attestation/evidence/nvidia/rim.ts';
import { refusalCode } from './corpusCases.ts';
import { propertyRuns } from '../../../support/runs.ts';

type Fields = ReadonlyMap<number, Uint8Array>;
const NONCE = new Uint8Array(32).fill(7);

/** Fields of a Hopper GPU with firmware of 2024. */
const HOPPER: Fields = new Map([
  [6, fromHex('009f009604000000')],
  [15, utf8('882\0')],
  [17, utf8('1010\0')],
  [18, utf8('0200\0')],
  [3, utf8('550.90.07\0')],
  [4, fromHex('8001000000000000')],
  [11, fromHex('55')],
  [20, new Uint8Array(48).fill(9)],
  [21, fromHex('55')],
]);
const BLACKWELL: Fields = new Map([
  ...HOPPER,
  [4, fromHex('b001000002000000')],
  [34, fromHex('0100')],
  [35, utf8('GB202\0')],
  [36, fromHex('0000')],
]);
const SWITCH: Fields = new Map([
  [6, utf8('96.10.55.00.01')],
  [22, new Uint8Array(8)],
  [25, fromHex('0100')],
]);

function u16(value: number): Uint8Array {
  return Uint8Array.of(value & 0xff, value >> 8);
}

function opaque(fields: Fields): Uint8Array {
  return concat(...[...fields].flatMap(([id, data]) => [u16(id), u16(data.length), data]));
}

function block(index: number, head = `${index.toString(16).padStart(2, '0')}01330001` + '3000'): Uint8Array {
  return concat(fromHex(head), new Uint8Array(48).fill(index));
}

interface Parts {
  readonly request?: string;
  readonly response?: string;
  readonly count?: number;
  readonly blocks?: readonly Uint8Array[];
  readonly recordLength?: number;
  readonly opaque?: Uint8Array;
  readonly opaqueLength?: number;
  readonly signature?: Uint8Array;
}

/** A report of three blocks; each part can be replaced by a corrupt one. */
function report(parts: Parts = {}): Uint8Array {
  const blocks = parts.blocks ?? [block(1), block(2), block(3)];
  const record = concat(...blocks);
  const data = parts.opaque ?? opaque(HOPPER);
  return concat(
    fromHex(parts.request ?? '11e001ff'),
    NONCE,
    Uint8Array.of(0),
    fromHex(parts.response ?? '11600000'),
    Uint8Array.of(parts.count ?? blocks.length),
    concat(u16(parts.recordLength ?? record.length), Uint8Array.of(0)),
    record,
    new Uint8Array(32).fill(8),
    u16(parts.opaqueLength ?? data.length),
    data,
    parts.signature ?? new Uint8Array(96),
  );
}

const withField = (fields: Fields, id: number, data: Uint8Array): Parts => ({
  opaque: opaque(new Map([...fields, [id, data]])),
});
const withoutField = (fields: Fields, id: number): Parts => ({
  opaque: opaque(new Map([...fields].filter(([field]) => field !== id))),
});
const withFields = (
  fields: Fields,
  ...changes: readonly (readonly [number, Uint8Array | undefined])[]
): Parts => {
  const changed = new Map<number, Uint8Array | undefined>([...fields, ...changes]);
  return { opaque: opaque(new Map([...changed].flatMap(([id, data]) => (data ? [[id, data]] : [])))) };
};
const gpu = (parts: Parts) => parseDeviceReport(report(parts), 'gpu') as GpuReport;

describe('parseDeviceReport', () => {
  test('reads a GPU report; RIM indices count from 0', () => {
    const parsed = gpu({});
    expect(parsed).toMatchObject({
      kind: 'gpu',
      chip: 'GH100',
      mode: 'spt',
      driverVersion: '550.90.07',
      vbiosVersion: '96.00.9F.00.04',
      project: '1010',
      projectSku: '0200',
      chipSku: '882',
      chipInfo: undefined,
      nvdec0: false,
    });
    expect(parsed.nonce).toEqual(NONCE);
    expect(parsed.measurements).toEqual([1, 2, 3].map((value) => new Uint8Array(48).fill(value)));
    expect(parsed.signed.length + parsed.signature.length).toBe(report().length);
  });

  test('reads a switch report, where the same ids mean other things', () => {
    const parsed = parseDeviceReport(report({ opaque: opaque(SWITCH) }), 'switch');
    expect(parsed).toMatchObject({ kind: 'switch', biosVersion: '96.10.55.00.01', locked: true });
    const unlocked = parseDeviceReport(report(withField(SWITCH, 25, fromHex('0000'))), 'switch');
    expect(unlocked).toMatchObject({ locked: false });
  });

  test('names each switch and each GPU once, in the byte order of switches', () => {
    const [first, second] = ['0102030405060708', '1112131415161718'];
    const reversed = ['0807060504030201', '1817161514131211'];
    const links = fromHex(['00'.repeat(8), reversed[0], reversed[1], reversed[0]].join(''));
    const field = concat(links, new Uint8Array(144 - links.length));
    expect(gpu(withField(HOPPER, 22, field)).switchPdis).toEqual([first, second]);
    expect(gpu({}).switchPdis).toEqual([]);
    const ports = concat(fromHex(`${second}${'00'.repeat(8)}${first}${second}`), new Uint8Array(96).fill(1));
    const parts = withFields(SWITCH, [22, fromHex(first)], [26, ports]);
    const parsed = parseDeviceReport(report(parts), 'switch') as SwitchReport;
    expect(parsed.pdi).toBe(first);
    // The second half of the field maps ports and names nothing.
    expect(parsed.gpuPdis).toEqual([second, first, '01'.repeat(8)]);
    const silent = parseDeviceReport(report(withoutField(SWITCH, 22)), 'switch');
    expect(silent).toMatchObject({ pdi: undefined, gpuPdis: [] });
  });

  test('the version of the opaque data and SYS_ENABLE_STATUS', () => {
    expect(gpu({})).toMatchObject({ opaqueVersion: 0, systemEnableStatus: undefined });
    const parsed = gpu(withField(BLACKWELL, 33, fromHex('0700')));
    expect(parsed).toMatchObject({ opaqueVersion: 1, systemEnableStatus: fromHex('0700') });
  });

  test.each([
    ['version 0 without bytes for protected PCIe', withoutField(HOPPER, 21), 'spt'],
    ['version 0 with protected PCIe', withField(HOPPER, 21, fromHex('aa')), 'ppcie'],
    ['version 0 ignores the feature flag', withField(HOPPER, 36, fromHex('0100')), 'spt'],
    ['flag 0', { opaque: opaque(BLACKWELL) }, 'spt'],
    ['flag 1', withField(BLACKWELL, 36, fromHex('0100')), 'mpt'],
    ['flag 2', withFields(BLACKWELL, [21, undefined], [36, fromHex('0200')]), 'ppcie'],
    [
      'flag 2 with protected PCIe',
      withFields(BLACKWELL, [21, fromHex('aa')], [36, fromHex('0200')]),
      'ppcie',
    ],
  ])('mode of %s', (_, parts, mode) => {
    expect(gpu(parts).mode).toBe(mode);
  });

  test.each([
    ['Hopper', HOPPER, 'NV_GPU_DRIVER_GH100_550.90.07'],
    ['Blackwell with CHIP_INFO', BLACKWELL, 'NV_GPU_CC_DRIVER_GB202_550.90.07'],
    [
      'Blackwell without CHIP_INFO',
      new Map([...HOPPER, [4, fromHex('a001000000000000')]]),
      'NV_GPU_CC_DRIVER_GB100_550.90.07',
    ],
  ])('RIM ids of %s', (_, fields, id) => {
    const parsed = gpu({ opaque: opaque(fields) });
    expect(driverRimId(parsed)).toBe(id);
    expect(vbiosRimId(parsed)).toBe('NV_GPU_VBIOS_1010_0200_882_96009F0004');
  });

  const malformed: readonly (readonly [string, Parts])[] = [
    ['another request code', { request: '11e101ff' }],
    ['a request without signature', { request: '11e000ff' }],
    ['a request for one measurement', { request: '11e00101' }],
    ['another response code', { response: '11610000' }],
    ['a reserved byte of the response', { response: '11600100' }],
    ['a count above the blocks', { count: 4 }],
    ['a count below the blocks', { count: 2 }],
    ['a record length below the blocks', { recordLength: 110 }],
    ['a record length above the blocks', { recordLength: 220 }],
    ['a record length beyond the report', { recordLength: 0xffff }],
    ['a repeated block index', { blocks: [block(1), block(1)] }],
    ['a gap in the block indices', { blocks: [block(1), block(3)] }],
    ['block indices from 0', { blocks: [block(0), block(1)] }],
    ['blocks in falling order', { blocks: [block(2), block(1)] }],
    ['a block that is not of DMTF', { blocks: [block(1, '01023300013000')] }],
    ['a raw value', { blocks: [block(1, '01013300813000')] }],
    ['a block size that contradicts its value', { blocks: [block(1, '01013400013000')] }],
    ['a value of 32 bytes', { blocks: [block(1, '01013300012000')] }],
    ['an opaque length that cuts a field', { opaqueLength: opaque(HOPPER).length - 1 }],
    ['an opaque length beyond the report', { opaqueLength: 0xffff }],
    ['an opaque field longer than the data', { opaque: concat(opaque(HOPPER), u16(13), u16(4)) }],
    ['half an opaque header', { opaque: concat(opaque(HOPPER), u16(13)) }],
    ['an opaque field twice', { opaque: concat(opaque(HOPPER), opaque(new Map([[11, fromHex('aa')]]))) }],
    ['a firmware id of 32 bytes', withField(HOPPER, 20, new Uint8Array(32))],
    ['an NVDEC0 status that is neither', withField(HOPPER, 11, fromHex('00'))],
    ['no NVDEC0 status', withoutField(HOPPER, 11)],
    ['a protected PCIe status that is neither', withField(HOPPER, 21, fromHex('01'))],
    ['no driver version', withoutField(HOPPER, 3)],
    ['no VBIOS version', withoutField(HOPPER, 6)],
    ['no GPU_INFO', withoutField(HOPPER, 4)],
    ['a driver version with a slash', withField(HOPPER, 3, utf8('../550'))],
    ['a driver version with an inner NUL', withField(HOPPER, 3, utf8('550\0.90'))],
    ['an empty driver version', withField(HOPPER, 3, utf8('\0'))],
    ['a chip SKU that is not ASCII', withField(HOPPER, 15, fromHex('c3a4'))],
    ['no feature flag in version 1', withoutField(BLACKWELL, 36)],
    ['a flag that denies protected PCIe', withField(BLACKWELL, 21, fromHex('aa'))],
    ['a flag of protected PCIe that is off', withField(BLACKWELL, 36, fromHex('0200'))],
    ['links of 17 switches', withField(HOPPER, 22, new Uint8Array(136))],
    ['a SYS_ENABLE_STATUS of 4 bytes', withField(BLACKWELL, 33, new Uint8Array(4))],
    ['a signature one byte short', { signature: new Uint8Array(95) }],
    ['a byte after the signature', { signature: new Uint8Array(97) }],
    ['more than 8192 bytes', { signature: new Uint8Array(8192) }],
  ];

  test.each(malformed)('%s', (_, parts) => {
    expect(refusalCode(() => gpu(parts))).toBe('MALFORMED');
  });

  const unsupported: readonly (readonly [string, Parts])[] = [
    ['SPDM 1.2 in the request', { request: '12e001ff' }],
    ['SPDM 1.2 in the response', { response: '12600000' }],
    ['the structured manifest block of Rubin', { blocks: [block(1), block(2, 'fd0133008a3000')] }],
    ['the chip code of Rubin', withField(HOPPER, 4, fromHex('c001000000000000'))],
    ['the opaque data of Rubin', { opaque: concat(utf8('NVDAOD\0\0'), fromHex('02000000')) }],
    ['a field of Rubin', withField(HOPPER, 37, new Uint8Array(4))],
    ['an unknown field', withField(HOPPER, 99, new Uint8Array(4))],
    ['the invalid field', withField(HOPPER, 255, new Uint8Array(0))],
    ['a field that only switches have', withField(HOPPER, 25, fromHex('0100'))],
    ['opaque data of version 2', withField(BLACKWELL, 34, fromHex('0200'))],
    ['an unknown feature flag', withField(BLACKWELL, 36, fromHex('0300'))],
  ];

  test.each(unsupported)('%s: UNSUPPORTED', (_, parts) => {
    expect(refusalCode(() => gpu(parts))).toBe('UNSUPPORTED');
  });

  test('a GPU report is no switch report, nor the other way round', () => {
    expect(refusalCode(() => parseDeviceReport(report({ opaque: opaque(BLACKWELL) }), 'switch'))).toBe(
      'UNSUPPORTED',
    );
    expect(refusalCode(() => parseDeviceReport(report({ opaque: opaque(SWITCH) }), 'gpu'))).toBe('MALFORMED');
  });

  test('a switch that does not state its lock', () => {
    const parts = withoutField(SWITCH, 25);
    expect(refusalCode(() => parseDeviceReport(report(parts), 'switch'))).toBe('MALFORMED');
  });

  test('any prefix is refused, and nothing but a refusal is thrown for any bytes', () => {
    const whole = report();
    for (let length = 0; length < whole.length; length++) {
      expect(refusalCode(() => parseDeviceReport(whole.subarray(0, length), 'gpu'))).toBe('MALFORMED');
    }
    const changes = fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { maxLength: 4 });
    const property = fc.property(changes, fc.boolean(), (edits, asSwitch) => {
      const changed = Uint8Array.from(whole);
      for (const [at, value] of edits) changed[at] = value;
      refusalCode(() => parseDeviceReport(changed, asSwitch ? 'switch' : 'gpu'));
    });
    fc.assert(property, propertyRuns(500));
  });
});
