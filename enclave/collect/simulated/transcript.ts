import { concat, utf8 } from '../../../attestation/bytes/bytes.ts';
import {
  BOARD,
  DRIVER_VERSION,
  FIRMWARE_ID,
  MEASUREMENT_COUNT,
  measurement,
  VBIOS_VERSION_FIELD,
} from './reference.ts';

const SPDM_1_1 = 0x11;
const GET_MEASUREMENTS = 0xe0;
const MEASUREMENTS = 0x60;
const DMTF = 0x01;
const OFF = 0x55;
const ON = 0xaa;
/** Opaque field 36: single or multi GPU passthrough. */
const FEATURE_FLAG = { spt: 0, mpt: 1 } as const;

export type DeviceMode = keyof typeof FEATURE_FLAG;

export interface TranscriptParts {
  /** 32 bytes of the asker. */
  readonly nonce: Uint8Array;
  /** 32 bytes of the device. */
  readonly responderNonce: Uint8Array;
  readonly mode: DeviceMode;
}

/** GET_MEASUREMENTS followed by MEASUREMENTS without its signature (SPDM 1.1): the bytes that the device signs. */
export function encodeTranscript(parts: TranscriptParts): Uint8Array {
  const blocks = Array.from({ length: MEASUREMENT_COUNT }, (_, i) => encodeBlock(i));
  const record = concat(...blocks);
  const opaque = encodeOpaque(parts.mode);
  return concat(
    Uint8Array.of(SPDM_1_1, GET_MEASUREMENTS, 0x01, 0xff), // signature asked, all measurements
    parts.nonce,
    Uint8Array.of(0x00), // slot
    Uint8Array.of(SPDM_1_1, MEASUREMENTS, 0, 0, MEASUREMENT_COUNT),
    u24(record.length),
    record,
    parts.responderNonce,
    u16(opaque.length),
    opaque,
  );
}

/** One measurement block of 55 bytes; block indices count from 1, manifest indices from 0. */
function encodeBlock(index: number): Uint8Array {
  const value = measurement(index);
  return concat(
    Uint8Array.of(index + 1, DMTF),
    u16(3 + value.length),
    Uint8Array.of(0x01), // digest of mutable firmware
    u16(value.length),
    value,
  );
}

/** The opaque fields of later Hopper firmware, in its order. */
function encodeOpaque(mode: DeviceMode): Uint8Array {
  const fields: readonly (readonly [number, Uint8Array])[] = [
    [6, VBIOS_VERSION_FIELD],
    [14, new Uint8Array(4)], // board id
    [15, padded(BOARD.chipSku, 9)],
    [16, padded('0', 5)], // chip SKU modifier
    [17, padded(BOARD.project, 5)],
    [18, padded(BOARD.projectSku, 5)],
    [19, new Uint8Array(2)], // project SKU modifier
    [3, padded(DRIVER_VERSION, DRIVER_VERSION.length + 1)],
    [4, Uint8Array.of(0x80, 0x01, 0, 0, 0, 0, 0, 0)], // GH100
    [12, registerExtensions()],
    [13, new Uint8Array(4)], // CPR info
    [11, Uint8Array.of(ON)], // NVDEC0: measured, so index 35 is judged
    [20, FIRMWARE_ID],
    [21, Uint8Array.of(OFF)], // protected PCIe
    [34, u16(1)], // version of the opaque data
    [36, u16(FEATURE_FLAG[mode])],
  ];
  return concat(...fields.flatMap(([type, data]) => [u16(type), u16(data.length), data]));
}

/** How often each measurement register was extended: 64 times u32. */
function registerExtensions(): Uint8Array {
  const counts = new Uint8Array(4 * MEASUREMENT_COUNT);
  for (let i = 1; i < MEASUREMENT_COUNT; i++) counts[4 * i] = 1;
  return counts;
}

function padded(text: string, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  bytes.set(utf8(text));
  return bytes;
}

function u16(value: number): Uint8Array {
  return Uint8Array.of(value & 0xff, value >> 8);
}

function u24(value: number): Uint8Array {
  return Uint8Array.of(value & 0xff, (value >> 8) & 0xff, value >> 16);
}
