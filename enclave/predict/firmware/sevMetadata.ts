import { isAligned, malformed, metadataAt, numbersOf, parseGuidTable, sectionsOf } from './guidTable.ts';

const GUID = {
  metadata: 'dc886566-984a-4798-a75e-5585a7bf67cc',
  hashTable: '7255371f-3a3b-4b04-927b-1da6efa8d454',
  reset: '00f771de-1a7e-4fcb-890e-68c77e2fb44e',
} as const;

const SECTION_BYTES = 12;
/** Of all sections together; those of OVMF have less than 1 MiB. */
const MAX_SECTION_BYTES = 256 * 1024 * 1024;

const SECTION_TYPES = {
  1: 'memory',
  2: 'secrets',
  3: 'cpuid',
  4: 'calling-area',
  16: 'kernel-hashes',
} as const;

export type SevSectionType = (typeof SECTION_TYPES)[keyof typeof SECTION_TYPES];

export interface SevSection {
  /** Guest address, a multiple of 4,096. */
  readonly address: number;
  /** Bytes, a multiple of 4,096. */
  readonly size: number;
  readonly type: SevSectionType;
}

/** What a host reads in firmware for SEV guests. */
export interface SevTables {
  /** In the order of the metadata; undefined where the firmware has none for SEV-SNP. */
  readonly sections: readonly SevSection[] | undefined;
  /** Guest address of the table of kernel hashes; undefined where the firmware looks at none. */
  readonly hashTableAddress: number | undefined;
  /** Where the application processors start; undefined where the firmware does not say it. */
  readonly resetAddress: number | undefined;
}

/** Refuses as `FIRMWARE_MALFORMED` tables that no host loads. */
export function parseSevTables(firmware: Uint8Array): SevTables {
  const table = parseGuidTable(firmware);
  const [distance] = numbersOf(table, GUID.metadata, 1) ?? [];
  const [hashTable = 0] = numbersOf(table, GUID.hashTable, 2) ?? [];
  const [resetAddress] = numbersOf(table, GUID.reset, 1) ?? [];
  return {
    sections: distance === undefined ? undefined : readSections(firmware, distance),
    hashTableAddress: hashTable === 0 ? undefined : hashTable,
    resetAddress,
  };
}

function readSections(firmware: Uint8Array, distance: number): readonly SevSection[] {
  const views = sectionsOf(metadataAt(firmware, distance, 'ASEV'), SECTION_BYTES);
  const sections = views.map((view) =>
    toSevSection(view.getUint32(0, true), view.getUint32(4, true), view.getUint32(8, true)),
  );
  const total = sections.reduce((sum, { size }) => sum + size, 0);
  if (total > MAX_SECTION_BYTES) throw malformed(`the sections have ${total} bytes`);
  return sections;
}

/** One section, checked as a host checks it. */
export function toSevSection(address: number, size: number, type: number): SevSection {
  const name = (SECTION_TYPES as Readonly<Record<number, SevSectionType>>)[type];
  if (name === undefined) throw malformed(`a section has the unknown type ${type}`);
  if (size === 0 || !isAligned(size) || !isAligned(address)) {
    throw malformed(`the section at ${address} has ${size} bytes`);
  }
  return { address, size, type: name };
}
