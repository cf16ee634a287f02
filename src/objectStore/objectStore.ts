import { createHash, randomUUID } from 'node:crypto';
import { addAbortSignal, Readable } from 'node:stream';
import type * as S3 from '@aws-sdk/client-s3';
import { failureOf, ObjectStoreError, toObjectStoreError } from './errors.ts';

export interface PutOptions {
  /** Leaves an object that is there as it is. */
  readonly ifAbsent?: boolean;
  /** Object lock in compliance mode: nobody can remove this version of the object before. */
  readonly retainUntil?: Date;
}

/** Objects of one bucket below one prefix, whole. Every error is an `ObjectStoreError`. */
export interface ObjectStore {
  /** Content; undefined where there is none. */
  get(key: string): Promise<Uint8Array | undefined>;
  /** Number of bytes; undefined where there is no object. */
  length(key: string): Promise<number | undefined>;
  put(key: string, bytes: Uint8Array, options?: PutOptions): Promise<'written' | 'exists'>;
  /** Does nothing where there is none. */
  remove(key: string): Promise<void>;
  /** Keys that begin with `prefix`, in order. */
  list(prefix: string): AsyncIterable<string>;
  /** The names, each once, that follow `folder` up to the next `/`, which they end with where there is one. */
  names(folder: string): AsyncIterable<string>;
  close(): void;
}

export interface ObjectStoreSettings {
  /** Without it that of Amazon in the region. */
  readonly endpoint?: string | undefined;
  readonly region: string;
  readonly bucket?: string | undefined;
  /** Before every key, without `/` at its ends; empty: none. */
  readonly prefix: string;
  readonly accessKeyId?: string | undefined;
  readonly secretAccessKey?: string | undefined;
  /** The bucket is named in the path instead of the host. */
  readonly pathStyle: boolean;
  /** Longest time of one call with its repetitions. */
  readonly timeoutMs?: number;
  /** How often a call is tried. */
  readonly attempts?: number;
  /** Largest object that is read. */
  readonly maxBytes?: number;
}

const TIMEOUT_MS = 30_000;
const ATTEMPTS = 3;
const CONNECT_MS = 3000;
/** Above an entry bundle of 256 entries of 65,535 bytes, and above the largest body of a request. */
const MAX_BYTES = 64 * 1024 * 1024;

type Sdk = typeof S3;

/** Opens an S3-compatible store. The client is loaded here: it takes memory that others need not pay for. */
export async function openObjectStore(settings: ObjectStoreSettings): Promise<ObjectStore> {
  const { bucket, accessKeyId, secretAccessKey, region, endpoint } = settings;
  if (bucket === undefined || accessKeyId === undefined || secretAccessKey === undefined) {
    throw new ObjectStoreError(
      'OBJECT_STORE_SETTINGS',
      'the bucket, the access key or its secret is not set',
    );
  }
  const timeoutMs = settings.timeoutMs ?? TIMEOUT_MS;
  // It prints a notice about later releases of itself; which one is used is decided by the lock file.
  process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true';
  const sdk = await import('@aws-sdk/client-s3');
  const client = new sdk.S3Client({
    region,
    ...(endpoint !== undefined && { endpoint }),
    forcePathStyle: settings.pathStyle,
    credentials: { accessKeyId, secretAccessKey },
    maxAttempts: settings.attempts ?? ATTEMPTS,
    // Stores other than Amazon's know no trailing checksums. The signature covers the body.
    requestChecksumCalculation: 'WHEN_REQUIRED',
    responseChecksumValidation: 'WHEN_REQUIRED',
    requestHandler: {
      connectionTimeout: Math.min(CONNECT_MS, timeoutMs),
      requestTimeout: timeoutMs,
      throwOnRequestTimeout: true,
    },
  });
  const prefix = settings.prefix === '' ? '' : `${settings.prefix}/`;
  return new S3ObjectStore(sdk, client, {
    bucket,
    prefix,
    timeoutMs,
    maxBytes: settings.maxBytes ?? MAX_BYTES,
  });
}

