import type { CryptoProvider } from '../../../attestation/crypto/provider.ts';
import { PAGE_BYTES } from '../firmware/guidTable.ts';
import { parseTdxSections, type TdxSection } from '../firmware/tdxMetadata.ts';

/**
 * How a host adds pages: QEMU 9.0 and later adds and extends one after the other (`one-pass`), QEMU 8 of the trees of
 * Intel and Canonical adds all pages of a section first (`two-pass`).
 */
export type PageOrder = 'one-pass' | 'two-pass';

const RECORD_BYTES = 128;
const CHUNK_BYTES = 256;
const CHUNKS = PAGE_BYTES / CHUNK_BYTES;

/** MRTD of a TD with this firmware, 48 bytes (Intel TDX Module Base Specification, TD Measurement). */
export function predictMrtd(firmware: Uint8Array, order: PageOrder, crypto: CryptoProvider): Uint8Array {
  const sections = parseTdxSections(firmware);
  const records = new Records(sections.reduce((sum, section) => sum + recordBytes(section), 0));
  for (const section of sections) addSection(records, section, order);
  return crypto.hash('sha384', records.bytes);
}

function recordBytes({ size, extended, addedLater }: TdxSection): number {
  const pages = size / PAGE_BYTES;
  const added = addedLater ? 0 : pages * RECORD_BYTES;
  return added + (extended ? pages * CHUNKS * (RECORD_BYTES + CHUNK_BYTES) : 0);
}

function addSection(records: Records, section: TdxSection, order: PageOrder): void {
  const offsets = Array.from({ length: section.size / PAGE_BYTES }, (_, page) => page * PAGE_BYTES);
  const add = (offset: number): void => {
    if (!section.addedLater) records.add('MEM.PAGE.ADD', section.address + offset);
  };
  const extend = (offset: number): void => {
    if (section.extended) extendPage(records, section, offset);
  };
  if (order === 'two-pass') {
    offsets.forEach(add);
    offsets.forEach(extend);
    return;
  }
  for (const offset of offsets) {
    add(offset);
    extend(offset);
  }
}

function extendPage(records: Records, { address, data }: TdxSection, offset: number): void {
  for (let chunk = offset; chunk < offset + PAGE_BYTES; chunk += CHUNK_BYTES) {
    records.add('MR.EXTEND', address + chunk);
    records.addContent(data.subarray(chunk, chunk + CHUNK_BYTES));
  }
}

/** What the module hashes: one record for each operation, and the content behind that of an extension. */
class Records {
  readonly bytes: Uint8Array;
  readonly #view: DataView;
  #end = 0;

  constructor(length: number) {
    this.bytes = new Uint8Array(length);
    this.#view = new DataView(this.bytes.buffer);
  }

  /** Name at 0, guest address at 16, zeros to 128 bytes. */
  add(operation: 'MEM.PAGE.ADD' | 'MR.EXTEND', address: number): void {
    for (let i = 0; i < operation.length; i++) this.#view.setUint8(this.#end + i, operation.charCodeAt(i));
    this.#view.setBigUint64(this.#end + 16, BigInt(address), true);
    this.#end += RECORD_BYTES;
  }

  /** Zeros stand behind what is shorter than a chunk. */
  addContent(content: Uint8Array): void {
    this.bytes.set(content, this.#end);
    this.#end += CHUNK_BYTES;
  }
}
