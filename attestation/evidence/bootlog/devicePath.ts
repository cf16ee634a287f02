import { ByteReader } from '../../bytes/reader.ts';
import { guidText, hexText, utf16Text, utf8Text } from './text.ts';

const MAX_NODES = 64;
const NODE_HEADER_BYTES = 4;

/** Type and subtype of a node (UEFI 2.11 chapter 10), as one number. */
const NODE = {
  PCI: 0x0101,
  ACPI: 0x0201,
  USB: 0x0305,
  SCSI: 0x0302,
  MAC: 0x030b,
  SATA: 0x0312,
  NVME: 0x0317,
  URI: 0x0318,
  HARD_DRIVE: 0x0401,
  CD_ROM: 0x0402,
  VENDOR_MEDIA: 0x0403,
  FILE: 0x0404,
  FIRMWARE_FILE: 0x0406,
  FIRMWARE_VOLUME: 0x0407,
  OFFSET_RANGE: 0x0408,
} as const;
const END_TYPE = 0x7f;

const NODE_TEXT: ReadonlyMap<number, (body: ByteReader) => string> = new Map([
  [NODE.PCI, pci],
  [NODE.ACPI, (body: ByteReader) => `Acpi(0x${body.u32le().toString(16)},${body.u32le()})`],
  [NODE.USB, (body: ByteReader) => `Usb(${body.u8()},${body.u8()})`],
  [NODE.SCSI, (body: ByteReader) => `Scsi(${body.u16le()},${body.u16le()})`],
  [NODE.MAC, (body: ByteReader) => `Mac(${hexText(body.take(6))})`],
  [NODE.SATA, (body: ByteReader) => `Sata(${body.u16le()},${body.u16le()},${body.u16le()})`],
  [NODE.NVME, (body: ByteReader) => `NVMe(${body.u32le()})`],
  [NODE.URI, (body: ByteReader) => `Uri(${utf8Text(body.take(body.remaining))})`],
  [NODE.HARD_DRIVE, hardDrive],
  [NODE.CD_ROM, (body: ByteReader) => `Cd(${body.u32le()})`],
  [NODE.VENDOR_MEDIA, (body: ByteReader) => `VenMedia(${guidText(body.take(16))})`],
  [NODE.FILE, (body: ByteReader) => utf16Text(body.take(body.remaining))],
  [NODE.FIRMWARE_FILE, (body: ByteReader) => `FvFile(${guidText(body.take(16))})`],
  [NODE.FIRMWARE_VOLUME, (body: ByteReader) => `Fv(${guidText(body.take(16))})`],
  [NODE.OFFSET_RANGE, offsetRange],
]);

/** An EFI device path as text, its nodes joined by `/`; refuses what is no device path. */
export function devicePathText(bytes: Uint8Array): string {
  const reader = new ByteReader(bytes, 'device path');
  const nodes: string[] = [];
  while (reader.remaining > 0 && nodes.length < MAX_NODES) {
    const [type, subtype, length] = [reader.u8(), reader.u8(), reader.u16le()];
    const body = new ByteReader(reader.take(length - NODE_HEADER_BYTES), 'device path node');
    if (type === END_TYPE) break;
    const text = NODE_TEXT.get((type << 8) | subtype);
    nodes.push(text ? text(body) : `Path(${type},${subtype})`);
  }
  return nodes.join('/') || 'no device path';
}

/** The function comes first. */
function pci(body: ByteReader): string {
  const [slot, device] = [body.u8(), body.u8()];
  return `Pci(0x${device.toString(16)},0x${slot.toString(16)})`;
}

function hardDrive(body: ByteReader): string {
  const partition = body.u32le();
  // First block and number of blocks.
  body.take(16);
  const signature = body.take(16);
  const [, signatureType] = [body.u8(), body.u8()];
  return signatureType === 2 ? `HD(${partition},GPT,${guidText(signature)})` : `HD(${partition})`;
}

function offsetRange(body: ByteReader): string {
  // Reserved.
  body.take(4);
  return `Offset(0x${body.u64le().toString(16)},0x${body.u64le().toString(16)})`;
}
