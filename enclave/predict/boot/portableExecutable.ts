import { concat, toHex } from '../../../attestation/bytes/bytes.ts';
import type { CryptoProvider, HashName } from '../../../attestation/crypto/provider.ts';
import { PredictError } from '../errors.ts';

/** Offsets below the optional header of PE32+ (Microsoft PE Format). */
const PE32_PLUS = 0x20b;
const CHECKSUM = { offset: 64, bytes: 4 } as const;
const DIRECTORY_COUNT = 108;
const SECURITY_DIRECTORY = { offset: 144, index: 4, bytes: 8 } as const;
const SIZE_OF_HEADERS = 60;
const COFF_BYTES = 24;
const SECTION_BYTES = 40;
const MAX_SECTIONS = 96;
const MAX_IMAGE_BYTES = 1024 * 1024 * 1024;

export interface PeSection {
  /** Up to 8 characters. */
  readonly name: string;
  readonly virtualSize: number;
  readonly offset: number;
  /** Bytes in the file. */
  readonly size: number;
}

interface Layout {
  readonly optionalHeader: number;
  readonly sizeOfHeaders: number;
  readonly certificates: { readonly offset: number; readonly size: number };
  readonly sections: readonly PeSection[];
}

/** Sections of a PE32+ image in the order of its table. Refuses as `IMAGE_MALFORMED`. */
export function peSections(image: Uint8Array): readonly PeSection[] {
  return readLayout(image).sections;
}

/** What a section holds in memory: as many bytes as its virtual size says, zeros behind those of the file. */
export function sectionData(image: Uint8Array, { offset, size, virtualSize }: PeSection): Uint8Array {
  const data = new Uint8Array(virtualSize);
  data.set(image.subarray(offset, offset + Math.min(size, virtualSize)));
  return data;
}

/**
 * Authenticode digest, as firmware measures an image that it starts: all but the checksum, the entry of the
 * certificate table and the certificates, so that a signature changes nothing (Windows Authenticode PE Signature
 * Format). Nothing is padded, as edk2 does it: images whose size is a multiple of 8 are the same everywhere.
 */
export function authenticodeDigest(image: Uint8Array, hash: HashName, crypto: CryptoProvider): Uint8Array {
  const { optionalHeader, sizeOfHeaders, certificates, sections } = readLayout(image);
  const checksum = optionalHeader + CHECKSUM.offset;
  const directory = optionalHeader + SECURITY_DIRECTORY.offset;
  const parts = [
    image.subarray(0, checksum),
    image.subarray(checksum + CHECKSUM.bytes, directory),
    image.subarray(directory + SECURITY_DIRECTORY.bytes, sizeOfHeaders),
  ];
  let hashed = sizeOfHeaders;
  const inFile = sections.filter(({ size }) => size > 0).toSorted((a, b) => a.offset - b.offset);
  for (const { offset, size } of inFile) {
    parts.push(image.subarray(offset, offset + size));
    hashed += size;
  }
  const end = image.length - certificates.size;
  if (hashed < end) parts.push(image.subarray(hashed, end));
  return crypto.hash(hash, concat(...parts));
}

function readLayout(image: Uint8Array): Layout {
  if (image.length > MAX_IMAGE_BYTES) throw malformed(`more than ${MAX_IMAGE_BYTES} bytes`);
  const view = new DataView(image.buffer, image.byteOffset, image.byteLength);
  if (image.length < 64 || toHex(image.subarray(0, 2)) !== '4d5a')
    throw malformed('it does not begin with MZ');
  const header = view.getUint32(60, true);
  const optionalHeader = header + COFF_BYTES;
  if (optionalHeader + SECURITY_DIRECTORY.offset + SECURITY_DIRECTORY.bytes > image.length) {
    throw malformed('its headers lead out of the file');
  }
  if (toHex(image.subarray(header, header + 4)) !== '50450000') throw malformed('it has no PE header');
  if (view.getUint16(optionalHeader, true) !== PE32_PLUS) throw malformed('it is no PE32+');
  if (view.getUint32(optionalHeader + DIRECTORY_COUNT, true) <= SECURITY_DIRECTORY.index) {
    throw malformed('it has no place for certificates');
  }
  const table = optionalHeader + view.getUint16(header + 20, true);
  const sizeOfHeaders = view.getUint32(optionalHeader + SIZE_OF_HEADERS, true);
  if (sizeOfHeaders > image.length) throw malformed('its headers lead out of the file');
  return {
    optionalHeader,
    sizeOfHeaders,
    certificates: readCertificates(view, optionalHeader),
    sections: readSections(image, table, view.getUint16(header + 6, true)),
  };
}

/** They stand at the end: behind others nobody would say what is hashed. */
function readCertificates(view: DataView, optionalHeader: number): Layout['certificates'] {
  const offset = view.getUint32(optionalHeader + SECURITY_DIRECTORY.offset, true);
  const size = view.getUint32(optionalHeader + SECURITY_DIRECTORY.offset + 4, true);
  if (size > 0 && offset + size !== view.byteLength) throw malformed('its certificates do not end the file');
  return { offset, size };
}

function readSections(image: Uint8Array, table: number, count: number): readonly PeSection[] {
  if (count > MAX_SECTIONS || table + count * SECTION_BYTES > image.length) {
    throw malformed('its sections lead out of the file');
  }
  return Array.from({ length: count }, (_, index) => {
    const start = table + index * SECTION_BYTES;
    const view = new DataView(image.buffer, image.byteOffset + start, SECTION_BYTES);
    const name = String.fromCharCode(...image.subarray(start, start + 8)).replace(/\0.*$/s, '');
    const [virtualSize, size, offset] = [
      view.getUint32(8, true),
      view.getUint32(16, true),
      view.getUint32(20, true),
    ];
    if (offset + size > image.length) throw malformed(`its section ${index} leads out of the file`);
    if (virtualSize > MAX_IMAGE_BYTES) throw malformed(`its section ${index} has ${virtualSize} bytes`);
    return { name, virtualSize, offset, size };
  });
}

function malformed(why: string): PredictError {
  return new PredictError('IMAGE_MALFORMED', `the image is no PE file: ${why}`);
}
