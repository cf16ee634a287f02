import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ImageError } from '../errors.ts';
import { addressesOf, DEFAULT_MIRRORS } from './addresses.ts';
import { download, type Expected } from './download.ts';
import type { Archive, Pin } from './pins.ts';

export interface CacheOptions {
  /** Made where it is missing. Others may read it; what it holds is compared with the pins at each use. */
  readonly folder: string;
  /** Addresses, or paths of files, with `{archive}`, `{snapshot}` and `{path}`; asked in this order. */
  readonly mirrors?: readonly string[] | undefined;
  /** Of npm; without one its packages are not fetched. */
  readonly registry?: string | undefined;
  /** When a snapshot archive is asked, as the list of pins says. */
  readonly snapshots?: Readonly<Partial<Record<Archive, string>>> | undefined;
  /** Nothing is fetched. */
  readonly offline?: boolean | undefined;
  readonly onProgress?: ((progress: CacheProgress) => void) | undefined;
}

/** An input is being fetched. */
export interface CacheProgress {
  readonly name: string;
  readonly received: number;
  /** Undefined where only the digest is pinned. */
  readonly total: number | undefined;
}

/** A file that is as it was pinned. */
export interface CachedFile {
  readonly path: string;
  readonly bytes: number;
  /** Lower-case hex. */
  readonly sha256: string;
}

/** Downloads at a time. */
const MAX_DOWNLOADS = 8;

/** Inputs of images by their digest, fetched where they are missing. */
export class InputCache {
  readonly #options: CacheOptions;
  readonly #files = new Map<string, Promise<CachedFile>>();
  readonly #lanes: Promise<unknown>[] = [];
  #turn = 0;

  constructor(options: CacheOptions) {
    this.#options = options;
  }

  async file(pin: Pin): Promise<string> {
    return (await this.get(pin)).path;
  }

  /** Compares the file with its pin once for each cache object. */
  get(pin: Pin): Promise<CachedFile> {
    const expected = expectedOf(pin);
    const key = `${expected.algorithm}-${expected.digest}`;
    const known = this.#files.get(key);
    if (known !== undefined) return known;
    const file = this.#find(pin, expected, join(this.#options.folder, key));
    this.#files.set(key, file);
    file.catch(() => this.#files.delete(key));
    return file;
  }

  async #find(pin: Pin, expected: Expected, path: string): Promise<CachedFile> {
    const found = await measure(path, expected);
    if (found !== undefined && isExpected(found, expected)) return toFile(path, found);
    const {
      offline = false,
      mirrors = DEFAULT_MIRRORS,
      registry,
      snapshots = {},
      onProgress,
    } = this.#options;
    const what = `${pin.name} ${pin.version}`;
    if (offline) {
      throw found === undefined
        ? new ImageError('IMAGE_INPUT_UNAVAILABLE', `${what} is not in the cache, and nothing is fetched`)
        : new ImageError('IMAGE_INPUT_CHANGED', `${what} in the cache is not the file that is pinned`);
    }
    await mkdir(this.#options.folder, { recursive: true });
    if (found !== undefined) await rm(path, { force: true });
    const addresses =
      pin.kind === 'npm' && registry === undefined
        ? []
        : addressesOf(pin, mirrors, registry ?? '', snapshots);
    const received = (bytes: number) => onProgress?.({ name: what, received: bytes, total: expected.bytes });
    await this.#inLane(() => download({ what, addresses, expected, path, onProgress: received }));
    const fetched = await measure(path, expected);
    if (fetched === undefined || !isExpected(fetched, expected)) {
      throw new ImageError('IMAGE_INPUT_CHANGED', `${what} changed in the cache while it was fetched`);
    }
    return toFile(path, fetched);
  }

  /** Registries refuse hundreds of connections at once. */
  #inLane<Result>(work: () => Promise<Result>): Promise<Result> {
    const lane = this.#turn++ % MAX_DOWNLOADS;
    const result = (this.#lanes[lane] ?? Promise.resolve()).then(work);
    this.#lanes[lane] = result.catch(() => undefined);
    return result;
  }
}

function expectedOf(pin: Pin): Expected {
  if (pin.kind !== 'npm') return { algorithm: 'sha256', digest: pin.sha256, bytes: pin.bytes };
  const digest = Buffer.from(pin.integrity.slice('sha512-'.length), 'base64').toString('hex');
  return { algorithm: 'sha512', digest, bytes: undefined };
}

function toFile(path: string, { bytes, sha256 }: Measured): CachedFile {
  return { path, bytes, sha256 };
}

interface Measured {
  readonly bytes: number;
  readonly sha256: string;
  readonly digest: string;
}

/** Undefined where there is no file. */
async function measure(path: string, { algorithm, bytes }: Expected): Promise<Measured | undefined> {
  const found = await stat(path).catch(() => undefined);
  if (found === undefined) return undefined;
  if (!found.isFile() || (bytes !== undefined && found.size !== bytes)) {
    return { bytes: found.size, sha256: '', digest: '' };
  }
  const sha256 = createHash('sha256');
  const other = algorithm === 'sha256' ? undefined : createHash(algorithm);
  let size = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>) {
    size += chunk.length;
    sha256.update(chunk);
    other?.update(chunk);
  }
  const hex = sha256.digest('hex');
  return { bytes: size, sha256: hex, digest: other?.digest('hex') ?? hex };
}

function isExpected({ bytes, digest }: Measured, expected: Expected): boolean {
  return digest === expected.digest && (expected.bytes === undefined || expected.bytes === bytes);
}
