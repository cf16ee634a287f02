import { isZero } from '../../../attestation/bytes/bytes.ts';
import { ImageError } from '../errors.ts';

/** Offsets and values of the Microsoft PE Format; those of the optional header are below its start. */
const PE_OFFSET = 0x3c;
const COFF_BYTES = 24;
const OPTIONAL = {
  magic: 0,
  initializedData: 8,
  sectionAlignment: 32,
  fileAlignment: 36,
  sizeOfImage: 56,
  sizeOfHeaders: 60,
  checksum: 64,
  dllCharacteristics: 70,
  directoryCount: 108,
  security: 144,
} as const;
const OPTIONAL_BYTES = 152;
const PE32_PLUS = 0x20b;
const X86_64 = 0x8664;
const SECTION_BYTES = 40;
/** What edk2 loads, and what section tables of this builder ever have. */
const MAX_SECTIONS = 96;
const NX_COMPATIBLE = 0x0100;
const INITIALIZED_DATA = 0x40;
const READABLE = 0x4000_0000;
/** Beyond it neither firmware nor a verifier that measures the file has room. */
const MAX_IMAGE_BYTES = 1024 * 1024 * 1024;

export interface AddedSection {
  /** Up to 8 characters of ASCII. */
  readonly name: string;
  readonly data: Uint8Array;
}

interface Layout {
  readonly optional: number;
  /** Where the next entry of the section table goes. */
  readonly tableEnd: number;
  readonly sectionCount: number;
  readonly sectionAlignment: number;
  readonly fileAlignment: number;
  /** First address behind the sections that are there. */
  readonly memoryEnd: number;
}

/**
 * Adds sections to an EFI program of x86-64: in memory and in the file they follow those that are there, in the given
 * order. Each is as long in memory as its data, which is what systemd's stub measures; in the file zeros follow to the
 * alignment. Refuses as `IMAGE_PART_MALFORMED` a file that is signed or has no space in its section table.
 */
export function addSections(
  program: Uint8Array,
  added: readonly AddedSection[],
  nxCompatible: boolean,
): Uint8Array {
  const layout = readLayout(program);
  checkAdded(program, layout, added);
  const start = align(program.length, layout.fileAlignment);
  const sizes = added.map(({ data }) => align(data.length, layout.fileAlignment));
  const total = sizes.reduce((sum, size) => sum + size, start);
  if (total > MAX_IMAGE_BYTES) throw new ImageError('IMAGE_TOO_LARGE', `a kernel image of ${total} bytes`);
  const image = Buffer.alloc(total);
  image.set(program);
  let [offset, address, entry] = [start, layout.memoryEnd, layout.tableEnd];
  for (const [index, { name, data }] of added.entries()) {
    const size = sizes[index] ?? 0;
    address = align(address, layout.sectionAlignment);
    image.write(name, entry, 'latin1');
    for (const [field, value] of [data.length, address, size, offset].entries()) {
      image.writeUInt32LE(value, entry + 8 + 4 * field);
    }
    image.writeUInt32LE(INITIALIZED_DATA | READABLE, entry + 36);
    image.set(data, offset);
    [offset, address, entry] = [offset + size, address + data.length, entry + SECTION_BYTES];
  }
  writeHeaders(image, layout, { added: added.length, bytes: total - start, address, nxCompatible });
  return image;
}

/** Whether an EFI program says that it runs where data cannot be executed. */
export function isNxCompatible(program: Uint8Array): boolean {
  const { optional } = readLayout(program);
  return (viewOf(program).getUint16(optional + OPTIONAL.dllCharacteristics, true) & NX_COMPATIBLE) !== 0;
}

function writeHeaders(
  image: Buffer,
  { optional, sectionCount, sectionAlignment }: Layout,
  {
    added,
    bytes,
    address,
    nxCompatible,
  }: {
    readonly added: number;
    readonly bytes: number;
    readonly address: number;
    readonly nxCompatible: boolean;
  },
): void {
  image.writeUInt16LE(sectionCount + added, optional - COFF_BYTES + 6);
  const initialized = image.readUInt32LE(optional + OPTIONAL.initializedData) + bytes;
  image.writeUInt32LE(initialized, optional + OPTIONAL.initializedData);
  image.writeUInt32LE(align(address, sectionAlignment), optional + OPTIONAL.sizeOfImage);
  // Firmware does not look at it, and the Authenticode digest leaves it out.
  image.writeUInt32LE(0, optional + OPTIONAL.checksum);
  const flags = image.readUInt16LE(optional + OPTIONAL.dllCharacteristics);
  const kept = nxCompatible ? flags : flags & ~NX_COMPATIBLE;
  image.writeUInt16LE(kept, optional + OPTIONAL.dllCharacteristics);
}

