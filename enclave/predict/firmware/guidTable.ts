import { guidText } from '../../../attestation/evidence/bootlog/text.ts';
import { PredictError } from '../errors.ts';

/** The reset vector: what stands behind the footer at the end of every image. */
const RESET_VECTOR_BYTES = 32;
const GUID_BYTES = 16;
/** A length of 2 bytes and a GUID follow the data of each entry. */
const ENTRY_BYTES = 2 + GUID_BYTES;
const FOOTER = '96b582de-1fb2-45f7-baea-a366c55a082d';
/** Firmware is mapped below 4 GiB, and no build is near this. */
const MAX_FIRMWARE_BYTES = 64 * 1024 * 1024;

export const PAGE_BYTES = 4096;

/** Data of each entry by its GUID in text. */
export type GuidTable = ReadonlyMap<string, Uint8Array>;

/**
 * The table that OVMF has at its end, read backwards (FORMATS of launch, section 1). Refuses as `FIRMWARE_MALFORMED`
 * an image without one, and an entry that leads out of it or stands there twice.
 */
export function parseGuidTable(firmware: Uint8Array): GuidTable {
  requireFirmware(firmware);
  const view = viewOf(firmware);
  const footer = firmware.length - RESET_VECTOR_BYTES - ENTRY_BYTES;
  if (footer < 0 || guidAt(firmware, footer + 2) !== FOOTER) throw malformed('there is no GUID table');
  const total = view.getUint16(footer, true);
  let end = footer;
  const start = footer + ENTRY_BYTES - total;
  if (total < ENTRY_BYTES || start < 0) throw malformed('the GUID table is longer than the firmware');
  const entries = new Map<string, Uint8Array>();
  while (end > start) {
    const head = end - ENTRY_BYTES;
    const length = head >= start ? view.getUint16(head, true) : 0;
    const from = end - length;
    if (length < ENTRY_BYTES || from < start) throw malformed('an entry leads out of the GUID table');
    const guid = guidAt(firmware, head + 2);
    if (entries.has(guid)) throw malformed(`${guid} stands twice in the GUID table`);
    entries.set(guid, firmware.subarray(from, head));
    end = from;
  }
  return entries;
}

/** Address at which a file that ends at 4 GiB starts. */
export function firmwareAddress(firmware: Uint8Array): number {
  return 2 ** 32 - firmware.length;
}

/** Data of an entry as little-endian numbers of 4 bytes; undefined where the entry is missing. */
export function numbersOf(table: GuidTable, guid: string, count: number): readonly number[] | undefined {
  const data = table.get(guid);
  if (!data) return undefined;
  if (data.length !== 4 * count) throw malformed(`the entry ${guid} has ${data.length} bytes`);
  const view = viewOf(data);
  return Array.from({ length: count }, (_, index) => view.getUint32(4 * index, true));
}

/** What an entry points to, by its distance from the end of the file. */
export function metadataAt(firmware: Uint8Array, distance: number, signature: string): DataView {
  const start = firmware.length - distance;
  const view = viewOf(firmware);
  if (start < 0 || start + 16 > firmware.length) throw malformed('the metadata lies outside the firmware');
  const found = String.fromCharCode(...firmware.subarray(start, start + 4));
  if (found !== signature) throw malformed(`the metadata does not begin with ${signature}`);
  if (view.getUint32(start + 8, true) !== 1) throw malformed(`${signature} metadata of another version`);
  return new DataView(view.buffer, view.byteOffset + start, firmware.length - start);
}

/** Bytes of one section, where `count` of them fit into the metadata. */
export function sectionsOf(metadata: DataView, bytes: number, headBytes = 16): readonly DataView[] {
  const count = metadata.getUint32(12, true);
  if (headBytes + count * bytes > metadata.byteLength)
    throw malformed('the sections lead out of the firmware');
  return Array.from(
    { length: count },
    (_, index) => new DataView(metadata.buffer, metadata.byteOffset + headBytes + index * bytes, bytes),
  );
}

export function isAligned(value: number): boolean {
  return value % PAGE_BYTES === 0;
}

export function malformed(why: string): PredictError {
  return new PredictError('FIRMWARE_MALFORMED', why);
}

function requireFirmware({ length }: Uint8Array): void {
  if (length === 0 || !isAligned(length))
    throw malformed(`${length} bytes are no whole pages of ${PAGE_BYTES}`);
  if (length > MAX_FIRMWARE_BYTES) throw malformed(`more than ${MAX_FIRMWARE_BYTES} bytes`);
}

function guidAt(bytes: Uint8Array, offset: number): string {
  return guidText(bytes.subarray(offset, offset + GUID_BYTES));
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
