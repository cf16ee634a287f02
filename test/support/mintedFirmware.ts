import { fromHex, toHex } from '../../attestation/bytes/bytes.ts';

const GUID = {
  footer: '96b582de-1fb2-45f7-baea-a366c55a082d',
  sev: 'dc886566-984a-4798-a75e-5585a7bf67cc',
  tdx: 'e47a6535-984a-4798-865e-4685a7bf8ec2',
  hashTable: '7255371f-3a3b-4b04-927b-1da6efa8d454',
  reset: '00f771de-1a7e-4fcb-890e-68c77e2fb44e',
} as const;

export interface MintedSevSection {
  readonly address: number;
  readonly size: number;
  readonly type: number;
}

export interface MintedTdxSection {
  readonly offset: number;
  readonly fileSize: number;
  readonly address: number;
  readonly size: number;
  readonly type: number;
  readonly attributes: number;
}

export interface MintedFirmware {
  readonly size?: number;
  readonly sev?: readonly MintedSevSection[];
  readonly tdx?: readonly MintedTdxSection[];
  readonly hashTable?: number;
  readonly reset?: number;
}

/** Firmware of both kinds of guests, with a place for the hashes of a kernel. */
export const SEV_AND_TDX: MintedFirmware = {
  sev: [
    { address: 0x80_0000, size: 0x1000, type: 1 },
    { address: 0x81_0000, size: 0x1000, type: 16 },
  ],
  tdx: [{ offset: 0, fileSize: 4096, address: 0xffff_f000, size: 4096, type: 0, attributes: 1 }],
  hashTable: 0x81_0c00,
  reset: 0x80_b004,
};

/** Where the metadata lies, as distances from the end of the file. */
const SEV_DISTANCE = 2048;
const TDX_DISTANCE = 1536;

/** Firmware without code: content that repeats every 251 bytes, and the tables that a host reads. */
export function mintFirmware({ size = 8192, sev, tdx, hashTable, reset }: MintedFirmware): Uint8Array {
  const firmware = Uint8Array.from({ length: size }, (_, index) => index % 251);
  const view = new DataView(firmware.buffer);
  if (sev) writeMetadata(view, SEV_DISTANCE, 'ASEV', sev.map(sevWords));
  if (tdx) writeMetadata(view, TDX_DISTANCE, 'TDVF', tdx.map(tdxWords));
  const entries = [
    ...(sev ? [entry(GUID.sev, [SEV_DISTANCE])] : []),
    ...(tdx ? [entry(GUID.tdx, [TDX_DISTANCE])] : []),
    ...(hashTable === undefined ? [] : [entry(GUID.hashTable, [hashTable, 1024])]),
    ...(reset === undefined ? [] : [entry(GUID.reset, [reset])]),
  ];
  const total = entries.reduce((sum, { length }) => sum + length, 0) + 18;
  const table = Buffer.concat([...entries, u16(total), guidBytes(GUID.footer)]);
  firmware.set(table, size - 32 - table.length);
  return firmware;
}

function sevWords({ address, size, type }: MintedSevSection): readonly number[] {
  return [address, size, type];
}

function tdxWords({
  offset,
  fileSize,
  address,
  size,
  type,
  attributes,
}: MintedTdxSection): readonly number[] {
  return [offset, fileSize, address, 0, size, 0, type, attributes];
}

function writeMetadata(
  view: DataView,
  distance: number,
  signature: string,
  sections: readonly (readonly number[])[],
): void {
  const start = view.byteLength - distance;
  const words = sections.flat();
  new Uint8Array(view.buffer).set(Buffer.from(signature), start);
  for (const [index, word] of [16 + 4 * words.length, 1, sections.length, ...words].entries()) {
    view.setUint32(start + 4 + 4 * index, word, true);
  }
}

function entry(guid: string, words: readonly number[]): Buffer {
  const data = Buffer.alloc(4 * words.length);
  for (const [index, word] of words.entries()) data.writeUInt32LE(word, 4 * index);
  return Buffer.concat([data, u16(data.length + 18), guidBytes(guid)]);
}

function u16(value: number): Buffer {
  return Buffer.from([value & 255, value >> 8]);
}

/** EFI_GUID: three little-endian numbers, then eight bytes. */
function guidBytes(text: string): Uint8Array {
  const [a = '', b = '', c = '', ...rest] = text.split('-');
  const reversed = [a, b, c].map((part) => toHex(fromHex(part).reverse()));
  return fromHex([...reversed, ...rest].join(''));
}

export interface MintedPe {
  readonly sections: readonly {
    readonly name: string;
    readonly data: Uint8Array;
    readonly virtualSize?: number;
  }[];
  /** Behind everything, as signatures stand there. */
  readonly certificates?: Uint8Array;
  readonly checksum?: number;
}

const HEADERS = 1024;
const PE_OFFSET = 64;
const OPTIONAL = PE_OFFSET + 24;
const OPTIONAL_BYTES = 240;
const ALIGNMENT = 512;

/** A PE32+ file without code. */
export function mintPe({ sections, certificates, checksum = 0 }: MintedPe): Uint8Array {
  const raw = sections.map(({ data }) => Math.ceil(data.length / ALIGNMENT) * ALIGNMENT);
  const end = raw.reduce((sum, size) => sum + size, HEADERS);
  const image = Buffer.alloc(end + (certificates?.length ?? 0));
  image.write('MZ', 0);
  image.writeUInt32LE(PE_OFFSET, 60);
  image.write('PE\0\0', PE_OFFSET, 'latin1');
  image.writeUInt16LE(0x8664, PE_OFFSET + 4);
  image.writeUInt16LE(sections.length, PE_OFFSET + 6);
  image.writeUInt16LE(OPTIONAL_BYTES, PE_OFFSET + 20);
  image.writeUInt16LE(0x20b, OPTIONAL);
  image.writeUInt32LE(HEADERS, OPTIONAL + 60);
  image.writeUInt32LE(checksum, OPTIONAL + 64);
  image.writeUInt32LE(16, OPTIONAL + 108);
  let offset = HEADERS;
  for (const [index, { name, data, virtualSize = data.length }] of sections.entries()) {
    const header = OPTIONAL + OPTIONAL_BYTES + 40 * index;
    image.write(name, header, 'latin1');
    image.writeUInt32LE(virtualSize, header + 8);
    image.writeUInt32LE(raw[index]!, header + 16);
    image.writeUInt32LE(raw[index]! === 0 ? 0 : offset, header + 20);
    image.set(data, offset);
    offset += raw[index]!;
  }
  if (certificates) {
    image.writeUInt32LE(end, OPTIONAL + 144);
    image.writeUInt32LE(certificates.length, OPTIONAL + 148);
    image.set(certificates, end);
  }
  return new Uint8Array(image);
}
