import { createHash } from 'node:crypto';
import { createGunzip } from 'node:zlib';
import { pipeline } from 'node:stream/promises';
import { Readable, Writable } from 'node:stream';
import { Parser, type ReadEntry } from 'tar';
import { HostingError } from '../hostingErrors.ts';
import { MAX_FILES } from '../release/pathSet.ts';
import type { Staging } from '../release/staging.ts';
import type { Selection } from './selection.ts';

/** Headers, padding and metadata of all entries together, beside the contents. */
const MAX_OVERHEAD = 0x400_0000;
/** Links, devices and folders too: an archive of nothing else is read to its end otherwise. */
const MAX_ENTRIES = 4 * MAX_FILES;
const MAX_META_BYTES = 0x1_0000;
const FILE_TYPES = ['File', 'OldFile', 'ContiguousFile'];
const FOLDER_TYPES = ['Directory', 'GNUDumpDir'];
const GZIP = Buffer.from('1f8b', 'hex');
const ZSTD = Buffer.from('28b52ffd', 'hex');

/**
 * Takes the files of a tar archive, compressed by gzip or not, as they come: nothing is written that is not a regular
 * file with a plain relative path. What is left out is read and counted all the same.
 */
export function importArchive(
  archive: AsyncIterable<Uint8Array>,
  staging: Staging,
  select: Selection,
): Promise<void> {
  return staging.together(async () => {
    const reader = new ArchiveReader(staging, select);
    try {
      const { isGzip, content } = await sniff(archive);
      const source = Readable.from(content, { objectMode: false });
      if (isGzip) await pipeline(source, createGunzip(), reader.writable());
      else await pipeline(source, reader.writable());
    } catch (error) {
      const first = reader.failure ?? error;
      await reader.abandon(first);
      throw toHostingError(first);
    }
  });
}

/** The same for an archive that is a whole model: a folder around all files is left away. */
export async function importModelArchive(
  archive: AsyncIterable<Uint8Array>,
  staging: Staging,
  select: Selection,
): Promise<void> {
  await importArchive(archive, staging, select);
  const folder = commonFolder(staging.files.map(({ path }) => path));
  if (folder !== undefined) staging.strip(folder);
}

/** Hashes an archive while it is read. */
export function digesting(content: AsyncIterable<Uint8Array>): {
  readonly content: AsyncIterable<Uint8Array>;
  readonly digest: () => string;
} {
  const hash = createHash('sha256');
  async function* hashed(): AsyncGenerator<Uint8Array> {
    for await (const piece of content) {
      hash.update(piece);
      yield piece;
    }
  }
  return { content: hashed(), digest: () => hash.digest('hex') };
}

/** A folder that all files lie in: archives of a folder have its name before every path. */
function commonFolder(paths: readonly string[]): string | undefined {
  const [first = ''] = paths;
  const folder = first.includes('/') ? first.slice(0, first.indexOf('/')) : '';
  // A model may consist of the folder `onnx` alone.
  if (folder === '' || folder === 'onnx') return undefined;
  return paths.every((path) => path.startsWith(`${folder}/`)) ? folder : undefined;
}

class ArchiveReader {
  readonly #staging: Staging;
  readonly #select: Selection;
  readonly #parser: Parser;
  #work: Promise<void> = Promise.resolve();
  #entries = 0;
  #bytes = 0;
  #sawEnd = false;
  /** The first bytes, until there are enough to tell a compressed stream. */
  #head: Buffer | undefined = Buffer.alloc(0);
  #current: ReadEntry | undefined;
  /** The first failure; everything after it follows from it. */
  failure: unknown;

