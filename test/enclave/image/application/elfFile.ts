interface ElfParts {
  readonly needed?: readonly string[];
  readonly machine?: number;
  readonly interpreter?: string;
}

/** A 64-bit library that needs others: header, program headers, dynamic section and its strings, at address 0x1000. */
export function elfFile({ needed = [], machine = 62, interpreter = '' }: ElfParts = {}): Buffer {
  const strings = Buffer.from(`\0${needed.join('\0')}\0${interpreter}\0`);
  const offsets = needed.map((name) => strings.indexOf(`\0${name}\0`) + 1);
  const dynamicAt = 64 + 3 * 56;
  const dynamic = [...offsets.map((offset): [number, number] => [1, offset]), [5, 0], [0, 0]];
  const stringsAt = dynamicAt + dynamic.length * 16;
  dynamic[offsets.length] = [5, 0x1000 + stringsAt];
  const file = Buffer.alloc(stringsAt + strings.length);
  file.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  file.writeUInt16LE(machine, 18);
  file.writeBigUInt64LE(64n, 32);
  file.writeUInt16LE(interpreter === '' ? 2 : 3, 56);
  const interpreterAt = stringsAt + strings.length - interpreter.length - 1;
  const segments = [[1, 0, file.length], [2, dynamicAt, dynamic.length * 16], [3, interpreterAt, interpreter.length + 1]] as const; // prettier-ignore
  for (const [index, [type, offset, bytes]] of segments.entries()) {
    const at = 64 + index * 56;
    file.writeUInt32LE(type, at);
    file.writeBigUInt64LE(BigInt(offset), at + 8);
    file.writeBigUInt64LE(BigInt(0x1000 + offset), at + 16);
    file.writeBigUInt64LE(BigInt(bytes), at + 32);
  }
  for (const [index, [tag = 0, value = 0]] of dynamic.entries()) {
    file.writeBigInt64LE(BigInt(tag), dynamicAt + index * 16);
    file.writeBigUInt64LE(BigInt(value), dynamicAt + index * 16 + 8);
  }
  file.set(strings, stringsAt);
  return file;
}
