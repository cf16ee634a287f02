import { concat, utf8 } from '../../../../attestation/bytes/bytes.ts';
import { crc32 } from '../../../../enclave/predict/nitro/crc32.ts';
import { EIF_SECTION_TYPES, type EifSectionType } from '../../../../enclave/predict/nitro/eif.ts';

export type MintedSection = readonly [type: EifSectionType | number, data: Uint8Array];

export const SECTIONS: readonly MintedSection[] = [
  ['kernel', utf8('kernel')],
  ['cmdline', utf8('reboot=k panic=30')],
  ['metadata', utf8('{}')],
  ['ramdisk', utf8('ramdisk 1')],
  ['ramdisk', utf8('ramdisk 2')],
  ['ramdisk', utf8('ramdisk 3')],
];

/** An enclave image by its specification, written apart from the production writer. */
export function mintEif(sections: readonly MintedSection[] = SECTIONS): Uint8Array {
  const header = new Uint8Array(548);
  const view = new DataView(header.buffer);
  header.set(utf8('.eif'));
  view.setUint16(4, 4);
  view.setUint16(26, sections.length);
  let offset = 548;
  const parts = sections.map(([type, data], index) => {
    view.setBigUint64(28 + 8 * index, BigInt(offset));
    view.setBigUint64(284 + 8 * index, BigInt(data.length));
    const head = new Uint8Array(12);
    new DataView(head.buffer).setUint16(0, typeof type === 'number' ? type : EIF_SECTION_TYPES[type]);
    new DataView(head.buffer).setBigUint64(4, BigInt(data.length));
    offset += 12 + data.length;
    return concat(head, data);
  });
  return withChecksum(concat(header, ...parts));
}

/** The same file with the checksum that belongs to it. */
export function withChecksum(file: Uint8Array): Uint8Array {
  const changed = Uint8Array.from(file);
  const checksum = crc32(concat(changed.subarray(0, 544), changed.subarray(548)));
  new DataView(changed.buffer).setUint32(544, checksum);
  return changed;
}
