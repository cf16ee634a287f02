import { crc32 } from 'node:zlib';
import { concat, utf8 } from '../../../../attestation/bytes/bytes.ts';
import { Tree } from '../../../../enclave/image/tree.ts';

// Kernel modules as a distribution packs them, with nothing in them but what they say of themselves.

/** A relocatable ELF file with `.modinfo` and names of sections, and a header of each. */
export function kernelModule(...lines: readonly string[]): Uint8Array {
  const info = utf8(lines.map((line) => `${line}\0`).join(''));
  const names = utf8('\0.modinfo\0.shstrtab\0');
  const header = Buffer.alloc(64);
  header.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  const sectionsAt = 64 + info.length + names.length;
  header.writeBigUInt64LE(BigInt(sectionsAt), 40);
  header.writeUInt16LE(64, 58);
  header.writeUInt16LE(3, 60);
  header.writeUInt16LE(2, 62);
  const sections = Buffer.alloc(3 * 64);
  const describe = (index: number, name: number, at: number, bytes: number): void => {
    sections.writeUInt32LE(name, index * 64);
    sections.writeBigUInt64LE(BigInt(at), index * 64 + 24);
    sections.writeBigUInt64LE(BigInt(bytes), index * 64 + 32);
  };
  describe(1, 1, 64, info.length);
  describe(2, 10, 64 + info.length, names.length);
  return concat(header, info, names, sections);
}

/** An .xz file that holds up to 64 KiB as they are (xz-file-format, LZMA2 chunk type 1). */
export function storedXz(content: Uint8Array): Uint8Array {
  const flags = Uint8Array.of(0, 1);
  const head = concat(Uint8Array.of(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0), flags, checksum(flags));
  const filter = Uint8Array.of(2, 0, 0x21, 1, 0, 0, 0, 0);
  const last = content.length - 1;
  const chunks = concat(Uint8Array.of(1, last >> 8, last & 0xff), content, Uint8Array.of(0));
  const unpadded = filter.length + 4 + chunks.length + 4;
  const block = concat(filter, checksum(filter), chunks, padding(unpadded), checksum(content));
  const index = concat(Uint8Array.of(0, 1), number(unpadded), number(content.length));
  const padded = concat(index, padding(index.length));
  const size = Buffer.alloc(4);
  size.writeUInt32LE((padded.length + 4) / 4 - 1);
  const foot = concat(size, flags);
  return concat(head, block, padded, checksum(padded), checksum(foot), foot, utf8('YZ'));
}

function checksum(bytes: Uint8Array): Uint8Array {
  const sum = Buffer.alloc(4);
  sum.writeUInt32LE(crc32(bytes));
  return sum;
}

function padding(bytes: number): Uint8Array {
  return new Uint8Array((4 - (bytes % 4)) % 4);
}

/** Seven bits in each byte, lowest first. */
function number(value: number): Uint8Array {
  const bytes: number[] = [];
  for (let rest = value; ; rest >>= 7) {
    if (rest < 0x80) return Uint8Array.of(...bytes, rest);
    bytes.push((rest & 0x7f) | 0x80);
  }
}

/** The package of a kernel with these modules, each with what it depends on, and these built in. */
export function kernelPackage(modules: Readonly<Record<string, string>>, builtIn: readonly string[]): Tree {
  const tree = new Tree();
  const folder = 'usr/lib/modules/6.12.0-test';
  for (const [name, depends] of Object.entries(modules)) {
    const content = storedXz(kernelModule('license=GPL', `depends=${depends}`));
    tree.add(`${folder}/kernel/drivers/${name}.ko.xz`, { kind: 'file', mode: 0o644, content });
  }
  const list = builtIn.map((name) => `kernel/lib/${name}.ko\n`).join('');
  tree.add(`${folder}/modules.builtin`, { kind: 'file', mode: 0o644, content: utf8(list) });
  return tree;
}
