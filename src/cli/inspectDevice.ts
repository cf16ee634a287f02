import { isZero, toHex } from '../../attestation/bytes/bytes.ts';
import { JUDGED_INDICES, NVDEC0_INDEX } from '../../attestation/evidence/nvidia/indices.ts';
import { modeName } from '../../attestation/evidence/nvidia/modes.ts';
import { FIELD } from '../../attestation/evidence/nvidia/opaque.ts';
import type { DeviceReport, GpuReport, SwitchReport } from '../../attestation/evidence/nvidia/parse.ts';
import { driverRimId, vbiosRimId } from '../../attestation/evidence/nvidia/rim.ts';
import { SIGNATURE_BYTES } from '../../attestation/evidence/nvidia/spdm.ts';
import { gpuLinkRows, switchPortRows } from './inspectDeviceLinks.ts';
import { rangesText, yes, type Entry, type Section } from './inspectSection.ts';
import type { Row } from './receiptText.ts';

const NONCE_BYTES = 32;
/** MSRSCNT: how often each measurement register was extended, u32 each. */
const EXTENSIONS = 12;
const CHIP_SKU_MOD = 16;

/** Fields whose meaning is a name and no more; those that were never seen among them. */
const NAMED_FIELDS: Readonly<Record<DeviceReport['kind'], ReadonlyMap<number, string>>> = {
  gpu: new Map([
    [1, 'certificate issuer'],
    [2, 'authority key id'],
    [FIELD.gpuInfo, 'GPU info'],
    [5, 'SKU'],
    [7, 'manufacturer id'],
    [8, 'tamper detection'],
    [9, 'SMC'],
    [10, 'VPR'],
    [13, 'CPRINFO'],
    [14, 'board id'],
    [CHIP_SKU_MOD, 'chip SKU mod'],
    [19, 'project SKU mod'],
    [23, 'FLOORSWEPT'],
    [32, 'link connections'],
  ]),
  switch: new Map([
    [1, 'certificate issuer'],
    [2, 'authority key id'],
    [13, 'CPRINFO'],
    [14, 'board id'],
    [23, 'disabled ports'],
    [27, 'switch ports'],
  ]),
};

export interface DeviceOptions {
  /** The nonce that a request names, lower-case hex. */
  readonly asked?: string | undefined;
  /** A device of the same kind that was shown, and its title: what measures the same is not listed again. */
  readonly like?: { readonly report: DeviceReport; readonly title: string } | undefined;
  /** Indices that a comparison lists with their values. */
  readonly compared?: readonly number[];
}

/** A report: what it says of the device, and its measurements. */
export function deviceSections(
  report: DeviceReport,
  title: string,
  options: DeviceOptions = {},
): readonly Section[] {
  return [deviceSection(report, title, options), measurementSection(report, title, options)];
}

function deviceSection(report: DeviceReport, title: string, { asked }: DeviceOptions): Section {
  const { signed, opaque, signature, fields } = report;
  const nonceEnd = signed.length - opaque.length - 2;
  return {
    title,
    rows: [
      ['kind', report.kind],
      ...(report.kind === 'gpu' ? gpuRows(report) : switchRows(report)),
      ['nonce', nonceText(toHex(report.nonce), asked)],
      [
        'responder nonce',
        `${toHex(signed.subarray(nonceEnd - NONCE_BYTES, nonceEnd))} (the device’s own, random)`,
      ],
      ['firmware id', report.firmwareId ? toHex(report.firmwareId) : 'not stated'],
      ...rimRows(report),
      ['measurements', String(report.measurements.length)],
      ['register extensions', extensionText(fields.get(EXTENSIONS))],
      ...namedRows(report),
      ['opaque fields', [...fields.keys()].join(' ')],
      ['signature', 'ECDSA P-384 with SHA-384'],
      ['R', toHex(signature.subarray(0, SIGNATURE_BYTES / 2))],
      ['S', toHex(signature.subarray(SIGNATURE_BYTES / 2))],
      ['bytes', String(signed.length + signature.length)],
    ],
  };
}

function gpuRows(report: GpuReport): readonly Row[] {
  const { chip, chipInfo, fields, nvdec0, opaqueVersion, systemEnableStatus } = report;
  const byte = toHex(fields.get(FIELD.nvdec0Status) ?? new Uint8Array());
  const pcie = fields.get(FIELD.protectedPcie);
  const stated = fields.has(FIELD.opaqueVersion) ? '' : ' (not stated)';
  return [
    ['chip', chipInfo === undefined ? chip : `${chip} ${chipInfo}`],
    ['mode', report.mode],
    ['mode stated', modeText(report)],
    ['opaque version', `${opaqueVersion}${stated}`],
    ['driver', report.driverVersion],
    ['VBIOS', report.vbiosVersion],
    ['project', `${report.project} ${report.projectSku}, chip SKU ${report.chipSku}`],
    ['NVDEC0', `0x${byte}: ${nvdec0 ? 'on' : `off, index ${NVDEC0_INDEX} means nothing`}`],
    ['protected PCIe', pcie ? `0x${toHex(pcie)}: ${pcie[0] === 0xaa ? 'on' : 'off'}` : 'not stated'],
    [
      'SYS_ENABLE_STATUS',
      systemEnableStatus ? `${toHex(systemEnableStatus)} (its meaning is not published)` : 'not stated',
    ],
    ...gpuLinkRows(report),
  ];
}

