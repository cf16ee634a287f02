import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { Header } from 'tar';
import { ExportError } from './errors.ts';
import type { ExportMembers } from './exportReader.ts';
import { isMember, MANIFEST } from './paths.ts';

export const TAR_BLOCK = 512;
/** Largest member: an entry bundle of 256 entries of 65,535 bytes, a document, a manifest. */
const MAX_MEMBER_BYTES = 256 * 1024 * 1024;

interface Place {
  readonly start: number;
  readonly size: number;
}

/** Opens a tar file of an export for reads in any order: only headers are read now. */
export function openTarFile(path: string): ExportMembers {
  const file = openFile(path);
  try {
    const places = listMembers(file);
    return {
      read: (name) => {
        const place = places.get(name);
        return Promise.resolve(place && readAt(file, place));
      },
      locate: (name) => {
        const place = places.get(name);
        return place && { file, ...place };
      },
      close: () => {
        closeSync(file);
        return Promise.resolve();
      },
    };
  } catch (error) {
    closeSync(file);
    throw error;
  }
}

function openFile(path: string): number {
  try {
    return openSync(path, 'r');
  } catch (error) {
    throw new ExportError('EXPORT_UNREADABLE', `${path} cannot be opened`, error);
  }
}

function listMembers(file: number): ReadonlyMap<string, Place> {
  const { size: end } = fstatSync(file);
  const places = new Map<string, Place>();
  for (let at = 0; ;) {
    if (at + TAR_BLOCK > end)
      throw new ExportError('EXPORT_INCOMPLETE', 'the tar file ends without its end mark');
    const header = readHeader(readAt(file, { start: at, size: TAR_BLOCK }));
    if (!header) return places;
    const { name, size } = header;
    const start = at + TAR_BLOCK;
    if (start + size > end) throw new ExportError('EXPORT_INCOMPLETE', `the tar file ends within ${name}`);
    if (places.has(name)) throw malformed(`${name} stands there twice`);
    places.set(name, { start, size });
    at = start + Math.ceil(size / TAR_BLOCK) * TAR_BLOCK;
  }
}

/** Undefined for the block of zeros that ends a tar file. Links, folders and names outside the layout are refused. */
function readHeader(block: Uint8Array): { readonly name: string; readonly size: number } | undefined {
  const header = new Header(Buffer.from(block.buffer, block.byteOffset, block.byteLength));
  if (header.nullBlock) return undefined;
  const { path = '', size = -1 } = header;
  if (!header.cksumValid || header.type !== 'File') throw malformed('a header is damaged or of no file');
  if (path !== MANIFEST && !isMember(path)) throw malformed(`${path.slice(0, 80)} has no place in an export`);
  if (!(size >= 0 && size <= MAX_MEMBER_BYTES)) throw malformed(`${path} has ${size} bytes`);
  return { name: path, size };
}

function readAt(file: number, { start, size }: Place): Uint8Array {
  const bytes = new Uint8Array(size);
  for (let done = 0; done < size;) {
    const bytesRead = readSync(file, bytes, done, size - done, start + done);
    if (bytesRead === 0) throw new ExportError('EXPORT_INCOMPLETE', 'the tar file became shorter');
    done += bytesRead;
  }
  return bytes;
}

function malformed(detail: string): ExportError {
  return new ExportError('EXPORT_MALFORMED', `tar: ${detail}`);
}
