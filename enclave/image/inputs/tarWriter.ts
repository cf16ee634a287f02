import { createReadStream } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { ImageError } from '../errors.ts';
import { sizeOf, type FileContent, type Tree, type TreeEntry } from '../tree.ts';
import { BLOCK } from './tarHeader.ts';

/** Longest path and target of ustar; longer ones stand in a pax record before their entry. */
const MAX_NAME = 100;
/** Largest file that the octal field has room for: 8 GiB - 1. */
const MAX_FILE = 8 ** 11 - 1;
/** What is collected before it is written, bytes. */
const BATCH = 4 * 1024 * 1024;

/**
 * Writes a tree as a tar archive (POSIX pax): root owns everything, at time zero, in the order of the tree.
 *
 * Not with the headers of `tar`, whose numbers end in a space and a NUL: an archive is a layer of the container, and its
 * digest is what policies name. It is not to change with a version of a library.
 */
export async function writeTar(tree: Tree, path: string): Promise<void> {
  const handle = await open(path, 'w', 0o644).catch((error: unknown) => {
    throw new ImageError('IMAGE_OUTPUT_FAILED', `${path} cannot be written`, { cause: error });
  });
  try {
    const output = new Output(handle);
    for (const [name, entry] of tree.entries()) await writeEntry(output, name, entry);
    await output.add(new Uint8Array(2 * BLOCK));
    await output.flush();
  } finally {
    await handle.close();
  }
}

async function writeEntry(output: Output, name: string, entry: TreeEntry): Promise<void> {
  const path = entry.kind === 'folder' ? `${name}/` : name;
  const target = entry.kind === 'link' ? entry.target : '';
  const records = [paxRecord('path', path), paxRecord('linkpath', target)].filter(
    (record) => record !== undefined,
  );
  if (records.length > 0) {
    const pax = Buffer.concat(records);
    await output.add(
      encodeHeader({ path: 'PaxHeader', target: '', mode: 0o644, size: pax.length, type: 'x' }),
    );
    await output.add(pad(pax));
  }
  const size = entry.kind === 'file' ? sizeOf(entry.content) : 0;
  if (size > MAX_FILE)
    throw new ImageError('IMAGE_TOO_LARGE', `${name} has ${size} bytes; the most is ${MAX_FILE}`);
  const mode = entry.kind === 'link' ? 0o777 : entry.mode;
  const type = { folder: '5', file: '0', link: '2' }[entry.kind];
  await output.add(encodeHeader({ path, target, mode, size, type }));
  if (entry.kind === 'file') await writeContent(output, name, entry.content, size);
}

async function writeContent(output: Output, name: string, content: FileContent, size: number): Promise<void> {
  if (content instanceof Uint8Array) await output.add(content);
  else {
    let read = 0;
    for await (const chunk of createReadStream(content.path, {
      highWaterMark: 1 << 20,
    }) as AsyncIterable<Buffer>) {
      read += chunk.length;
      if (read > size) break;
      await output.add(chunk);
    }
    if (read !== size) throw new ImageError('IMAGE_TREE_INVALID', `${name} changed while the image was made`);
  }
  await output.add(new Uint8Array((BLOCK - (size % BLOCK)) % BLOCK));
}

/** `length key=value\n`; undefined where the header has room. */
function paxRecord(key: string, value: string): Uint8Array | undefined {
  if (Buffer.byteLength(value) <= MAX_NAME) return undefined;
  const rest = ` ${key}=${value}\n`;
  const bytes = Buffer.byteLength(rest);
  let length = bytes + String(bytes).length;
  if (bytes + String(length).length > length) length += 1;
  return Buffer.from(`${length}${rest}`);
}

interface Header {
  readonly path: string;
  readonly target: string;
  readonly mode: number;
  readonly size: number;
  readonly type: string;
}

function encodeHeader({ path, target, mode, size, type }: Header): Uint8Array {
  const block = Buffer.alloc(BLOCK);
  cut(path).copy(block, 0);
  block.write(octal(mode, 8), 100, 'latin1');
  block.write(octal(0, 8), 108, 'latin1');
  block.write(octal(0, 8), 116, 'latin1');
  block.write(octal(size, 12), 124, 'latin1');
  block.write(octal(0, 12), 136, 'latin1');
  block.write(' '.repeat(8), 148, 'latin1');
  block.write(type, 156, 'latin1');
  cut(target).copy(block, 157);
  block.write('ustar\x0000', 257, 'latin1');
  const sum = block.reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return block;
}

/** A longer one is in a pax record: what stands here is for readers that know none. */
function cut(name: string): Buffer {
  return Buffer.from(name).subarray(0, MAX_NAME);
}

function octal(value: number, length: number): string {
  return `${value.toString(8).padStart(length - 1, '0')}\0`;
}

function pad(bytes: Uint8Array): Uint8Array {
  return Buffer.concat([bytes, new Uint8Array((BLOCK - (bytes.length % BLOCK)) % BLOCK)]);
}

/** Writes in large steps: a tree has thousands of small files. */
class Output {
  readonly #handle: FileHandle;
  #waiting: Uint8Array[] = [];
  #bytes = 0;

  constructor(handle: FileHandle) {
    this.#handle = handle;
  }

  async add(bytes: Uint8Array): Promise<void> {
    if (bytes.length === 0) return;
    this.#waiting.push(bytes);
    this.#bytes += bytes.length;
    if (this.#bytes >= BATCH) await this.flush();
  }

  async flush(): Promise<void> {
    const bytes = Buffer.concat(this.#waiting);
    this.#waiting = [];
    this.#bytes = 0;
    await this.#handle.writeFile(bytes).catch((error: unknown) => {
      throw new ImageError('IMAGE_OUTPUT_FAILED', 'A tar archive cannot be written', { cause: error });
    });
  }
}
