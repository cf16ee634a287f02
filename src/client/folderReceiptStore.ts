import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod';
import {
  equalBytes,
  fromBase64Url,
  fromHex,
  toBase64Url,
  toHex,
  utf8,
} from '../../attestation/bytes/bytes.ts';
import { Refusal } from '../../attestation/errors.ts';
import { ClientError } from './errors.ts';
import {
  DEFAULT_STORE_BYTES,
  requireId,
  sizeOf,
  storeFull,
  type ReceiptRecord,
  type ReceiptStore,
  type StoreLimits,
} from './receiptStore.ts';

/** Files of one record. Those that `vouchsafe verify FOLDER` reads have the names that it knows. */
const FILE = {
  about: 'record.json',
  receipt: 'receipt.cose',
  bundle: 'bundle.cbor',
  request: 'request.bin',
  response: 'response.bin',
  commitmentKey: 'commitment-key.txt',
  nonce: 'nonce.txt',
} as const;

/** Records that are being written stand beside the others until they are whole. */
const PARTIAL = '.partial-';
/** Content is for the owner's eyes only. */
const FOLDER_MODE = 0o700;
const FILE_MODE = 0o600;

const FORMAT = 'vouchsafe/receipt-record/1';
const aboutSchema = z.strictObject({
  format: z.literal(FORMAT),
  id: z.string(),
  time: z.number(),
  path: z.string(),
  status: z.int(),
  contentType: z.string(),
});

/**
 * Keeps receipts in a folder, for Node: one folder for each, by its id. A record is there whole and on the disk, or it is
 * not there. What is beside the records is not touched.
 */
export class FolderReceiptStore implements ReceiptStore {
  readonly #folder: string;
  readonly #maxBytes: number;
  #bytes: number;

  private constructor(folder: string, maxBytes: number, bytes: number) {
    this.#folder = folder;
    this.#maxBytes = maxBytes;
    this.#bytes = bytes;
  }

  /** Opens a folder, which is made where its parent is there. Counts what it holds once. */
  static async open(
    folder: string,
    { maxBytes = DEFAULT_STORE_BYTES }: StoreLimits = {},
  ): Promise<FolderReceiptStore> {
    try {
      await mkdir(folder, { mode: FOLDER_MODE }).catch((error: unknown) => {
        if (codeOf(error) !== 'EEXIST') throw error;
      });
      const names = (await readdir(folder)).filter(isId);
      const sizes = await inTurn(names, (name) => bytesIn(join(folder, name)));
      const bytes = sizes.reduce((total, size) => total + size, 0);
      return new FolderReceiptStore(folder, maxBytes, bytes);
    } catch (error) {
      throw failed(`${folder} cannot be used: ${codeOf(error)}`, error);
    }
  }

