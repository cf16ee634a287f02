import { createHash } from 'node:crypto';
import { open } from 'node:fs/promises';
import { crc32 } from 'node:zlib';
import { utf8 } from '../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { sizeOf, type FileContent } from '../../image/tree.ts';
import {
  EIF_CHECKSUM_OFFSET,
  EIF_HEADER_BYTES,
  EIF_MAGIC,
  EIF_MAX_SECTIONS,
  EIF_SECTION_HEADER_BYTES,
  EIF_SECTION_TYPES,
  EIF_VERSION,
  type EifSectionType,
} from '../../predict/nitro/eif.ts';
import { enclavePcrs, type EnclaveDigests, type ImagePcrs } from '../../predict/nitro/pcrs.ts';
import { piecesOf, sha256Of } from '../content.ts';
import { DeployError } from '../errors.ts';
import { encodeMetadata, type EnclaveMetadata } from './metadata.ts';
import { certificateOf, signEnclave, type EnclaveSigner } from './signature.ts';

/** What an enclave image is made of. */
export interface EnclaveImage {
  readonly architecture: 'x86_64' | 'aarch64';
  readonly kernel: FileContent;
  readonly cmdline: string;
  /** cpio archives, compressed or not. The first brings the system up, the rest is the application. */
  readonly ramdisks: readonly FileContent[];
  readonly metadata: EnclaveMetadata;
  readonly signer?: EnclaveSigner | undefined;
}

export interface WrittenEif {
  readonly pcrs: ImagePcrs;
  readonly bytes: number;
  /** Lower-case hex. Of a signed image it is another each time: the signature is. The registers are not. */
  readonly sha256: string;
}

interface Section {
  readonly type: EifSectionType;
  readonly content: FileContent;
}

/** Bytes; AWS's tool writes the same, and nothing reads them. */
const DEFAULT_MEMORY = 1024n ** 3n;
const DEFAULT_PROCESSORS = 2n;
/** Longest command line that the x86 kernel takes, without its NUL (COMMAND_LINE_SIZE). */
const MAX_CMDLINE_BYTES = 2047;

/** Writes an enclave image file (format 4), and says which registers an enclave of it has. */
export async function writeEif(path: string, image: EnclaveImage): Promise<WrittenEif> {
  requireParts(image);
  const pcrs = enclavePcrs(await digestContents(image), nodeCrypto);
  const signature = signatureOf(image, pcrs);
  const sections: Section[] = [
    { type: 'kernel', content: image.kernel },
    { type: 'cmdline', content: utf8(image.cmdline) },
    { type: 'metadata', content: encodeMetadata(image.metadata) },
    ...image.ramdisks.map((content): Section => ({ type: 'ramdisk', content })),
    ...(signature ? [{ type: 'signature', content: signature } as const] : []),
  ];
  await writeImage(path, headerOf(sections, image), sections);
  const bytes = sections.reduce(
    (sum, { content }) => sum + EIF_SECTION_HEADER_BYTES + sizeOf(content),
    EIF_HEADER_BYTES,
  );
  return { pcrs, bytes, sha256: await sha256Of({ path, size: bytes }) };
}

function requireParts({ cmdline, ramdisks, signer }: EnclaveImage): void {
  // Kernel, command line, metadata and signature take a place each.
  if (ramdisks.length === 0 || ramdisks.length > EIF_MAX_SECTIONS - 4) {
    throw new DeployError('DEPLOY_OPTIONS_INVALID', `an enclave cannot have ${ramdisks.length} RAM disks`);
  }
  if (cmdline.includes('\0') || utf8(cmdline).length > MAX_CMDLINE_BYTES) {
    throw new DeployError('DEPLOY_OPTIONS_INVALID', 'the kernel command line has a NUL or is too long');
  }
  if (signer) certificateOf(signer);
}

/** Reads each part once, for the three digests at a time. */
async function digestContents({ kernel, cmdline, ramdisks, signer }: EnclaveImage): Promise<EnclaveDigests> {
  const [image, boot, application] = [createHash('sha384'), createHash('sha384'), createHash('sha384')];
  for (const content of [kernel, utf8(cmdline), ...ramdisks.slice(0, 1)]) {
    for await (const piece of piecesOf(content)) {
      image.update(piece);
      boot.update(piece);
    }
  }
  for (const content of ramdisks.slice(1)) {
    for await (const piece of piecesOf(content)) {
      image.update(piece);
      application.update(piece);
    }
  }
  return {
    image: image.digest(),
    boot: boot.digest(),
    application: application.digest(),
    certificate: signer && nodeCrypto.hash('sha384', certificateOf(signer)),
  };
}

function signatureOf({ signer }: EnclaveImage, pcrs: ImagePcrs): Uint8Array | undefined {
  return signer && signEnclave(signer, pcrs[0]);
}

/** The header with a checksum of zero. */
function headerOf(sections: readonly Section[], { architecture }: EnclaveImage): Uint8Array {
  const header = new Uint8Array(EIF_HEADER_BYTES);
  const view = new DataView(header.buffer);
  view.setUint32(0, EIF_MAGIC);
  view.setUint16(4, EIF_VERSION);
  view.setUint16(6, architecture === 'aarch64' ? 1 : 0);
  view.setBigUint64(8, DEFAULT_MEMORY);
  view.setBigUint64(16, DEFAULT_PROCESSORS);
  view.setUint16(26, sections.length);
  let offset = EIF_HEADER_BYTES;
  for (const [index, { content }] of sections.entries()) {
    view.setBigUint64(28 + 8 * index, BigInt(offset));
    view.setBigUint64(28 + 8 * (EIF_MAX_SECTIONS + index), BigInt(sizeOf(content)));
    offset += EIF_SECTION_HEADER_BYTES + sizeOf(content);
  }
  return header;
}

/** Header and sections in one stream; the checksum, which covers both, is put into its place at the end. */
async function writeImage(path: string, header: Uint8Array, sections: readonly Section[]): Promise<void> {
  const file = await open(path, 'w').catch((cause: unknown) => {
    throw new DeployError('DEPLOY_OUTPUT_FAILED', `${path} cannot be written`, { cause });
  });
  try {
    let checksum = crc32(header.subarray(0, EIF_CHECKSUM_OFFSET));
    await file.writeFile(header);
    const add = async (bytes: Uint8Array): Promise<void> => {
      checksum = crc32(bytes, checksum);
      await file.writeFile(bytes);
    };
    for (const section of sections) {
      await add(sectionHeader(section));
      for await (const piece of piecesOf(section.content)) await add(piece);
    }
    const place = new Uint8Array(4);
    new DataView(place.buffer).setUint32(0, checksum);
    await file.write(place, 0, place.length, EIF_CHECKSUM_OFFSET);
  } finally {
    await file.close();
  }
}

function sectionHeader({ type, content }: Section): Uint8Array {
  const header = new Uint8Array(EIF_SECTION_HEADER_BYTES);
  const view = new DataView(header.buffer);
  view.setUint16(0, EIF_SECTION_TYPES[type]);
  view.setBigUint64(4, BigInt(sizeOf(content)));
  return header;
}
