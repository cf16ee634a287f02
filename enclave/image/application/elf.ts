/** What the dynamic loader has to find for a file. */
export interface ElfFile {
  readonly machine: number;
  /** Path of the loader; undefined for libraries. */
  readonly interpreter: string | undefined;
  readonly needed: readonly string[];
}

export const X86_64 = 62;
const HEADER = 64;
const PROGRAM_HEADER = 56;
const LOAD = 1;
const DYNAMIC = 2;
const INTERPRETER = 3;
const NEEDED = 1n;
const STRING_TABLE = 5n;
/** More are in no library; a damaged file is read no further. */
const MAX_ENTRIES = 4096;
const MAX_NAME = 4096;

interface Segment {
  readonly type: number;
  readonly offset: number;
  readonly address: number;
  readonly bytes: number;
}

/** A 64-bit little-endian ELF file (System V ABI, chapters 4 and 5); undefined for everything else. */
export function readElf(file: Uint8Array): ElfFile | undefined {
  const isElf = [0x7f, 0x45, 0x4c, 0x46, 2, 1].every((byte, at) => file[at] === byte);
  if (!isElf || file.length < HEADER) return undefined;
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  const segments = readSegments(view);
  const interpreter = segments.find(({ type }) => type === INTERPRETER);
  return {
    machine: view.getUint16(18, true),
    interpreter: interpreter && readName(file, interpreter.offset),
    needed: readNeeded(file, view, segments),
  };
}

function readSegments(view: DataView): readonly Segment[] {
  const start = Number(view.getBigUint64(32, true));
  const count = Math.min(view.getUint16(56, true), MAX_ENTRIES);
  const segments: Segment[] = [];
  for (let index = 0; index < count; index++) {
    const at = start + index * PROGRAM_HEADER;
    if (at + PROGRAM_HEADER > view.byteLength) break;
    segments.push({
      type: view.getUint32(at, true),
      offset: Number(view.getBigUint64(at + 8, true)),
      address: Number(view.getBigUint64(at + 16, true)),
      bytes: Number(view.getBigUint64(at + 32, true)),
    });
  }
  return segments;
}

/** Names are offsets into a table of strings, whose address in memory the same section says. */
function readNeeded(file: Uint8Array, view: DataView, segments: readonly Segment[]): readonly string[] {
  const dynamic = segments.find(({ type }) => type === DYNAMIC);
  if (dynamic === undefined) return [];
  const names: number[] = [];
  let table = 0;
  for (let index = 0; index < Math.min(dynamic.bytes / 16, MAX_ENTRIES); index++) {
    const at = dynamic.offset + index * 16;
    if (at + 16 > file.length) break;
    const tag = view.getBigInt64(at, true);
    const value = Number(view.getBigUint64(at + 8, true));
    if (tag === NEEDED) names.push(value);
    if (tag === STRING_TABLE) table = value;
  }
  const holder = segments.find(
    ({ type, address, bytes }) => type === LOAD && table >= address && table < address + bytes,
  );
  if (holder === undefined) return [];
  const strings = table - holder.address + holder.offset;
  return names.map((name) => readName(file, strings + name));
}

function readName(file: Uint8Array, at: number): string {
  const field = file.subarray(at, at + MAX_NAME);
  const end = field.indexOf(0);
  return Buffer.from(field.subarray(0, end === -1 ? field.length : end)).toString('latin1');
}
