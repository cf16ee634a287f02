import { isZero, toHex } from '../../bytes/bytes.ts';
import { Refusal } from '../../errors.ts';
import { FIELD, parseOpaque, requireField, requireText, requireU16, type OpaqueFields } from './opaque.ts';
import { parseTranscript, type Transcript } from './spdm.ts';

/** Single GPU passthrough, multi GPU passthrough, protected PCIe. */
export type DeviceMode = 'spt' | 'mpt' | 'ppcie';

interface CommonReport extends Transcript {
  readonly fields: OpaqueFields;
  /** SHA-384 of the firmware; firmware of 2023 and LS10 switches do not state it. */
  readonly firmwareId: Uint8Array | undefined;
}

/** What a GPU says of itself; trusted only once the report is verified. */
export interface GpuReport extends CommonReport {
  readonly kind: 'gpu';
  readonly chip: GpuChip;
  readonly mode: DeviceMode;
  /** Version of the opaque data; 0 does not state the mode. */
  readonly opaqueVersion: number;
  /** SYS_ENABLE_STATUS of Blackwell, whose meaning is not published: for people to read. */
  readonly systemEnableStatus: Uint8Array | undefined;
  /** PDIs of the switches that its active links lead to, in hex as the switches write them, each once. */
  readonly switchPdis: readonly string[];
  readonly driverVersion: string;
  readonly vbiosVersion: string;
  readonly project: string;
  readonly projectSku: string;
  readonly chipSku: string;
  /** Name such as `GB202`; Blackwell only. */
  readonly chipInfo: string | undefined;
  /** Whether the NVDEC0 engine is on, and so whether its measurement has a meaning. */
  readonly nvdec0: boolean;
}

export interface SwitchReport extends CommonReport {
  readonly kind: 'switch';
  readonly biosVersion: string;
  readonly locked: boolean;
  /** Its own PDI in hex; undefined where it does not state one. */
  readonly pdi: string | undefined;
  /** PDIs of the GPUs at its ports, in hex, each once. */
  readonly gpuPdis: readonly string[];
}

export type DeviceReport = GpuReport | SwitchReport;
export type GpuChip = 'GH100' | 'GB100' | 'GB20X';

/** First two bytes of GPU_INFO. `c001` is Rubin, whose reports have another form. */
const GPU_CHIPS: Readonly<Record<string, GpuChip>> = { '8001': 'GH100', a001: 'GB100', b001: 'GB20X' };
const MODES: readonly DeviceMode[] = ['spt', 'mpt', 'ppcie'];
const NEWEST_OPAQUE_VERSION = 1;
/** Per-device identifier: names a GPU or a switch within its machine. */
const PDI_BYTES = 8;
const GPUS_OF_SWITCH = 8;
const ON = 0xaa;
const OFF = 0x55;

/** Parses a report of the kind. The kind comes from the request: nothing in the report says it. */
export function parseDeviceReport(bytes: Uint8Array, kind: 'gpu' | 'switch'): DeviceReport {
  const transcript = parseTranscript(bytes);
  const fields = parseOpaque(transcript.opaque, kind);
  const common = { ...transcript, fields, firmwareId: fields.get(FIELD.firmwareId) };
  return kind === 'gpu' ? gpuReport(common) : switchReport(common);
}

function gpuReport(common: CommonReport): GpuReport {
  const { fields } = common;
  const opaqueVersion = readOpaqueVersion(fields);
  return {
    ...common,
    kind: 'gpu',
    chip: readChip(fields),
    mode: readMode(fields, opaqueVersion),
    opaqueVersion,
    systemEnableStatus: fields.get(FIELD.systemEnableStatus),
    switchPdis: readLinks(fields),
    driverVersion: requireText(fields, FIELD.driverVersion),
    vbiosVersion: vbiosText(requireField(fields, FIELD.vbiosVersion)),
    project: requireText(fields, FIELD.project),
    projectSku: requireText(fields, FIELD.projectSku),
    chipSku: requireText(fields, FIELD.chipSku),
    chipInfo: fields.has(FIELD.chipInfo) ? requireText(fields, FIELD.chipInfo) : undefined,
    nvdec0: readSwitch(fields, FIELD.nvdec0Status),
  };
}

