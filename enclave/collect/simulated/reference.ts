import { createHash } from 'node:crypto';

/** Versions that no vendor will publish. */
export const DRIVER_VERSION = '999.01.02';
export const VBIOS_VERSION = 'FF.53.49.4D.01';
/** The VBIOS version as opaque field 6 keeps it: the first four bytes in reverse order, the fifth in place. */
export const VBIOS_VERSION_FIELD = Uint8Array.of(0x4d, 0x49, 0x53, 0xff, 0x01, 0, 0, 0);

/** Board identity, from which the id of the VBIOS manifest is made. */
export const BOARD = { project: 'SIM0', projectSku: '0000', chipSku: '000' } as const;
export const CHIP = 'GH100';

export const DRIVER_RIM_ID = `NV_GPU_DRIVER_${CHIP}_${DRIVER_VERSION}`;
export const VBIOS_RIM_ID = [
  'NV_GPU_VBIOS',
  BOARD.project,
  BOARD.projectSku,
  BOARD.chipSku,
  VBIOS_VERSION.replaceAll('.', ''),
].join('_');

export const MEASUREMENT_COUNT = 64;
/** Indices that Hopper manifests judge: `DRIVER` in the driver's, `VBIOS` in the VBIOS's. */
export const DRIVER_INDICES: ReadonlySet<number> = new Set([7, ...indices(21, 40)]);
export const VBIOS_INDICES: ReadonlySet<number> = new Set([...indices(0, 6), ...indices(8, 12)]);
/** Where real manifests list several golden values; the device reports the last one. */
export const ALTERNATIVES: ReadonlyMap<number, number> = new Map([
  [12, 4],
  [23, 2],
]);

/** SHA-384 of the firmware, endorsed by the leaf certificate and stated in the report. */
export const FIRMWARE_ID = sha384('vouchsafe simulated firmware');

/** What the device measures at a manifest index. Index 0 is all zero, as on real devices. */
export function measurement(index: number): Uint8Array {
  return index === 0 ? new Uint8Array(48) : sha384(`vouchsafe simulated measurement ${index}`);
}

/** The golden values at an index, the measured one last. */
export function goldenValues(index: number): readonly Uint8Array[] {
  const others = (ALTERNATIVES.get(index) ?? 1) - 1;
  const alternatives = Array.from({ length: others }, (_, i) =>
    sha384(`vouchsafe simulated alternative ${index} ${i}`),
  );
  return [...alternatives, measurement(index)];
}

function sha384(text: string): Uint8Array {
  return createHash('sha384').update(text, 'ascii').digest();
}

function indices(first: number, last: number): readonly number[] {
  return Array.from({ length: last - first + 1 }, (_, i) => first + i);
}
