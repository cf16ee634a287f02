import { fromHex, toHex } from '../../../attestation/bytes/bytes.ts';
import { ImageError } from '../errors.ts';

const GUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const GUID_BYTES = 16;

/** 16 bytes in the order of a GUID's text, which is that of RFC 9562. */
export function guidText(bytes: Uint8Array): string {
  if (bytes.length !== GUID_BYTES) throw new RangeError('a GUID has 16 bytes');
  return toHex(bytes).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}

/** EFI_GUID (UEFI 2.10, appendix A): the first three numbers are little-endian. Refuses other text. */
export function guidBytes(text: string): Uint8Array {
  if (!GUID.test(text)) {
    throw new ImageError('IMAGE_PARTITIONS_INVALID', `${text} is no GUID in lower case`);
  }
  return swapped(fromHex(text.replaceAll('-', '')));
}

/** The text of an EFI_GUID. */
export function readGuid(bytes: Uint8Array): string {
  return guidText(swapped(bytes));
}

function swapped(bytes: Uint8Array): Uint8Array {
  const other = Uint8Array.from(bytes);
  for (const [start, end] of [[0, 4], [4, 6], [6, 8]] as const) other.subarray(start, end).reverse(); // prettier-ignore
  return other;
}
