import { mintPe, type MintedPe } from '../../../support/mintedFirmware.ts';

const OPTIONAL = 88;
const TABLE = OPTIONAL + 240;
const ALIGNMENT = { section: 4096, file: 512 };

/** A program that firmware could load: sections have addresses, and the file says how they are aligned. */
export function mintProgram(parts: MintedPe, { nxCompatible = true } = {}): Buffer {
  const image = Buffer.from(mintPe(parts));
  image.writeUInt32LE(ALIGNMENT.section, OPTIONAL + 32);
  image.writeUInt32LE(ALIGNMENT.file, OPTIONAL + 36);
  image.writeUInt16LE(nxCompatible ? 0x160 : 0x60, OPTIONAL + 70);
  let address = ALIGNMENT.section;
  for (const [index, { data, virtualSize = data.length }] of parts.sections.entries()) {
    image.writeUInt32LE(address, TABLE + 40 * index + 12);
    address += Math.ceil(Math.max(virtualSize, 1) / ALIGNMENT.section) * ALIGNMENT.section;
  }
  image.writeUInt32LE(address, OPTIONAL + 56);
  return image;
}

/** A program with the header of Linux in it. */
export function mintKernel(options?: { nxCompatible: boolean }): Buffer {
  const kernel = mintProgram({ sections: [{ name: '.text', data: Buffer.alloc(1500, 7) }] }, options);
  kernel.write('HdrS', 0x202, 'latin1');
  return kernel;
}
