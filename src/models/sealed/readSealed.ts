import { createHash } from 'node:crypto';
import { FileRefused } from '../errors.ts';
import { readPieces, readPlain, statPlain } from '../files.ts';
import type { ModelFile, ModelSource } from '../store.ts';
import { FileCipher, sealedSize, TAG_BYTES } from './chunks.ts';
import { MAX_HEADER_BYTES, parseHeader, SEALED_FILE, sealedPath, type WrappedKey } from './header.ts';

/** How the files of a model are sealed. */
export interface Sealing {
  readonly digest: Uint8Array;
  readonly chunkBytes: number;
  readonly key: WrappedKey;
}

/** Discovers a sealed model by its header. Nothing is opened: that needs the data key. Throws `FileRefused`. */
export async function discoverSealed(id: string, root: string): Promise<ModelSource & { readonly sealed: Sealing }> {
  const header = parseHeader(await readPlain(root, SEALED_FILE, MAX_HEADER_BYTES));
  const { files, chunkBytes, digest, key, irVersion, opset } = header;
  for (const { path, size } of files) {
    const wanted = sealedSize(size, chunkBytes);
    const found = await statPlain(root, sealedPath(path));
    if (found !== wanted) {
      throw new FileRefused('SEALED_REFUSED', `${sealedPath(path)} has ${found} bytes, not ${wanted}`);
    }
  }
  return { id, root, files, irVersion, opset, sealed: { digest, chunkBytes, key } };
}

/**
 * Opens a sealed file into memory of its own. Memory is taken only for what lies on disk, and where the release has a
 * record, for the very ciphertext that is recorded.
 */
export async function readSealed(
  root: string,
  file: ModelFile,
  { digest, chunkBytes }: Sealing,
  dataKey: Uint8Array,
): Promise<Uint8Array> {
  const { path, size, sha256 } = file;
  const cipher = new FileCipher(dataKey, digest, file, chunkBytes);
  const hash = createHash('sha256');
  const stored = sealedPath(path);
  try {
    const bytes = await readPieces(root, stored, sealedSize(size, chunkBytes), chunkBytes + TAG_BYTES, () => {
      const opened = new Uint8Array(size);
      const take = (piece: Uint8Array, index: number): void => {
        if (sha256 !== undefined) hash.update(piece);
        cipher.open(piece, index, opened.subarray(index * chunkBytes));
      };
      return { take, result: opened };
    });
    if (sha256 !== undefined && hash.digest('hex') !== sha256) {
      throw new FileRefused('FILE_CHANGED', `${stored} is not the file that is recorded`);
    }
    return bytes;
  } finally {
    cipher.forget();
  }
}
