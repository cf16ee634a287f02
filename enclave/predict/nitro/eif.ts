import { fromUtf8 } from '../../../attestation/bytes/bytes.ts';
import { ByteReader } from '../../../attestation/bytes/reader.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { PredictError } from '../errors.ts';
import { crc32 } from './crc32.ts';
import type { EnclaveParts } from './pcrs.ts';

/** `.eif`. */
export const EIF_MAGIC = 0x2e65_6966;
/** Since 4, metadata is mandatory. */
export const EIF_VERSION = 4;
export const EIF_HEADER_BYTES = 548;
export const EIF_SECTION_HEADER_BYTES = 12;
export const EIF_MAX_SECTIONS = 32;
export const EIF_MAX_SIGNATURE_BYTES = 32_768;
/** The checksum is the last member of the header, and is not in itself. */
export const EIF_CHECKSUM_OFFSET = EIF_HEADER_BYTES - 4;

/** Numbers of section types («EifSectionHeader» of the format). */
export const EIF_SECTION_TYPES = { kernel: 1, cmdline: 2, ramdisk: 3, signature: 4, metadata: 5 } as const;
export type EifSectionType = keyof typeof EIF_SECTION_TYPES;

const TYPE_NAMES: ReadonlyMap<number, EifSectionType> = new Map(
  Object.entries(EIF_SECTION_TYPES).map(([name, number]) => [number, name as EifSectionType]),
);

export interface EifSection {
  readonly type: EifSectionType;
  /** A view of the file. */
  readonly data: Uint8Array;
}

export interface Eif extends EnclaveParts {
  readonly architecture: 'x86_64' | 'aarch64';
  /** JSON about the build. No register has it in it: anyone may change it. */
  readonly metadata: Uint8Array;
  /** CBOR: certificate and signature of PCR0. */
  readonly signature?: Uint8Array | undefined;
}

/**
 * Reads an enclave image file (format 4, «EIF Specification» of 2024-06-21). It is stricter than the format, and takes
 * what this project and AWS's own tool write: kernel and command line come first, sections follow each other without
 * a gap, reserved members are zero. Whoever wrote the file can at most have it refused.
 */
export function parseEif(file: Uint8Array): Eif {
  try {
    const header = readHeader(file);
    return partsOf(readSections(file, header), header);
  } catch (error) {
    if (error instanceof Refusal) throw malformed(error.message);
    throw error;
  }
}

interface Header {
  readonly architecture: Eif['architecture'];
  readonly count: number;
  readonly offsets: readonly bigint[];
  readonly sizes: readonly bigint[];
}

function readHeader(file: Uint8Array): Header {
  const reader = new ByteReader(file, 'EIF header');
  if (reader.u32be() !== EIF_MAGIC) throw malformed('it does not begin with .eif');
  const version = reader.u16be();
  if (version !== EIF_VERSION) throw malformed(`version ${version}, expected ${EIF_VERSION}`);
  const flags = reader.u16be();
  if (flags > 1) throw malformed('reserved flags are set');
  reader.u64be(); // default memory, unused
  reader.u64be(); // default processors, unused
  const reserved = reader.u16be();
  const count = reader.u16be();
  if (count < 4 || count > EIF_MAX_SECTIONS) throw malformed(`${count} sections`);
  const numbers = (): bigint[] => Array.from({ length: EIF_MAX_SECTIONS }, () => reader.u64be());
  const [offsets, sizes] = [numbers(), numbers()];
  if ([...offsets.slice(count), ...sizes.slice(count)].some((number) => number !== 0n)) {
    throw malformed('it names more sections than it counts');
  }
  if (reserved !== 0 || reader.u32be() !== 0) throw malformed('reserved members are not zero');
  if (reader.u32be() !== checksumOf(file)) throw malformed('its checksum is another');
  return { architecture: flags === 1 ? 'aarch64' : 'x86_64', count, offsets, sizes };
}

function checksumOf(file: Uint8Array): number {
  return crc32(file.subarray(EIF_HEADER_BYTES), crc32(file.subarray(0, EIF_CHECKSUM_OFFSET)));
}

function readSections(file: Uint8Array, { count, offsets, sizes }: Header): readonly EifSection[] {
  const reader = new ByteReader(file, 'EIF sections');
  reader.take(EIF_HEADER_BYTES);
  const sections = Array.from({ length: count }, (_, index): EifSection => {
    if (offsets[index] !== BigInt(reader.offset)) throw malformed(`section ${index} lies elsewhere`);
    const type = TYPE_NAMES.get(reader.u16be());
    if (!type) throw malformed(`section ${index} has no known type`);
    if (reader.u16be() !== 0) throw malformed(`section ${index} has flags`);
    const size = reader.u64be();
    if (size !== sizes[index]) throw malformed(`section ${index} has two sizes`);
    return { type, data: reader.take(Number(size)) };
  });
  reader.end();
  return sections;
}

function partsOf(sections: readonly EifSection[], { architecture }: Header): Eif {
  const [kernel, cmdline] = sections;
  if (kernel?.type !== 'kernel' || cmdline?.type !== 'cmdline') {
    throw malformed('kernel and command line do not come first');
  }
  const later = sections.slice(2);
  const of = (type: EifSectionType): Uint8Array[] =>
    later.filter((section) => section.type === type).map(({ data }) => data);
  const [[metadata, ...more], [signature, ...others]] = [of('metadata'), of('signature')];
  const repeated = [...of('kernel'), ...of('cmdline'), ...more, ...others];
  if (!metadata || repeated.length > 0) throw malformed('a section is missing or there twice');
  if (signature && signature.length > EIF_MAX_SIGNATURE_BYTES) throw malformed('its signature is too long');
  const ramdisks = of('ramdisk');
  if (ramdisks.length === 0) throw malformed('it has no RAM disk');
  const text = fromUtf8(cmdline.data);
  if (text.includes('\0')) throw malformed('its command line has a NUL');
  return { architecture, kernel: kernel.data, cmdline: text, ramdisks, metadata, signature };
}

function malformed(why: string): PredictError {
  return new PredictError('IMAGE_MALFORMED', `the file is no enclave image: ${why}`);
}
