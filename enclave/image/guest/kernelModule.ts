import { utf8 } from '../../../attestation/bytes/bytes.ts';
import { ImageError } from '../errors.ts';

/** Offsets of an ELF file of 64 bits, little-endian (System V ABI, chapter 4). */
const HEADER_BYTES = 64;
const SECTION_BYTES = 64;
const MAGIC = Uint8Array.of(0x7f, 0x45, 0x4c, 0x46, 2, 1);
/** More than any module of a distribution has. */
const MAX_SECTIONS = 65_000;
const SECTION_NAME = utf8('.modinfo\0');

/** Names of modules that this one needs loaded before it, as `.modinfo` of the module says. Refuses other files. */
export function dependenciesOf(name: string, module: Uint8Array): readonly string[] {
  const line = infoLines(name, module).find((each) => each.startsWith('depends='));
  if (line === undefined) throw malformed(name, 'it does not say what it depends on');
  const names = line.slice('depends='.length);
  if (names === '') return [];
  const found = names.split(',');
  if (!found.every((each) => /^[\w-]{1,64}$/.test(each)))
    throw malformed(name, 'its dependencies are no names');
  return found;
}

function infoLines(name: string, module: Uint8Array): readonly string[] {
  try {
    const section = findInfo(new DataView(module.buffer, module.byteOffset, module.byteLength), module);
    if (!section) throw malformed(name, 'it has no .modinfo');
    return new TextDecoder('latin1').decode(section).split('\0');
  } catch (error) {
    if (error instanceof RangeError) throw malformed(name, 'it is cut off');
    throw error;
  }
}

function findInfo(view: DataView, module: Uint8Array): Uint8Array | undefined {
  if (module.length < HEADER_BYTES || MAGIC.some((byte, index) => module[index] !== byte)) return undefined;
  const start = position(view, 40);
  const count = view.getUint16(60, true);
  if (view.getUint16(58, true) !== SECTION_BYTES || count > MAX_SECTIONS) return undefined;
  const names = position(view, start + view.getUint16(62, true) * SECTION_BYTES + 24);
  for (let index = 0; index < count; index++) {
    const section = start + index * SECTION_BYTES;
    const label = names + view.getUint32(section, true);
    if (!SECTION_NAME.every((byte, at) => module[label + at] === byte)) continue;
    const offset = position(view, section + 24);
    const size = position(view, section + 32);
    if (offset + size > module.length) throw new RangeError('section beyond the end');
    return module.subarray(offset, offset + size);
  }
  return undefined;
}

function position(view: DataView, at: number): number {
  const value = Number(view.getBigUint64(at, true));
  if (value > view.byteLength) throw new RangeError('position beyond the end');
  return value;
}

function malformed(name: string, why: string): ImageError {
  return new ImageError('IMAGE_INPUT_MALFORMED', `kernel module ${name}: ${why}`);
}