function switchReport(common: CommonReport): SwitchReport {
  const { fields } = common;
  const biosVersion = requireText(fields, FIELD.vbiosVersion);
  const lock = toHex(requireField(fields, FIELD.lockStatus));
  const pdi = fields.get(FIELD.switchPdis);
  return {
    ...common,
    kind: 'switch',
    biosVersion,
    locked: lock === '0100',
    pdi: pdi && toHex(pdi),
    gpuPdis: readPorts(fields),
  };
}

/** A GPU writes the PDI of a switch in the other byte order than the switch does; zeros mean an inactive link. */
function readLinks(fields: OpaqueFields): readonly string[] {
  const links = fields.get(FIELD.switchPdis) ?? new Uint8Array(0);
  return distinctPdis(links).map((pdi) => toHex(pdi.toReversed()));
}

/** The PDIs of eight GPUs; the rest of the field maps ports to them and is not needed. */
function readPorts(fields: OpaqueFields): readonly string[] {
  const ports = fields.get(FIELD.gpuPdis) ?? new Uint8Array(0);
  return distinctPdis(ports.subarray(0, GPUS_OF_SWITCH * PDI_BYTES)).map(toHex);
}

function distinctPdis(bytes: Uint8Array): readonly Uint8Array[] {
  const pdis = Array.from({ length: bytes.length / PDI_BYTES }, (_, i) =>
    bytes.subarray(i * PDI_BYTES, (i + 1) * PDI_BYTES),
  ).filter((pdi) => !isZero(pdi));
  return [...new Map(pdis.map((pdi) => [toHex(pdi), pdi])).values()];
}

function readChip(fields: OpaqueFields): GpuChip {
  const code = toHex(requireField(fields, FIELD.gpuInfo).subarray(0, 2));
  const chip = GPU_CHIPS[code];
  if (!chip) throw new Refusal('UNSUPPORTED', `GPU of chip code ${code} is not supported`);
  return chip;
}

/** Firmware that does not state the version means version 0. */
function readOpaqueVersion(fields: OpaqueFields): number {
  const version = fields.has(FIELD.opaqueVersion) ? requireU16(fields, FIELD.opaqueVersion) : 0;
  if (version > NEWEST_OPAQUE_VERSION) {
    throw new Refusal('UNSUPPORTED', `opaque data of version ${version} is not supported`);
  }
  return version;
}

/**
 * Version 1 of the opaque data states the mode. Before it there were only single passthrough and, on Hopper,
 * protected PCIe with a byte of its own; a device that says both and differently is refused.
 */
function readMode(fields: OpaqueFields, version: number): DeviceMode {
  const protectedPcie = fields.has(FIELD.protectedPcie) ? readSwitch(fields, FIELD.protectedPcie) : undefined;
  if (version === 0) return protectedPcie ? 'ppcie' : 'spt';
  const flag = requireU16(fields, FIELD.featureFlag);
  const mode = MODES[flag];
  if (!mode) throw new Refusal('UNSUPPORTED', `feature flag ${flag} is not known`);
  if (protectedPcie !== undefined && protectedPcie !== (mode === 'ppcie')) {
    const stated = protectedPcie ? 'on' : 'off';
    throw new Refusal('MALFORMED', `protected PCIe is ${stated} and the feature flag says ${mode}`);
  }
  return mode;
}

function readSwitch(fields: OpaqueFields, id: number): boolean {
  const [value] = requireField(fields, id);
  if (value !== ON && value !== OFF)
    throw new Refusal('MALFORMED', `opaque field ${id} is neither on nor off`);
  return value === ON;
}

/** Bytes 3, 2, 1, 0 and 4 in hex: `00 9f 00 96 04 …` is `96.00.9F.00.04`. */
function vbiosText(packed: Uint8Array): string {
  const [b0, b1, b2, b3, b4] = packed;
  const parts = [b3, b2, b1, b0, b4].map((byte = 0) => byte.toString(16).padStart(2, '0'));
  return parts.join('.').toUpperCase();
}