  async put(record: ReceiptRecord): Promise<void> {
    const id = requireId(record.id);
    const size = sizeOf(record);
    if (this.#bytes + size > this.#maxBytes) throw storeFull(this.#maxBytes);
    this.#bytes += size;
    const partial = join(this.#folder, PARTIAL + randomBytes(8).toString('hex'));
    try {
      await mkdir(partial, { mode: FOLDER_MODE });
      await Promise.all(filesOf(record).map(([name, content]) => write(join(partial, name), content)));
      await sync(partial);
      await rename(partial, join(this.#folder, id));
      await sync(this.#folder);
    } catch (error) {
      this.#bytes -= size;
      await rm(partial, { recursive: true, force: true });
      if (!(await this.#hasKept(record))) throw failed(`${id} was not kept: ${codeOf(error)}`, error);
    }
  }

  /** Undefined where there is none; throws `RECORD_INVALID` where it is damaged. */
  async get(id: string): Promise<ReceiptRecord | undefined> {
    const folder = join(this.#folder, requireId(id));
    const read = (name: string): Promise<Uint8Array> => readFile(join(folder, name));
    try {
      const about = aboutSchema.parse(JSON.parse((await read(FILE.about)).toString()));
      if (about.id !== id)
        throw new ClientError('RECORD_INVALID', `${id} holds the record of another receipt`);
      return {
        id,
        time: about.time,
        path: about.path,
        status: about.status,
        contentType: about.contentType,
        nonce: fromHex((await read(FILE.nonce)).toString().trim()),
        k: fromBase64Url((await read(FILE.commitmentKey)).toString().trim()),
        request: await read(FILE.request),
        response: await read(FILE.response),
        receipt: await read(FILE.receipt),
        bundle: await absentOr(read(FILE.bundle)),
      };
    } catch (error) {
      if (codeOf(error) === 'ENOENT' && !(await absentOr(stat(folder)))) return undefined;
      if (error instanceof ClientError) throw error;
      const isDamage = [SyntaxError, z.ZodError, Refusal].some((kind) => error instanceof kind);
      if (isDamage || codeOf(error) === 'ENOENT') {
        throw new ClientError('RECORD_INVALID', `the record of ${id} cannot be read`, { cause: error });
      }
      throw failed(`the record of ${id} cannot be read: ${codeOf(error)}`, error);
    }
  }

  /** In no order that means something. */
  async ids(): Promise<readonly string[]> {
    return (await readdir(this.#folder)).filter(isId);
  }

  async delete(id: string): Promise<void> {
    const folder = join(this.#folder, requireId(id));
    const size = await bytesIn(folder);
    await rm(folder, { recursive: true, force: true });
    this.#bytes -= size;
  }

  /** Whether this very receipt is there: an answer may be given twice. */
  async #hasKept({ id, receipt }: ReceiptRecord): Promise<boolean> {
    const kept = await absentOr(readFile(join(this.#folder, id, FILE.receipt)));
    return kept !== undefined && equalBytes(kept, receipt);
  }
}

function filesOf(record: ReceiptRecord): readonly (readonly [string, Uint8Array])[] {
  const { id, time, path, status, contentType, nonce, k, request, response, receipt, bundle } = record;
  const about = { format: FORMAT, id, time, path, status, contentType };
  return [
    [FILE.about, utf8(`${JSON.stringify(about)}\n`)],
    [FILE.receipt, receipt],
    [FILE.request, request],
    [FILE.response, response],
    [FILE.commitmentKey, utf8(`${toBase64Url(k)}\n`)],
    [FILE.nonce, utf8(`${toHex(nonce)}\n`)],
    ...(bundle ? ([[FILE.bundle, bundle]] as const) : []),
  ];
}

function isId(name: string): boolean {
  return /^[0-9a-f]{32}$/.test(name);
}

/** As the record counts: its few lines about itself do not. */
async function bytesIn(folder: string): Promise<number> {
  const names = (await absentOr(readdir(folder))) ?? [];
  const sizes = await inTurn(
    names.filter((name) => name !== FILE.about),
    async (name) => (await absentOr(stat(join(folder, name))))?.size ?? 0,
  );
  return sizes.reduce((total, size) => total + size, 0);
}

/** A folder of many records does not open all at once. */
async function inTurn<T, R>(items: readonly T[], step: (item: T) => Promise<R>): Promise<readonly R[]> {
  const results: R[] = [];
  for (const item of items) results.push(await step(item));
  return results;
}

async function write(path: string, content: Uint8Array): Promise<void> {
  const file = await open(path, 'wx', FILE_MODE);
  try {
    await file.writeFile(content);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Names are on the disk once their folder is. Windows opens no folders; its file system keeps names by itself. */
async function sync(folder: string): Promise<void> {
  const handle = await open(folder, 'r').catch(() => undefined);
  try {
    await handle?.sync();
  } finally {
    await handle?.close();
  }
}

async function absentOr<T>(step: Promise<T>): Promise<T | undefined> {
  try {
    return await step;
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException | undefined)?.code ?? 'an unknown error';
}

function failed(message: string, cause: unknown): ClientError {
  return new ClientError('STORE_FAILED', message, { cause });
}
