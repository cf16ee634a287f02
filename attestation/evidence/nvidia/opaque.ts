import { ByteReader } from '../../bytes/reader.ts';
import { Refusal } from '../../errors.ts';

/** Fields of the opaque data that this room reads. Those from 22 on mean different things for GPU and switch. */
export const FIELD = {
  driverVersion: 3,
  gpuInfo: 4,
  /** GPU: 8 packed bytes; switch: text of the BIOS version. */
  vbiosVersion: 6,
  nvdec0Status: 11,
  chipSku: 15,
  project: 17,
  projectSku: 18,
  firmwareId: 20,
  protectedPcie: 21,
  /** GPU: PDI of the switch at the far end of each link; switch: its own PDI. */
  switchPdis: 22,
  lockStatus: 25,
  gpuPdis: 26,
  systemEnableStatus: 33,
  opaqueVersion: 34,
  chipInfo: 35,
  featureFlag: 36,
} as const;

export type OpaqueFields = ReadonlyMap<number, Uint8Array>;
type Lengths = readonly [minimum: number, maximum: number];

const ANY: Lengths = [0, 1024];
const TEXT: Lengths = [1, 32];
const exactly = (length: number): Lengths => [length, length];

/** Fields with one meaning on both kinds; ids that are named but were never seen may have any length. */
const SHARED: readonly (readonly [number, Lengths])[] = [
  [1, ANY],
  [2, ANY],
  [FIELD.driverVersion, [1, 64]],
  [FIELD.gpuInfo, exactly(8)],
  [5, ANY],
  [7, ANY],
  [8, ANY],
  [9, ANY],
  [10, ANY],
  [FIELD.nvdec0Status, exactly(1)],
  [12, ANY],
  [13, exactly(4)],
  [14, exactly(4)],
  [FIELD.chipSku, TEXT],
  [16, TEXT],
  [FIELD.project, TEXT],
  [FIELD.projectSku, TEXT],
  [19, exactly(2)],
  [FIELD.firmwareId, exactly(48)],
  [FIELD.protectedPcie, exactly(1)],
  [23, exactly(2)],
];

const KNOWN: Readonly<Record<'gpu' | 'switch', ReadonlyMap<number, Lengths>>> = {
  gpu: new Map([
    ...SHARED,
    [FIELD.vbiosVersion, exactly(8)],
    [FIELD.switchPdis, exactly(144)],
    [32, ANY],
    [FIELD.systemEnableStatus, exactly(2)],
    [FIELD.opaqueVersion, exactly(2)],
    [FIELD.chipInfo, TEXT],
    [FIELD.featureFlag, exactly(2)],
  ]),
  switch: new Map([
    ...SHARED,
    [FIELD.vbiosVersion, TEXT],
    [FIELD.switchPdis, exactly(8)],
    [24, exactly(2)],
    [FIELD.lockStatus, exactly(2)],
    [FIELD.gpuPdis, exactly(128)],
    [27, ANY],
  ]),
};

/** Start of Rubin's opaque data, `NVDAOD` and two NULs, read as type and length of a first field. */
const RUBIN_TYPE = 0x564e;

/**
 * Parses type (u16), length (u16), data until the end. A field that this verifier does not know is `UNSUPPORTED`, not
 * skipped: newer firmware may say there that the device must not be trusted.
 */
export function parseOpaque(bytes: Uint8Array, kind: 'gpu' | 'switch'): OpaqueFields {
  const reader = new ByteReader(bytes, 'opaque data');
  const fields = new Map<number, Uint8Array>();
  while (reader.remaining > 0) {
    const id = reader.u16le();
    if (id === RUBIN_TYPE) throw new Refusal('UNSUPPORTED', 'opaque data of Rubin is not supported');
    const lengths = KNOWN[kind].get(id);
    if (!lengths) throw new Refusal('UNSUPPORTED', `opaque field ${id} of a ${kind} is not known`);
    if (fields.has(id)) throw new Refusal('MALFORMED', `opaque field ${id} occurs twice`);
    const length = reader.u16le();
    if (length < lengths[0] || length > lengths[1]) {
      throw new Refusal('MALFORMED', `opaque field ${id} has ${length} bytes`);
    }
    fields.set(id, reader.take(length));
  }
  return fields;
}

/** A field that every device of the kind states. */
export function requireField(fields: OpaqueFields, id: number): Uint8Array {
  const data = fields.get(id);
  if (!data) throw new Refusal('MALFORMED', `opaque field ${id} is absent`);
  return data;
}

export function requireU16(fields: OpaqueFields, id: number): number {
  return new ByteReader(requireField(fields, id), `opaque field ${id}`).u16le();
}

/** Text up to its NUL padding. The characters are those of RIM ids, so that a text can stand in one. */
export function requireText(fields: OpaqueFields, id: number): string {
  const characters = [...requireField(fields, id)].map((byte) => String.fromCharCode(byte));
  const text = characters.join('').replace(/\0+$/, '');
  if (!/^[A-Za-z0-9._]+$/.test(text)) throw new Refusal('MALFORMED', `opaque field ${id} is no plain text`);
  return text;
}