  constructor(staging: Staging, select: Selection) {
    this.#staging = staging;
    this.#select = select;
    this.#parser = new Parser({ strict: true, maxMetaEntrySize: MAX_META_BYTES });
    this.#parser.on('entry', (entry: ReadEntry) => {
      this.#work = this.#work.then(() => this.#take(entry)).catch((error: unknown) => {
        this.#fail(error);
        entry.resume();
      });
    });
    this.#parser.on('ignoredEntry', (entry: ReadEntry) => {
      this.#fail(refusedEntry(entry, 'has metadata that is too long, or an unknown type'));
    });
    this.#parser.on('eof', () => (this.#sawEnd = true));
    this.#parser.on('error', (error: unknown) => {
      this.#fail(error);
    });
  }

  writable(): Writable {
    // Room for what is written besides the contents; the contents keep to the quota themselves.
    const maxBytes = this.#staging.left + MAX_OVERHEAD;
    return new Writable({
      write: (piece: Buffer, _, done) => {
        this.#bytes += piece.length;
        if (this.#bytes > maxBytes) this.#fail(tooLarge(maxBytes));
        this.#write(piece, done);
      },
      final: (done) => {
        this.#parser.once('end', () => {
          void this.#work.then(() => {
            if (!this.#sawEnd) this.#fail(new HostingError('SOURCE_TRUNCATED', 'the archive has no end mark'));
            done(this.failure === undefined ? undefined : asError(this.failure));
          });
        });
        if (this.#head !== undefined) this.#fail(new HostingError('SOURCE_MALFORMED', 'the source is empty'));
        this.#parser.end();
      },
    });
  }

  #write(piece: Buffer, done: (error?: Error) => void): void {
    try {
      const ready = this.#feed(piece);
      if (this.failure !== undefined) done(asError(this.failure));
      else if (ready) done();
      else this.#whenReady(done);
    } catch (error) {
      this.#fail(error);
      done(asError(this.failure));
    }
  }

  /** What follows the end mark is padding: the parser would keep it in memory. */
  #feed(piece: Buffer): boolean {
    if (this.failure !== undefined || this.#sawEnd) return true;
    if (this.#head === undefined) return this.#parser.write(piece);
    this.#head = Buffer.concat([this.#head, piece]);
    if (this.#head.length < ZSTD.length) return true;
    const head = this.#head;
    this.#head = undefined;
    // The parser would unpack once more, and nobody would count what comes out.
    if (startsWith(head, GZIP) || startsWith(head, ZSTD)) {
      throw new HostingError('SOURCE_MALFORMED', 'the archive is compressed twice, or with Zstandard');
    }
    return this.#parser.write(head);
  }

  /** Goes on when the parser takes more, or when nothing more is wanted. */
  #whenReady(done: (error?: Error) => void): void {
    const go = (): void => {
      this.#parser.off('drain', go).off('failed', go);
      done(this.failure === undefined ? undefined : asError(this.failure));
    };
    this.#parser.on('drain', go).on('failed', go);
  }

  /** Ends what waits for more of an entry. */
  async abandon(error: unknown): Promise<void> {
    this.failure ??= error;
    this.#current?.on('error', () => undefined).destroy(asError(error));
    await this.#work;
  }

  #fail(error: unknown): void {
    this.failure ??= error;
    this.#parser.emit('failed');
  }

  async #take(entry: ReadEntry): Promise<void> {
    if (this.failure !== undefined) {
      entry.resume();
      return;
    }
    this.#entries += 1;
    if (this.#entries > MAX_ENTRIES) {
      throw new HostingError('TOO_MANY_FILES', `the archive has more than ${MAX_ENTRIES} entries`);
    }
    if (FOLDER_TYPES.includes(entry.type)) {
      entry.resume();
      return;
    }
    const path = entry.path.replace(/^(?:\.\/)+/, '');
    if (!FILE_TYPES.includes(entry.type)) throw refusedEntry(entry, `is a ${entry.type}`);
    if (!this.#select(path)) {
      entry.resume();
      return;
    }
    this.#staging.claim(path);
    await this.#staging.requireRoom([{ size: entry.size }]);
    this.#current = entry;
    try {
      await this.#staging.take(path, this.#contentOf(entry), { size: entry.size });
    } finally {
      this.#current = undefined;
    }
  }

  /** An entry that was abandoned before anybody listened would never end. */
  async *#contentOf(entry: ReadEntry): AsyncGenerator<Uint8Array> {
    if (this.failure !== undefined) throw asError(this.failure);
    for await (const piece of entry as unknown as AsyncIterable<Uint8Array>) yield piece;
  }
}

/** Whether a stream begins like gzip, and the whole of it. */
async function sniff(archive: AsyncIterable<Uint8Array>): Promise<{
  readonly isGzip: boolean;
  readonly content: AsyncIterable<Uint8Array>;
}> {
  const iterator = archive[Symbol.asyncIterator]();
  const head: Uint8Array[] = [];
  let length = 0;
  while (length < GZIP.length) {
    const next = await iterator.next();
    if (next.done === true) break;
    // A source may use one buffer for all pieces.
    head.push(Uint8Array.from(next.value));
    length += next.value.length;
  }
  const first = Buffer.concat(head);
  async function* whole(): AsyncGenerator<Uint8Array> {
    try {
      yield first;
      for (let next = await iterator.next(); !next.done; next = await iterator.next()) yield Uint8Array.from(next.value);
    } finally {
      await iterator.return?.();
    }
  }
  return { isGzip: startsWith(first, GZIP), content: whole() };
}

function startsWith(bytes: Buffer, magic: Buffer): boolean {
  return bytes.subarray(0, magic.length).equals(magic);
}

function tooLarge(maxBytes: number): HostingError {
  return new HostingError('QUOTA_EXCEEDED', `the archive unpacks to more than ${maxBytes} bytes`);
}

function refusedEntry({ path, type }: ReadEntry, detail: string): HostingError {
  return new HostingError('ENTRY_REFUSED', `${JSON.stringify(path.slice(0, 300))} (${type}) ${detail}`);
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

/** What the libraries find wrong with an archive, in our words. */
function toHostingError(error: unknown): unknown {
  if (error instanceof HostingError) return error;
  const { code, tarCode } = error as { readonly code?: unknown; readonly tarCode?: unknown };
  const message = error instanceof Error ? error.message : '';
  if (code === 'Z_BUF_ERROR' || /truncated/i.test(message)) {
    return new HostingError('SOURCE_TRUNCATED', 'the archive ends early', { cause: error });
  }
  const known = typeof tarCode === 'string' || (typeof code === 'string' && /^(?:Z_|TAR_)/.test(code));
  if (!known) return error;
  return new HostingError('SOURCE_MALFORMED', 'the source is no tar archive, or a damaged one', { cause: error });
}
