import { isAligned, malformed, metadataAt, numbersOf, parseGuidTable, sectionsOf } from './guidTable.ts';

const GUID = 'e47a6535-984a-4798-865e-4685a7bf8ec2';
const SECTION_BYTES = 32;
/** Of all sections together; those of OVMF have less than 8 MiB. */
const MAX_MEMORY_BYTES = 256 * 1024 * 1024;
const ATTRIBUTE = { extend: 1, addedLater: 2 } as const;

const SECTION_TYPES = ['boot-volume', 'variable-volume', 'td-hob', 'temporary', 'permanent'] as const;

export type TdxSectionType = (typeof SECTION_TYPES)[number];

export interface TdxSection {
  readonly type: TdxSectionType;
  /** What the file has for it: as many bytes as the memory, or fewer, zero behind them. */
  readonly data: Uint8Array;
  /** Guest address, a multiple of 4,096. */
  readonly address: number;
  /** Bytes, a multiple of 4,096. */
  readonly size: number;
  /** Whether its content goes into MRTD. */
  readonly extended: boolean;
  /** Whether its pages are added after launch, and are in no measurement. */
  readonly addedLater: boolean;
}

/** Sections in the order of the metadata. Refuses as `FIRMWARE_MALFORMED` what no host loads. */
export function parseTdxSections(firmware: Uint8Array): readonly TdxSection[] {
  const [distance] = numbersOf(parseGuidTable(firmware), GUID, 1) ?? [];
  if (distance === undefined) throw malformed('there is no TDX metadata');
  const views = sectionsOf(metadataAt(firmware, distance, 'TDVF'), SECTION_BYTES);
  const sections = views.map((view) => readSection(firmware, view));
  const total = sections.reduce((sum, { size }) => sum + size, 0);
  if (total > MAX_MEMORY_BYTES) throw malformed(`the sections have ${total} bytes of memory`);
  return sections;
}

function readSection(firmware: Uint8Array, view: DataView): TdxSection {
  const [offset, fileSize] = [view.getUint32(0, true), view.getUint32(4, true)];
  const [address, size] = [Number(view.getBigUint64(8, true)), Number(view.getBigUint64(16, true))];
  const type = SECTION_TYPES[view.getUint32(24, true)];
  const attributes = view.getUint32(28, true);
  if (type === undefined) throw malformed(`a section has the unknown type ${view.getUint32(24, true)}`);
  if (!Number.isSafeInteger(address + size)) throw malformed('a section lies outside the memory');
  if (!isAligned(address) || !isAligned(size))
    throw malformed(`the section at ${address} has no whole pages`);
  if (fileSize > size) throw malformed(`the section at ${address} has more in the file than in memory`);
  if (offset + fileSize > firmware.length) throw malformed(`the section at ${address} leads out of the file`);
  return {
    type,
    data: firmware.subarray(offset, offset + fileSize),
    address,
    size,
    extended: (attributes & ATTRIBUTE.extend) !== 0,
    addedLater: (attributes & ATTRIBUTE.addedLater) !== 0,
  };
}
