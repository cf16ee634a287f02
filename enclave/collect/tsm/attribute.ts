import { constants } from 'node:fs';
import { open, stat, type FileHandle } from 'node:fs/promises';
import { CollectError } from '../errors.ts';
import { errnoOf, toCollectError } from './systemError.ts';

/** configfs hands out one page for an attribute of text. */
const MAX_TEXT_BYTES = 4096;

/**
 * All of a binary attribute, read to its end on one descriptor, which keeps the blob of its first read. The size that
 * the file system states is 0, so nothing is taken from there. More than `maxBytes` are refused before they are kept.
 */
export async function readBlob(path: string, maxBytes: number): Promise<Uint8Array> {
  return withAttribute(path, constants.O_RDONLY, 'read', async (file) => {
    const buffer = new Uint8Array(maxBytes + 1);
    let length = 0;
    while (length < buffer.length) {
      const { bytesRead } = await file.read(buffer, length, buffer.length - length, null);
      if (bytesRead === 0) return buffer.slice(0, length);
      length += bytesRead;
    }
    throw new CollectError('EVIDENCE_MALFORMED', `${path} has more than ${maxBytes} bytes`);
  });
}

/** An attribute of one line of ASCII, without its line feed. */
export async function readLine(path: string): Promise<string> {
  const text = Buffer.from(await readBlob(path, MAX_TEXT_BYTES)).toString('latin1');
  const [, line] = /^([\x20-\x7e]+)\n$/.exec(text) ?? [];
  if (line === undefined) throw new CollectError('EVIDENCE_MALFORMED', `${path} is not one line of text`);
  return line;
}

/** A decimal attribute; an unsigned long of the kernel, so up to 20 digits. */
export async function readNumber(path: string): Promise<bigint> {
  const line = await readLine(path);
  if (!/^(?:0|[1-9][0-9]{0,19})$/.test(line)) {
    throw new CollectError('EVIDENCE_MALFORMED', `${path} is ${JSON.stringify(line)}, not a number`);
  }
  return BigInt(line);
}

/**
 * Writes an attribute in one write. Of a binary one the kernel takes what was written when it is closed and tells
 * nobody what came of it: the caller looks at the generation afterwards.
 */
export async function writeAttribute(path: string, value: Uint8Array): Promise<void> {
  await withAttribute(path, constants.O_WRONLY, 'write', async (file) => {
    const { bytesWritten } = await file.write(value, 0, value.length, null);
    if (bytesWritten !== value.length) {
      throw new CollectError('DEVICE_REFUSED', `${path} took ${bytesWritten} of ${value.length} bytes`);
    }
  });
}

/** Whether the driver offers the attribute on this machine. */
export async function isVisible(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw toCollectError(error, `cannot look at ${path}`);
  }
}

async function withAttribute<T>(
  path: string,
  flags: number,
  verb: string,
  use: (file: FileHandle) => Promise<T>,
): Promise<T> {
  try {
    const file = await open(path, flags);
    try {
      return await use(file);
    } finally {
      await file.close();
    }
  } catch (error) {
    throw toCollectError(error, `cannot ${verb} ${path}`);
  }
}
