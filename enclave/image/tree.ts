/** What stands at one path of a file system that the builder makes. Owner is root, and the time is zero, everywhere. */
export type TreeEntry =
  | { readonly kind: 'folder'; readonly mode: number }
  | { readonly kind: 'file'; readonly mode: number; readonly content: FileContent }
  | { readonly kind: 'link'; readonly target: string };

/** Bytes in memory, or a file of the build machine that is read when it is needed. */
export type FileContent = Uint8Array | { readonly path: string; readonly size: number };

export function sizeOf(content: FileContent): number {
  return content instanceof Uint8Array ? content.length : content.size;
}

/**
 * Paths from the root, without a leading slash, and what stands there. Nothing of the build machine is in it: neither
 * owners nor times, nor the order in which a folder is read.
 */
export class Tree {
  readonly #entries = new Map<string, TreeEntry>();

  /** Adds an entry, and the folders above it. What stands there already is replaced. */
  add(path: string, entry: TreeEntry): void {
    if (!/^(?!\.{0,2}(\/|$))[^\0]+$/.test(path) || /(^|\/)\.{0,2}(\/|$)/.test(path)) {
      throw new TypeError(`${path} is no path below the root`);
    }
    for (let end = path.indexOf('/'); end > 0; end = path.indexOf('/', end + 1)) {
      const above = path.slice(0, end);
      if (!this.#entries.has(above)) this.#entries.set(above, { kind: 'folder', mode: 0o755 });
    }
    this.#entries.set(path, entry);
  }

  get(path: string): TreeEntry | undefined {
    return this.#entries.get(path);
  }

  /** Sorted by their UTF-8 bytes: folders before what is in them, and the same everywhere. */
  entries(): readonly (readonly [path: string, entry: TreeEntry])[] {
    return [...this.#entries].sort(([a], [b]) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
  }
}
