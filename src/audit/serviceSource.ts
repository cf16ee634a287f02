import * as z from 'zod';
import { parseDocument } from '../../attestation/evidence/document.ts';
import { Refusal } from '../../attestation/errors.ts';
import { parseCheckpoint } from '../../attestation/log/checkpoint.ts';
import { parseNote } from '../../attestation/log/note.ts';
import { fullTiles, partialWidth, TILE_WIDTH, tilePath } from '../../attestation/log/tiles.ts';
import type { ArchiveSource, InstanceFiles } from '../export/source.ts';
import { AuditError } from './errors.ts';

/** Largest answer: an entry bundle of 256 entries of 65,535 bytes. */
const MAX_ANSWER_BYTES = 17 * 1024 * 1024;
const MAX_INSTANCES = 100_000;
const TIMEOUT_MS = 60_000;
const ATTEMPTS = 3;

const listSchema = z.object({
  instances: z.array(z.object({ instance: z.string().regex(/^[0-9a-f]{32}$/) })).max(MAX_INSTANCES),
});
const logSchema = z.object({ origin: z.string().min(1).max(255), entries: z.int().min(0).optional() });
const sizesSchema = z.object({ sizes: z.array(z.int().min(0)) });

/**
 * The logs of a running service, by the paths of C2SP tlog-tiles below `/log/instances/<hex>/`. Entries, documents,
 * collateral and anchors are given to auditors alone. Who answers can withhold; all else is verified as in a file.
 */
export function openService(address: string, key: string | undefined): ArchiveSource {
  const service = new ServiceReader(address, key);
  return {
    instances: async () => {
      const { instances } = await service.json('/log/instances', listSchema);
      const found: InstanceFiles[] = [];
      for (const [i, { instance }] of instances.entries())
        found.push(await openLog(service, instance, i + 1));
      return found;
    },
    close: () => Promise.resolve(),
  };
}

async function openLog(service: ServiceReader, instance: string, created: number): Promise<InstanceFiles> {
  const prefix = `/log/instances/${instance}`;
  const { entries, origin } = await service.json(prefix, logSchema);
  // One state for the whole audit: the log grows meanwhile.
  const checkpoint = await service.bytes(`${prefix}/checkpoint`);
  const size = Math.max(entries ?? 0, checkpoint ? parseCheckpoint(parseNote(checkpoint).text).size : 0);
  return {
    instance,
    origin,
    created,
    async *paths() {
      if (checkpoint) yield 'checkpoint';
      yield* bundlePaths(size);
      yield* listDocuments(service, prefix, size);
      const anchors = await service.optionalJson(`${prefix}/anchors`, sizesSchema);
      for (const anchored of anchors?.sizes.filter((seen) => seen <= size) ?? [])
        yield `anchors/${anchored}.cbor`;
    },
    read: async (path) => (path === 'checkpoint' ? checkpoint?.slice() : service.bytes(`${prefix}/${path}`)),
  };
}

function* bundlePaths(size: number): Generator<string> {
  const full = fullTiles(0, size);
  for (let index = 0; index < full; index++) yield tilePath({ level: 'entries', index, width: TILE_WIDTH });
  const width = partialWidth(0, size);
  if (width > 0) yield tilePath({ level: 'entries', index: full, width });
}

/**
 * Documents are numbered without a gap: the first that is not there ends the line, or one over a larger log, which was
 * made after the checkpoint was read. What entries below `size` cite was there before them.
 */
async function* listDocuments(service: ServiceReader, prefix: string, size: number): AsyncGenerator<string> {
  for (let seq = 0; ; seq++) {
    const path = `evidence/${seq}.cbor`;
    const document = await service.bytes(`${prefix}/${path}`);
    if (!document || logSizeOf(document) > size) return;
    yield path;
  }
}

/** What cannot be read is for the audit to name. */
function logSizeOf(document: Uint8Array): number {
  try {
    return parseDocument(document).statement.logSize;
  } catch (error) {
    if (error instanceof Refusal) return 0;
    throw error;
  }
}

class ServiceReader {
  readonly #base: string;
  readonly #headers: Record<string, string>;

  constructor(address: string, key: string | undefined) {
    this.#base = address.replace(/\/+$/, '');
    this.#headers = key === undefined ? {} : { authorization: `Bearer ${key}` };
  }

  async json<T>(path: string, schema: z.ZodType<T>): Promise<T> {
    const found = await this.optionalJson(path, schema);
    if (found === undefined) throw new AuditError('AUDIT_UNREACHABLE', `${path} is not there`);
    return found;
  }

  async optionalJson<T>(path: string, schema: z.ZodType<T>): Promise<T | undefined> {
    const bytes = await this.bytes(path);
    if (!bytes) return undefined;
    try {
      return schema.parse(JSON.parse(Buffer.from(bytes).toString('utf8')));
    } catch (error) {
      throw new AuditError('AUDIT_UNREACHABLE', `${path} does not answer as a log does`, error);
    }
  }

  /** The body; undefined where there is none. Failures of the network are tried again. */
  async bytes(path: string): Promise<Uint8Array | undefined> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.#fetch(path);
      } catch (error) {
        if (error instanceof AuditError || attempt === ATTEMPTS) throw asAuditError(error, path);
      }
    }
  }

  async #fetch(path: string): Promise<Uint8Array | undefined> {
    const response = await fetch(this.#base + path, {
      headers: this.#headers,
      // A redirect could take the auditor's key to another host.
      redirect: 'error',
      signal: AbortSignal.timeout(TIMEOUT_MS),
    });
    if (response.status === 401 || response.status === 403) {
      throw new AuditError('AUDIT_FORBIDDEN', `${path} answers ${response.status}`);
    }
    if (response.status === 404 || response.status === 416) return undefined;
    if (!response.ok) throw new Error(`${path} answers ${response.status}`);
    return readBounded(response, path);
  }
}

async function readBounded({ body }: Response, path: string): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of (body ?? []) as AsyncIterable<Uint8Array>) {
    length += chunk.length;
    if (length > MAX_ANSWER_BYTES)
      throw new AuditError('AUDIT_UNREACHABLE', `${path} answers more than it may`);
    chunks.push(chunk);
  }
  // A copy of its own: its bytes are handed to a worker.
  const joined = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    joined.set(chunk, at);
    at += chunk.length;
  }
  return joined;
}

function asAuditError(error: unknown, path: string): AuditError {
  if (error instanceof AuditError) return error;
  return new AuditError(
    'AUDIT_UNREACHABLE',
    `${path}: ${error instanceof Error ? error.message : 'no answer'}`,
    error,
  );
}
