import { createHash, randomUUID } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { open, rename, rm, type FileHandle } from 'node:fs/promises';
import { ImageError } from '../errors.ts';

/** A file is refused as soon as it is larger than its pin says, or than this where only its digest is pinned. */
const MAX_BYTES = 512 * 1024 * 1024;
/** A mirror that says nothing for so long is left. Milliseconds. */
const SILENCE = 60_000;

/** What a download has to be. */
export interface Expected {
  readonly algorithm: 'sha256' | 'sha512';
  /** Lower-case hex. */
  readonly digest: string;
  readonly bytes: number | undefined;
}

interface Download {
  /** Name and version, for messages. */
  readonly what: string;
  readonly addresses: readonly string[];
  readonly expected: Expected;
  readonly path: string;
  readonly onProgress: (received: number) => void;
}

/** Bytes so far, which any mirror may go on with: all of them have the same file. */
interface Partial {
  readonly handle: FileHandle;
  received: number;
}

/**
 * Fetches a file from the first address that has it. It stands at `path`, whole and as expected, or not at all: several
 * builds may fetch it at once. Where a mirror breaks off, the next one goes on from there; each is asked twice.
 */
export async function download({ what, addresses, expected, path, onProgress }: Download): Promise<void> {
  const temporary = `${path}.${randomUUID()}.part`;
  const handle = await open(temporary, 'wx+', 0o644);
  const partial: Partial = { handle, received: 0 };
  const failures: Error[] = [];
  try {
    for (const address of [...addresses, ...addresses]) {
      const failure = await attempt(partial, address, expected, onProgress);
      if (failure === undefined) {
        await handle.close();
        await rename(temporary, path);
        return;
      }
      failures.push(failure);
    }
  } finally {
    await handle.close().catch(() => undefined);
    await rm(temporary, { force: true });
  }
  const changed = failures.find((failure) => failure instanceof ImageError);
  if (changed !== undefined) throw new ImageError('IMAGE_INPUT_CHANGED', `${what}: ${changed.message}`);
  throw new ImageError(
    'IMAGE_INPUT_UNAVAILABLE',
    `${what} cannot be fetched: ${reasons(addresses, failures)}`,
    {
      cause: new AggregateError(failures),
    },
  );
}

function reasons(addresses: readonly string[], failures: readonly Error[]): string {
  if (addresses.length === 0) return 'no address is known';
  return addresses
    .map((address, index) => `${hostOf(address)}: ${failures[index]?.message ?? ''}`)
    .join('; ');
}

function hostOf(address: string): string {
  return isWeb(address) && URL.canParse(address) ? new URL(address).host : address;
}

/** Undefined when the file is complete and as expected. */
async function attempt(
  partial: Partial,
  address: string,
  expected: Expected,
  onProgress: (received: number) => void,
): Promise<Error | undefined> {
  const resumed = partial.received > 0;
  try {
    await receive(partial, address, expected, onProgress);
    await compare(partial, expected);
    return undefined;
  } catch (error) {
    if (error instanceof ImageError && error.code === 'IMAGE_OUTPUT_FAILED') throw error;
    if (error instanceof ImageError) {
      partial.received = 0;
      // One of two mirrors sent other bytes: the second one alone may be right.
      return resumed ? await attempt(partial, address, expected, onProgress) : error;
    }
    return error instanceof Error ? error : new Error(String(error));
  }
}

async function receive(
  partial: Partial,
  address: string,
  { bytes: limit = MAX_BYTES }: Expected,
  onProgress: (received: number) => void,
): Promise<void> {
  const abort = new AbortController();
  const silence = setTimeout(() => abort.abort(new Error(`no byte for ${SILENCE / 1000} s`)), SILENCE);
  try {
    const body = isWeb(address) ? await request(partial, address, abort.signal) : openFile(partial, address);
    for await (const chunk of body) {
      silence.refresh();
      if (partial.received + chunk.length > limit) throw changed(`it is larger than ${limit} bytes`);
      await writeAll(partial, chunk);
      onProgress(partial.received);
    }
  } finally {
    clearTimeout(silence);
    abort.abort();
  }
}

function isWeb(address: string): boolean {
  return /^https?:\/\//.test(address);
}

async function request(
  partial: Partial,
  address: string,
  signal: AbortSignal,
): Promise<AsyncIterable<Uint8Array>> {
  const headers = partial.received > 0 ? { range: `bytes=${partial.received}-` } : {};
  const response = await fetch(address, { headers, signal });
  if (!response.ok || response.body === null) throw new Error(`status ${response.status}`);
  if (response.status !== 206) partial.received = 0;
  return response.body;
}

/** An archive of inputs is laid out as mirrors are. */
function openFile(partial: Partial, path: string): AsyncIterable<Uint8Array> {
  partial.received = 0;
  return createReadStream(path, { highWaterMark: 1 << 20 });
}

async function writeAll(partial: Partial, chunk: Uint8Array): Promise<void> {
  for (let done = 0; done < chunk.length;) {
    const { bytesWritten } = await partial.handle
      .write(chunk, done, chunk.length - done, partial.received)
      .catch((error: unknown) => {
        throw new ImageError('IMAGE_OUTPUT_FAILED', 'The cache cannot be written', { cause: error });
      });
    done += bytesWritten;
    partial.received += bytesWritten;
  }
}

/** Reads back what was written: what is renamed is what was compared. */
async function compare({ handle, received }: Partial, { algorithm, digest, bytes }: Expected): Promise<void> {
  if (bytes !== undefined && received < bytes) throw new Error(`ended after ${received} of ${bytes} bytes`);
  await handle.truncate(received);
  const hash = createHash(algorithm);
  const buffer = new Uint8Array(1 << 20);
  for (let at = 0; at < received;) {
    const { bytesRead } = await handle.read(buffer, 0, buffer.length, at);
    if (bytesRead === 0) throw new Error('the file became shorter');
    hash.update(buffer.subarray(0, bytesRead));
    at += bytesRead;
  }
  if (hash.digest('hex') !== digest) throw changed('its digest is another one');
}

function changed(detail: string): ImageError {
  return new ImageError('IMAGE_INPUT_CHANGED', detail);
}
