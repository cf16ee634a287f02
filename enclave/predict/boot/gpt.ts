import { concat } from '../../../attestation/bytes/bytes.ts';
import { PredictError } from '../errors.ts';

const SECTOR_BYTES = 512;
const HEADER_BYTES = 92;
const ENTRY_BYTES = 128;
const MAX_ENTRIES = 1024;
const SIGNATURE = 0x5452_4150_2049_4645n;

/**
 * What firmware measures of the partition table of a disk that it boots from (`EV_EFI_GPT_EVENT`, TCG PC Client
 * Platform Firmware Profile, `UEFI_GPT_DATA`): the header, the number of used entries, and those. `disk` begins with
 * sector 0, and holds the entries.
 */
export function gptEvent(disk: Uint8Array): Uint8Array {
  const view = new DataView(disk.buffer, disk.byteOffset, disk.byteLength);
  if (disk.length < 2 * SECTOR_BYTES || view.getBigUint64(SECTOR_BYTES, true) !== SIGNATURE) {
    throw malformed('sector 1 is no header');
  }
  if (view.getUint32(SECTOR_BYTES + 12, true) !== HEADER_BYTES)
    throw malformed('the header has another size');
  const entries = Number(view.getBigUint64(SECTOR_BYTES + 72, true)) * SECTOR_BYTES;
  const count = view.getUint32(SECTOR_BYTES + 80, true);
  if (view.getUint32(SECTOR_BYTES + 84, true) !== ENTRY_BYTES)
    throw malformed('its entries have another size');
  if (count > MAX_ENTRIES || entries + count * ENTRY_BYTES > disk.length) {
    throw malformed('its entries lead out of what was given of the disk');
  }
  const used = Array.from({ length: count }, (_, index) => {
    const start = entries + index * ENTRY_BYTES;
    return disk.subarray(start, start + ENTRY_BYTES);
  }).filter((entry) => entry.subarray(0, 16).some((byte) => byte !== 0));
  const number = new Uint8Array(8);
  new DataView(number.buffer).setBigUint64(0, BigInt(used.length), true);
  return concat(disk.subarray(SECTOR_BYTES, SECTOR_BYTES + HEADER_BYTES), number, ...used);
}

function malformed(why: string): PredictError {
  return new PredictError('IMAGE_MALFORMED', `the disk has no partition table: ${why}`);
}
