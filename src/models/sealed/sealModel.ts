import { randomBytes } from 'node:crypto';
import { type FileHandle, mkdir, open, rename, rm } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { compareBytes, utf8 } from '../../../attestation/bytes/bytes.ts';
import { ModelError } from '../errors.ts';
import { readPieces } from '../files.ts';
import { discoverFolder, type ModelFile, type ModelSource, named } from '../store.ts';
import { FileCipher } from './chunks.ts';
import {
  contentsDigest,
  encodeHeader,
  type SealedContents,
  SEALED_FILE,
  sealedPath,
  type WrappedKey,
} from './header.ts';

/** Bytes in clear of a chunk, where nothing else is said. */
const CHUNK_BYTES = 0x10_0000;

export interface SealRequest {
  /** Folder of the model in clear. */
  readonly source: string;
  /** Folder that is made; it may not exist. */
  readonly target: string;
  readonly dataKey: Uint8Array;
  readonly key: WrappedKey;
  readonly chunkBytes?: number;
  readonly onTotal?: (bytes: number) => void;
  readonly onBytes?: (bytes: number) => void;
}

export interface Sealed {
  readonly contents: SealedContents;
  readonly digest: Uint8Array;
}

/**
 * Seals the files of a model that a service reads; what else lies in the folder is left out. The new folder is there
 * whole or not at all.
 */
export async function sealModel(request: SealRequest): Promise<Sealed> {
  const { key, onTotal } = request;
  const source = resolve(request.source);
  const target = resolve(request.target);
  const model = await discoverFolder(basename(source), source);
  if (model.sealed) throw new ModelError('SEALED_MALFORMED', model.id, SEALED_FILE, 'the model is sealed already');
  const contents = contentsOf(model, request.chunkBytes ?? CHUNK_BYTES);
  onTotal?.(contents.files.reduce((sum, { size }) => sum + size, 0));
  const digest = contentsDigest(contents);
  const incoming = join(dirname(target), `.${basename(target)}.${randomBytes(6).toString('hex')}`);
  await mkdir(incoming);
  try {
    for (const file of contents.files) await sealFile(request, { model, contents, digest, incoming }, file);
    await writeWhole(join(incoming, SEALED_FILE), (handle) => handle.writeFile(encodeHeader(contents, key)));
    await rename(incoming, target);
  } catch (error) {
    await rm(incoming, { recursive: true, force: true });
    throw error;
  }
  return { contents, digest };
}

function contentsOf({ irVersion, opset, files }: ModelSource, chunkBytes: number): SealedContents {
  const sorted = files.map(({ path, role, size }) => ({ path, role, size }));
  sorted.sort((a, b) => compareBytes(utf8(a.path), utf8(b.path)));
  return { id: randomBytes(16), chunkBytes, irVersion, opset, files: sorted };
}

interface Target {
  readonly model: ModelSource;
  readonly contents: SealedContents;
  readonly digest: Uint8Array;
  readonly incoming: string;
}

async function sealFile(
  { dataKey, onBytes }: SealRequest,
  { model, contents, digest, incoming }: Target,
  file: ModelFile,
): Promise<void> {
  const { chunkBytes } = contents;
  const cipher = new FileCipher(dataKey, digest, file, chunkBytes);
  const path = join(incoming, sealedPath(file.path));
  await mkdir(dirname(path), { recursive: true });
  try {
    await writeWhole(path, async (handle) => {
      const write = async (piece: Uint8Array, index: number): Promise<void> => {
        await handle.writeFile(cipher.seal(piece, index));
        onBytes?.(piece.length);
      };
      if (file.size === 0) await write(new Uint8Array(0), 0);
      await named(model.id, file.path, () => {
        return readPieces(model.root, file.path, file.size, chunkBytes, () => ({ take: write, result: undefined }));
      });
    });
  } finally {
    cipher.forget();
  }
}

async function writeWhole(path: string, write: (handle: FileHandle) => Promise<void>): Promise<void> {
  const handle = await open(path, 'wx');
  try {
    await write(handle);
    await handle.sync();
  } finally {
    await handle.close();
  }
}
