import { FileRefused } from '../errors.ts';
import { plainSegments } from '../files.ts';
import { HostingError } from '../hostingErrors.ts';

/** Most files of one release. */
export const MAX_FILES = 4096;
/** Longest path: eight parts of 255 characters with what divides them are shorter. */
export const MAX_PATH_LENGTH = 2048;

/**
 * Paths of one release. No two may meet in one place on a file system that does not tell upper from lower case, and
 * none may be both a file and a folder: what is signed on one system must be what is read on another.
 */
export class PathSet {
  /** Lower-case path to what it is; folders are every prefix of a file. */
  readonly #taken = new Map<string, 'file' | { readonly folder: string }>();
  #files = 0;

  /** Takes the path of a file, or refuses it. */
  add(path: string): void {
    const segments = requirePlain(path);
    const folders = segments.slice(1).map((_, i) => segments.slice(0, i + 1).join('/'));
    for (const folder of folders) {
      const other = this.#taken.get(folder.toLowerCase());
      if (other !== undefined && (other === 'file' || other.folder !== folder)) throw twice(path);
    }
    if (this.#taken.has(path.toLowerCase())) throw twice(path);
    if (this.#files >= MAX_FILES) {
      throw new HostingError('TOO_MANY_FILES', `there are more than ${MAX_FILES} files`);
    }
    this.#files += 1;
    this.#taken.set(path.toLowerCase(), 'file');
    for (const folder of folders) this.#taken.set(folder.toLowerCase(), { folder });
  }
}

function twice(path: string): HostingError {
  return new HostingError('PATH_TWICE', `${JSON.stringify(path)} meets another file or folder`);
}

/** Segments of a plain relative path. */
export function requirePlain(path: string): readonly string[] {
  try {
    return plainSegments(path);
  } catch (error) {
    if (!(error instanceof FileRefused)) throw error;
    throw new HostingError('PATH_REFUSED', `${JSON.stringify(path.slice(0, 300))} ${error.message}`);
  }
}