function checkAdded(
  program: Uint8Array,
  { optional, tableEnd, sectionCount }: Layout,
  added: readonly AddedSection[],
): void {
  const view = viewOf(program);
  const space = tableEnd + added.length * SECTION_BYTES;
  if (
    sectionCount + added.length > MAX_SECTIONS ||
    space > view.getUint32(optional + OPTIONAL.sizeOfHeaders, true)
  ) {
    throw malformed(`its section table has no space for ${added.length} more`);
  }
  if (!isZero(program.subarray(tableEnd, space)))
    throw malformed('something stands behind its section table');
  if (view.getUint32(optional + OPTIONAL.security + 4, true) !== 0) throw malformed('it is signed');
  const there = sectionNames(program, tableEnd, sectionCount);
  for (const { name, data } of added) {
    if (!/^[\x21-\x7e]{1,8}$/.test(name)) throw new RangeError(`${name} is no name of a section`);
    if (there.has(name)) throw malformed(`${name} is there twice`);
    if (data.length === 0) throw malformed(`${name} is empty`);
    there.add(name);
  }
}

function sectionNames(program: Uint8Array, tableEnd: number, count: number): Set<string> {
  const names = Array.from({ length: count }, (_, index) => {
    const start = tableEnd - (count - index) * SECTION_BYTES;
    return String.fromCharCode(...program.subarray(start, start + 8)).replace(/\0.*$/s, '');
  });
  return new Set(names);
}

function readLayout(program: Uint8Array): Layout {
  if (program.length > MAX_IMAGE_BYTES) throw new ImageError('IMAGE_TOO_LARGE', `${program.length} bytes`);
  const view = viewOf(program);
  if (program.length < 64 || view.getUint16(0, true) !== 0x5a4d) throw malformed('it does not begin with MZ');
  const header = view.getUint32(PE_OFFSET, true);
  const optional = header + COFF_BYTES;
  if (optional + OPTIONAL_BYTES > program.length) throw malformed('its headers lead out of the file');
  if (view.getUint32(header, true) !== 0x4550 || view.getUint16(optional, true) !== PE32_PLUS) {
    throw malformed('it is no PE32+');
  }
  if (view.getUint16(header + 4, true) !== X86_64) throw malformed('it is not of x86-64');
  if (view.getUint32(optional + OPTIONAL.directoryCount, true) < 5)
    throw malformed('it has no data directories');
  const [sectionAlignment, fileAlignment] = [
    view.getUint32(optional + OPTIONAL.sectionAlignment, true),
    view.getUint32(optional + OPTIONAL.fileAlignment, true),
  ];
  if (!isAlignment(fileAlignment, 512) || !isAlignment(sectionAlignment, fileAlignment)) {
    throw malformed('its alignment is impossible');
  }
  const sectionCount = view.getUint16(header + 6, true);
  const table = optional + view.getUint16(header + 20, true);
  const tableEnd = table + sectionCount * SECTION_BYTES;
  const sizeOfHeaders = view.getUint32(optional + OPTIONAL.sizeOfHeaders, true);
  if (table < optional + OPTIONAL_BYTES || tableEnd > sizeOfHeaders || sizeOfHeaders > program.length) {
    throw malformed('its section table leads out of its headers');
  }
  const memoryEnd = readMemoryEnd(view, { table, tableEnd, sizeOfHeaders });
  return { optional, tableEnd, sectionCount, sectionAlignment, fileAlignment, memoryEnd };
}

function readMemoryEnd(
  view: DataView,
  {
    table,
    tableEnd,
    sizeOfHeaders,
  }: { readonly table: number; readonly tableEnd: number; readonly sizeOfHeaders: number },
): number {
  let end = sizeOfHeaders;
  for (let entry = table; entry < tableEnd; entry += SECTION_BYTES) {
    const [virtualSize, address, size, offset] = [8, 12, 16, 20].map((field) => view.getUint32(entry + field, true)) as [
      number, number, number, number,
    ]; // prettier-ignore
    if (address < end) throw malformed('its sections overlap, or are out of order');
    if (size > 0 && (offset < sizeOfHeaders || offset + size > view.byteLength)) {
      throw malformed('a section leads out of the file');
    }
    end = address + Math.max(virtualSize, size);
    if (end > MAX_IMAGE_BYTES) throw malformed('a section is too large');
  }
  return end;
}

/** A power of two, and not below the least. */
function isAlignment(value: number, least: number): boolean {
  return value >= least && value <= 0x1_0000 && Number.isInteger(Math.log2(value));
}

function align(value: number, alignment: number): number {
  return Math.ceil(value / alignment) * alignment;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

function malformed(why: string): ImageError {
  return new ImageError('IMAGE_PART_MALFORMED', `this is no program that firmware starts: ${why}`);
}