/** Where the mode is stated; the three names are NVIDIA's. */
function modeText({ mode, opaqueVersion, fields }: GpuReport): string {
  const flag = `the feature flag (field ${FIELD.featureFlag})`;
  const older = fields.has(FIELD.protectedPcie)
    ? `PROTECTED_PCIE_STATUS (field ${FIELD.protectedPcie})`
    : 'no field: opaque data of version 0 states none';
  return `${modeName(mode)}, by ${opaqueVersion === 0 ? older : flag}`;
}

function switchRows(report: SwitchReport): readonly Row[] {
  const lock = toHex(report.fields.get(FIELD.lockStatus) ?? new Uint8Array());
  return [
    ['BIOS', report.biosVersion],
    ['locked', yes(report.locked)],
    ['lock status', lock],
    ...switchPortRows(report),
  ];
}

function nonceText(nonce: string, asked: string | undefined): string {
  if (asked === undefined) return nonce;
  return `${nonce} (${nonce === asked ? 'that of the request' : 'NOT that of the request'})`;
}

/** What the verifier will ask for by these names. */
function rimRows(report: DeviceReport): readonly Row[] {
  const driver = driverRimId(report);
  return [
    ...(driver === undefined ? [] : [['driver RIM', driver] as const]),
    [report.kind === 'gpu' ? 'VBIOS RIM' : 'BIOS RIM', vbiosRimId(report)],
  ];
}

/** `1 time: 0, 2-6; 130 times: 10; never: 7-9`. */
function extensionText(field: Uint8Array | undefined): string {
  if (!field) return 'not stated';
  if (field.length === 0 || field.length % 4 !== 0) return `${toHex(field)} (no list of u32)`;
  const view = new DataView(field.buffer, field.byteOffset, field.length);
  const byCount = new Map<number, number[]>();
  for (let register = 0; register < field.length / 4; register++) {
    const count = view.getUint32(4 * register, true);
    byCount.set(count, [...(byCount.get(count) ?? []), register]);
  }
  const never = byCount.get(0);
  byCount.delete(0);
  const groups = [...byCount].toSorted(([a], [b]) => a - b);
  return [
    ...groups.map(
      ([count, registers]) => `${count} ${count === 1 ? 'time' : 'times'}: ${rangesText(registers)}`,
    ),
    ...(never ? [`never: ${rangesText(never)}`] : []),
  ].join('; ');
}

function namedRows({ kind, fields }: DeviceReport): readonly Row[] {
  return [...NAMED_FIELDS[kind]].flatMap(([id, name]) => {
    const value = fields.get(id);
    return value ? [[name, textOrHex(value) || 'empty'] as const] : [];
  });
}

/** Hex, with the text that stands before NUL padding. */
function textOrHex(value: Uint8Array): string {
  const end = value.findLastIndex((byte) => byte !== 0) + 1;
  const text = [...value.subarray(0, end)].map((byte) => String.fromCharCode(byte)).join('');
  return /^[ -~]+$/.test(text) ? `${toHex(value)} «${text}»` : toHex(value);
}

/** Which manifest judges an index, by those of the chip that were seen. */
export function judgedBy(report: DeviceReport, index: number): string {
  const judged = JUDGED_INDICES[report.kind === 'gpu' ? report.chip : 'LS10'];
  if (judged?.firmware.includes(index)) return report.kind === 'gpu' ? 'VBIOS RIM' : 'BIOS RIM';
  if (judged?.driver?.includes(index)) return 'driver RIM';
  return judged?.driver ? 'in no RIM seen' : 'RIM unknown';
}

/** Every value for programs; for people by their indices what is zero, shown elsewhere or of another device too. */
function measurementSection(report: DeviceReport, title: string, options: DeviceOptions): Section {
  const values = report.measurements.map((value, index) => ({
    index,
    value: toHex(value),
    zero: isZero(value),
  }));
  const entries = values.map(({ index, value }): Entry => ({
    index: String(index),
    'judged by': isUndefined(report, index) ? 'nothing: NVDEC0 is off' : judgedBy(report, index),
    value,
  }));
  const { like, compared = [] } = options;
  const places = values.map(({ index, value, zero }) => {
    if (compared.includes(index)) return 'see below';
    if (like && value === hexAt(like.report, index)) return `as ${like.title}`;
    return zero ? 'zero' : undefined;
  });
  const listed = values.flatMap(({ index, value }): readonly Row[] => {
    const note = isUndefined(report, index) ? ' (NVDEC0 is off: not judged)' : '';
    return places[index] === undefined ? [[`${index}, ${judgedBy(report, index)}`, `${value}${note}`]] : [];
  });
  const summed = [...new Set(places)].flatMap((place): readonly Row[] => {
    const indices = places.flatMap((each, index) => (each === place ? [index] : []));
    return place === undefined ? [] : [[place, `index ${rangesText(indices)}`]];
  });
  return { title: `${title} measurements by RIM index`, rows: [...listed, ...summed], entries };
}

function hexAt({ measurements }: DeviceReport, index: number): string | undefined {
  const value = measurements[index];
  return value && toHex(value);
}

function isUndefined(report: DeviceReport, index: number): boolean {
  return report.kind === 'gpu' && !report.nvdec0 && index === NVDEC0_INDEX;
}
