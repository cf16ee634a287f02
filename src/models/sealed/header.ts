import { createHash } from 'node:crypto';
import { z } from 'zod';
import { compareBytes, fromBase64Url, fromHex, toBase64Url, toHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import { encodeDc } from '../../../attestation/cbor/deterministic.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { JsonError, parseStrictJson } from '../../../attestation/json/strict.ts';
import { FileRefused } from '../errors.ts';
import { MAX_TEXT_BYTES, MAX_WEIGHTS_BYTES, plainSegments } from '../files.ts';
import type { FileRole } from '../store.ts';

/** What makes a folder a sealed model. */
export const SEALED_FILE = 'vouchsafe-sealed.json';
/** Largest header: 4,096 files with long paths have less. */
export const MAX_HEADER_BYTES = 0x20_0000;
/** What the name of a sealed file has more than the file in clear. */
const SUFFIX = '.sealed';
const FORMAT = 'vouchsafe/sealed-model/1';
const MAX_FILES = 4096;
/** Chunks are a power of two, so that none is cut by a page of the file system: 4 KiB to 16 MiB. */
const MIN_CHUNK_BYTES = 0x1000;
const MAX_CHUNK_BYTES = 0x100_0000;
/** KMS gives ciphertexts of some 200 bytes; the largest that it takes has 6,144. */
const MAX_WRAPPED_BYTES = 6144;

/** Who can give the data key: another Vouchsafe node, Trustee's KBS, AWS KMS, Azure's secure key release. */
export const KEY_HOLDERS = ['vouchsafe', 'trustee', 'aws-kms', 'azure'] as const;
export type KeyHolder = (typeof KEY_HOLDERS)[number];

const ROLES = [
  'weights',
  'external',
  'tokenizer',
  'tokenizer-config',
  'template',
  'config',
  'generation-config',
] as const satisfies readonly FileRole[];

/** A data key as it lies beside what it opens. Anybody may read it, and who controls the disk may replace it. */
export interface WrappedKey {
  readonly holder: KeyHolder;
  /** Name by which the holder knows the key that wraps. */
  readonly name: string;
  readonly wrapped: Uint8Array;
}

export interface SealedFile {
  /** Of the file in clear, relative to the model folder. */
  readonly path: string;
  readonly role: FileRole;
  /** Bytes in clear. */
  readonly size: number;
}

/** What the data key vouches for beside the contents. */
export interface SealedContents {
  /** 16 random bytes: no two sealings have one. */
  readonly id: Uint8Array;
  /** Bytes in clear of every chunk but the last. */
  readonly chunkBytes: number;
  readonly irVersion: number;
  readonly opset: number;
  /** Sorted by the bytes of their paths. */
  readonly files: readonly SealedFile[];
}

export interface SealedHeader extends SealedContents {
  readonly key: WrappedKey;
  /** See `contentsDigest`. */
  readonly digest: Uint8Array;
}

const fileSchema = z.strictObject({
  path: z.string().min(1).max(1024),
  role: z.enum(ROLES),
  size: z.int().min(0).max(MAX_WEIGHTS_BYTES),
});
const headerSchema = z.strictObject({
  format: z.literal(FORMAT),
  id: z.string().regex(/^[0-9a-f]{32}$/),
  cipher: z.literal('AES-256-GCM'),
  chunk_bytes: z.int().min(MIN_CHUNK_BYTES).max(MAX_CHUNK_BYTES),
  ir_version: z.int().min(1).max(255),
  opset: z.int().min(1).max(255),
  key: z.strictObject({
    holder: z.enum(KEY_HOLDERS),
    name: z.string().regex(/^[\x21-\x7e]{1,256}$/),
    wrapped: z.string().max(Math.ceil((MAX_WRAPPED_BYTES * 4) / 3)),
  }),
  files: z.array(fileSchema).min(1).max(MAX_FILES),
});

/** Where the sealed content of a file lies. */
export function sealedPath(path: string): string {
  return path + SUFFIX;
}

/**
 * `SHA-256(dc(["vouchsafe/sealed-model/1", id, chunk bytes, IR version, opset, [[path, role, size], ...]]))`: every
 * chunk is bound to it, so that no file can be dropped, renamed, resized or come from another sealing. The wrapped
 * key is no part of it: it can be wrapped anew without sealing anew.
 */
export function contentsDigest({ id, chunkBytes, irVersion, opset, files }: SealedContents): Uint8Array {
  const lines = files.map(({ path, role, size }) => [path, role, size]);
  return createHash('sha256')
    .update(encodeDc([FORMAT, id, chunkBytes, irVersion, opset, lines]))
    .digest();
}

export function encodeHeader(contents: SealedContents, { holder, name, wrapped }: WrappedKey): Uint8Array {
  const { id, chunkBytes, irVersion, opset, files } = contents;
  const header: z.infer<typeof headerSchema> = {
    format: FORMAT,
    id: toHex(id),
    cipher: 'AES-256-GCM',
    chunk_bytes: chunkBytes,
    ir_version: irVersion,
    opset,
    key: { holder, name, wrapped: toBase64Url(wrapped) },
    files: files.map(({ path, role, size }) => ({ path, role, size })),
  };
  return utf8(`${JSON.stringify(header, undefined, 2)}\n`);
}

/** Parses the header of a sealed model. Refuses as `SEALED_MALFORMED`. */
export function parseHeader(bytes: Uint8Array): SealedHeader {
  if (bytes.length > MAX_HEADER_BYTES) throw malformed(`has ${bytes.length} bytes, at most ${MAX_HEADER_BYTES}`);
  const parsed = headerSchema.safeParse(readJson(bytes));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw malformed(`${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'unexpected'}`);
  }
  const { id, chunk_bytes: chunkBytes, ir_version: irVersion, opset, key, files } = parsed.data;
  if (!Number.isInteger(Math.log2(chunkBytes))) throw malformed('chunk_bytes is no power of two');
  requireFiles(files);
  const contents = { id: fromHex(id), chunkBytes, irVersion, opset, files };
  const wrapped = readWrapped(key.wrapped);
  return { ...contents, key: { holder: key.holder, name: key.name, wrapped }, digest: contentsDigest(contents) };
}

function readJson(bytes: Uint8Array): unknown {
  try {
    return parseStrictJson(bytes);
  } catch (error) {
    if (error instanceof JsonError) throw malformed(error.message);
    throw error;
  }
}

function readWrapped(text: string): Uint8Array {
  try {
    const wrapped = fromBase64Url(text);
    if (wrapped.length > 0 && wrapped.length <= MAX_WRAPPED_BYTES) return wrapped;
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
  }
  throw malformed(`key.wrapped is not base64url of 1 to ${MAX_WRAPPED_BYTES} bytes`);
}

/** One order, one file for each path, one for each use, and no path out of the folder. */
function requireFiles(files: readonly SealedFile[]): void {
  const roles = new Set<FileRole>();
  let before: Uint8Array | undefined;
  for (const { path, role, size } of files) {
    plainSegments(sealedPath(path));
    const bytes = utf8(path);
    if (before && compareBytes(before, bytes) >= 0) throw malformed('the files are not in the order of their paths');
    before = bytes;
    if (role === 'external') continue;
    if (roles.has(role)) throw malformed(`has more than one file of the role ${role}`);
    roles.add(role);
    if (role !== 'weights' && size > MAX_TEXT_BYTES) throw malformed(`a file of the role ${role} is too large`);
  }
  if (!roles.has('weights')) throw malformed('has no file of the role weights');
}

function malformed(detail: string): FileRefused {
  return new FileRefused('SEALED_MALFORMED', detail);
}