interface Place {
  readonly bucket: string;
  readonly prefix: string;
  readonly timeoutMs: number;
  readonly maxBytes: number;
}

class S3ObjectStore implements ObjectStore {
  readonly #sdk: Sdk;
  readonly #client: S3.S3Client;
  readonly #place: Place;
  #conditional: Promise<boolean> | undefined;

  constructor(sdk: Sdk, client: S3.S3Client, place: Place) {
    this.#sdk = sdk;
    this.#client = client;
    this.#place = place;
  }

  get(key: string): Promise<Uint8Array | undefined> {
    const input = this.#input(key);
    return this.#unlessMissing(`reading ${key}`, async (abortSignal) => {
      const { Body, ContentLength } = await this.#client.send(new this.#sdk.GetObjectCommand(input), {
        abortSignal,
      });
      if (!(Body instanceof Readable)) throw new ObjectStoreError('OBJECT_STORE_UNAVAILABLE', 'no body');
      return readBounded(addAbortSignal(abortSignal, Body), key, ContentLength, this.#place.maxBytes);
    });
  }

  length(key: string): Promise<number | undefined> {
    const input = this.#input(key);
    return this.#unlessMissing(`looking for ${key}`, async (abortSignal) => {
      const command = new this.#sdk.HeadObjectCommand(input);
      return (await this.#client.send(command, { abortSignal })).ContentLength ?? 0;
    });
  }

  async put(
    key: string,
    bytes: Uint8Array,
    { ifAbsent = false, retainUntil }: PutOptions = {},
  ): Promise<'written' | 'exists'> {
    const input = { ...this.#input(key), Body: bytes, ...(retainUntil && retention(bytes, retainUntil)) };
    if (!ifAbsent) return this.#put(input);
    if (await this.#knowsConditions()) return this.#put({ ...input, IfNoneMatch: '*' });
    return (await this.length(key)) === undefined ? this.#put(input) : 'exists';
  }

  async remove(key: string): Promise<void> {
    const command = new this.#sdk.DeleteObjectCommand(this.#input(key));
    await this.#unlessMissing(`removing ${key}`, (abortSignal) =>
      this.#client.send(command, { abortSignal }),
    );
  }

  async *list(prefix: string): AsyncIterable<string> {
    for await (const { keys } of this.#pages(prefix)) yield* keys;
  }

  async *names(folder: string): AsyncIterable<string> {
    const start = `${folder}/`;
    for await (const { keys, folders } of this.#pages(start, '/')) {
      for (const path of [...keys, ...folders].sort()) yield path.slice(start.length);
    }
  }

  close(): void {
    this.#client.destroy();
  }

  async *#pages(
    prefix: string,
    delimiter?: string,
  ): AsyncIterable<{ readonly keys: readonly string[]; readonly folders: readonly string[] }> {
    const { bucket, prefix: before } = this.#place;
    const own = (path: string | undefined): readonly string[] =>
      path?.startsWith(before) ? [path.slice(before.length)] : [];
    for (let token: string | undefined, more = true; more;) {
      const command = new this.#sdk.ListObjectsV2Command({
        Bucket: bucket,
        Prefix: `${before}${prefix}`,
        Delimiter: delimiter,
        ContinuationToken: token,
      });
      const page = await this.#call(`listing ${prefix}`, (abortSignal) =>
        this.#client.send(command, { abortSignal }),
      );
      yield {
        keys: (page.Contents ?? []).flatMap(({ Key }) => own(Key)),
        folders: (page.CommonPrefixes ?? []).flatMap(({ Prefix }) => own(Prefix)),
      };
      token = page.NextContinuationToken;
      more = page.IsTruncated === true && token !== undefined;
    }
  }

  async #put(input: S3.PutObjectCommandInput): Promise<'written' | 'exists'> {
    const what = `writing ${input.Key ?? ''}`;
    try {
      const command = new this.#sdk.PutObjectCommand(input);
      await this.#client.send(command, { abortSignal: AbortSignal.timeout(this.#place.timeoutMs) });
      return 'written';
    } catch (error) {
      if (input.IfNoneMatch !== undefined && failureOf(error).status === 412) return 'exists';
      throw toObjectStoreError(error, what);
    }
  }

  /** Whether the store honours `If-None-Match: *`: some ignore it, some refuse it. Asked of it once, by writing twice. */
  #knowsConditions(): Promise<boolean> {
    this.#conditional ??= this.#probe().catch((error: unknown) => {
      this.#conditional = undefined;
      throw error;
    });
    return this.#conditional;
  }

  async #probe(): Promise<boolean> {
    const key = `probe/${randomUUID()}`;
    const input = { ...this.#input(key), Body: new Uint8Array(0) };
    await this.#put(input);
    try {
      return (await this.#put({ ...input, IfNoneMatch: '*' })) === 'exists';
    } catch (error) {
      if ([400, 501].includes(failureOf((error as ObjectStoreError).cause).status)) return false;
      throw error;
    } finally {
      await this.remove(key);
    }
  }

  #input(key: string): { readonly Bucket: string; readonly Key: string } {
    const segments = key.split('/');
    const isSegment = (segment: string): boolean =>
      /^[A-Za-z0-9._-]+$/.test(segment) && !/^\.+$/.test(segment);
    if (key.length > 900 || !segments.every(isSegment)) {
      throw new ObjectStoreError('OBJECT_STORE_KEY', `${JSON.stringify(key)} is no key`);
    }
    return { Bucket: this.#place.bucket, Key: `${this.#place.prefix}${key}` };
  }

  async #call<Result>(what: string, work: (abortSignal: AbortSignal) => Promise<Result>): Promise<Result> {
    try {
      return await work(AbortSignal.timeout(this.#place.timeoutMs));
    } catch (error) {
      throw toObjectStoreError(error, what);
    }
  }

  async #unlessMissing<Result>(
    what: string,
    work: (abortSignal: AbortSignal) => Promise<Result>,
  ): Promise<Result | undefined> {
    try {
      return await work(AbortSignal.timeout(this.#place.timeoutMs));
    } catch (error) {
      const { name, status } = failureOf(error);
      // A HEAD without a body says no more than 404, also where the bucket is missing.
      if (status === 404 && name !== 'NoSuchBucket') return undefined;
      throw toObjectStoreError(error, what);
    }
  }
}

/** Stores want a digest with a locked object. */
function retention(bytes: Uint8Array, until: Date): Partial<S3.PutObjectCommandInput> {
  return {
    ObjectLockMode: 'COMPLIANCE',
    ObjectLockRetainUntilDate: until,
    ChecksumSHA256: createHash('sha256').update(bytes).digest('base64'),
  };
}

async function readBounded(
  body: Readable,
  key: string,
  length: number | undefined,
  maxBytes: number,
): Promise<Uint8Array> {
  const tooLarge = (): ObjectStoreError =>
    new ObjectStoreError('OBJECT_STORE_TOO_LARGE', `${key} has more than ${maxBytes} bytes`);
  try {
    if (length !== undefined && length > maxBytes) throw tooLarge();
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    for await (const chunk of body as AsyncIterable<Uint8Array>) {
      bytes += chunk.length;
      if (bytes > maxBytes) throw tooLarge();
      chunks.push(chunk);
    }
    if (length !== undefined && bytes !== length) {
      throw new ObjectStoreError(
        'OBJECT_STORE_UNAVAILABLE',
        `${key} ended after ${bytes} of ${length} bytes`,
      );
    }
    return Buffer.concat(chunks);
  } finally {
    body.destroy();
  }
}
