import { constants } from 'node:os';

// The protocol between the kernel and a FUSE server (include/uapi/linux/fuse.h), as much of it as is spoken here.

export const OPCODE = {
  lookup: 1,
  forget: 2,
  getattr: 3,
  setattr: 4,
  mkdir: 9,
  unlink: 10,
  rmdir: 11,
  open: 14,
  read: 15,
  write: 16,
  statfs: 17,
  release: 18,
  flush: 25,
  init: 26,
  opendir: 27,
  readdir: 28,
  releasedir: 29,
  create: 35,
  interrupt: 36,
  destroy: 38,
  batchForget: 42,
} as const;

/** Requests to which the kernel wants no answer. */
export const UNANSWERED: ReadonlySet<number> = new Set([
  OPCODE.forget,
  OPCODE.batchForget,
  OPCODE.interrupt,
  OPCODE.destroy,
]);

export const ROOT_NODE = 1;
export const MAX_WRITE = 128 * 1024;
const IN_HEADER_BYTES = 40;
const OUT_HEADER_BYTES = 16;
/** FOPEN_DIRECT_IO: sizes are not believed and nothing is cached, as with configfs. */
const DIRECT_IO = 1;
const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;

export type Errno = keyof typeof constants.errno;

/** What an operation fails with. */
export class FuseError extends Error {
  readonly errno: Errno;

  constructor(errno: Errno) {
    super(errno);
    this.errno = errno;
  }
}

export interface FuseRequest {
  readonly opcode: number;
  readonly unique: bigint;
  readonly node: number;
  readonly body: Buffer;
}

/** struct fuse_in_header and what follows. */
export function readRequest(bytes: Buffer): FuseRequest {
  return {
    opcode: bytes.readUInt32LE(4),
    unique: bytes.readBigUInt64LE(8),
    node: Number(bytes.readBigUInt64LE(16)),
    body: bytes.subarray(IN_HEADER_BYTES, bytes.readUInt32LE(0)),
  };
}

/** struct fuse_out_header and what follows; errors are negative. */
export function encodeReply(unique: bigint, reply: Buffer | Errno): Buffer {
  const body = typeof reply === 'string' ? Buffer.alloc(0) : reply;
  const head = Buffer.alloc(OUT_HEADER_BYTES);
  head.writeUInt32LE(OUT_HEADER_BYTES + body.length, 0);
  head.writeInt32LE(typeof reply === 'string' ? -constants.errno[reply] : 0, 4);
  head.writeBigUInt64LE(unique, 8);
  return Buffer.concat([head, body]);
}

/** struct fuse_init_out of version 7.31, which every kernel since 5.4 speaks. */
export function encodeInit(): Buffer {
  const body = Buffer.alloc(64);
  body.writeUInt32LE(7, 0);
  body.writeUInt32LE(31, 4);
  body.writeUInt16LE(64, 16); // max_background
  body.writeUInt32LE(MAX_WRITE, 20);
  body.writeUInt32LE(1, 24); // time_gran
  return body;
}

export interface NodeAttributes {
  readonly id: number;
  readonly isDirectory: boolean;
  /** Permission bits. */
  readonly mode: number;
}

/** struct fuse_attr: owned by root, and of size 0, as every attribute of configfs. */
function encodeAttributes({ id, isDirectory, mode }: NodeAttributes): Buffer {
  const body = Buffer.alloc(88);
  body.writeBigUInt64LE(BigInt(id), 0);
  body.writeUInt32LE((isDirectory ? S_IFDIR : S_IFREG) | mode, 60);
  body.writeUInt32LE(isDirectory ? 2 : 1, 64);
  body.writeUInt32LE(4096, 80);
  return body;
}

/** struct fuse_entry_out; nothing may be cached. */
export function encodeEntry(node: NodeAttributes): Buffer {
  const head = Buffer.alloc(40);
  head.writeBigUInt64LE(BigInt(node.id), 0);
  return Buffer.concat([head, encodeAttributes(node)]);
}

/** struct fuse_attr_out. */
export function encodeAttributesReply(node: NodeAttributes): Buffer {
  return Buffer.concat([Buffer.alloc(16), encodeAttributes(node)]);
}

/** struct fuse_open_out. */
export function encodeOpen(handle: number): Buffer {
  const body = Buffer.alloc(16);
  body.writeBigUInt64LE(BigInt(handle), 0);
  body.writeUInt32LE(DIRECT_IO, 8);
  return body;
}

/** struct fuse_write_out. */
export function encodeWritten(length: number): Buffer {
  const body = Buffer.alloc(8);
  body.writeUInt32LE(length, 0);
  return body;
}

/** struct fuse_statfs_out: names of up to 255 bytes. */
export function encodeStatfs(): Buffer {
  const body = Buffer.alloc(80);
  body.writeUInt32LE(4096, 40);
  body.writeUInt32LE(255, 44);
  return body;
}

/** struct fuse_dirent of each entry from `offset` on. */
export function encodeEntries(
  entries: readonly (readonly [name: string, node: NodeAttributes])[],
  offset: number,
  limit: number,
): Buffer {
  const records: Buffer[] = [];
  let length = 0;
  for (const [index, [name, { id, isDirectory }]] of [...entries.entries()].slice(offset)) {
    const text = Buffer.from(name);
    const record = Buffer.alloc(Math.ceil((24 + text.length) / 8) * 8);
    record.writeBigUInt64LE(BigInt(id), 0);
    record.writeBigUInt64LE(BigInt(index + 1), 8);
    record.writeUInt32LE(text.length, 16);
    record.writeUInt32LE(isDirectory ? 4 : 8, 20);
    text.copy(record, 24);
    length += record.length;
    if (length > limit) break;
    records.push(record);
  }
  return Buffer.concat(records);
}

/** A name ended by NUL, behind `skip` bytes. */
export function readName(body: Buffer, skip: number): string {
  return body.subarray(skip, body.indexOf(0, skip)).toString();
}

/** File handle and offset, with which the bodies of read, readdir, write, flush and release begin. */
export function readHandle(body: Buffer): { readonly handle: number; readonly offset: number } {
  return {
    handle: Number(body.readBigUInt64LE(0)),
    offset: body.length >= 16 ? Number(body.readBigUInt64LE(8)) : 0,
  };
}

/** Size of read and readdir. */
export function readSize(body: Buffer): number {
  return body.readUInt32LE(16);
}

/** What struct fuse_write_in is followed by. */
export function readWritten(body: Buffer): Buffer {
  return body.subarray(40, 40 + body.readUInt32LE(16));
}

/** Flags of open. */
export function readFlags(body: Buffer): number {
  return body.readUInt32LE(0);
}
