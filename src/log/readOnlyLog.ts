import { equalBytes } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { sha256With } from '../../attestation/crypto/provider.ts';
import { Refusal } from '../../attestation/errors.ts';
import { parseCheckpoint, type CheckpointBody } from '../../attestation/log/checkpoint.ts';
import { Frontier } from '../../attestation/log/frontier.ts';
import { leafHash } from '../../attestation/log/merkle.ts';
import { parseNote } from '../../attestation/log/note.ts';
import { TILE_WIDTH } from '../../attestation/log/tiles.ts';
import { Attachments } from './attachments.ts';
import { LogError } from './errors.ts';
import type { EvidenceHead } from './evidenceStore.ts';
import { EVIDENCE_FOLDER, evidencePath, FILE } from './layout.ts';
import type { LogFacts, LogFiles } from './storage.ts';
import { readEdge, readJournal } from './storedLog.ts';
import { TileStore } from './tileStore.ts';

const sha256 = sha256With(nodeCrypto);

/**
 * The log of a former instance, as it is stored. Reads are checked against each other and against the stored
 * checkpoint's root, but all of that came from the storage: only signatures of the former instance make it evidence.
 */
export interface ReadOnlyLog {
  /** Where it is, for people: a folder, or a prefix of keys. */
  readonly place: string;
  readonly origin: string;
  readonly created: number;
  readonly size: number;
  readonly checkpoint: Uint8Array | undefined;
  /** Size of the stored checkpoint; 0 without one. */
  readonly publishedSize: number;
  readonly evidenceHead: EvidenceHead | undefined;
  root(size: number): Promise<Uint8Array>;
  inclusionProof(index: number, size: number): Promise<readonly Uint8Array[]>;
  consistencyProof(size1: number, size2: number): Promise<readonly Uint8Array[]>;
  entry(index: number): Promise<Uint8Array>;
  tile(path: string): Promise<Uint8Array | undefined>;
  readEvidence(seq: number): Promise<Uint8Array>;
  readCollateral(seq: number): Promise<Uint8Array>;
  readAnchor(size: number): Promise<Uint8Array>;
  /** Paths of the anchors and the collateral. */
  extras(): Promise<readonly string[]>;
  /** One of `extras`, as stored; undefined where there is no such file. */
  readExtra(path: string): Promise<Uint8Array | undefined>;
  /** Hashes every entry again; refuses as `LOG_CORRUPT` where they do not give the tree. Takes time with the size. */
  audit(): Promise<void>;
}

/** Opens a log that nobody writes, after `recoverLogs` cut its torn tail. Refuses damage as `LOG_CORRUPT`. */
export async function openReadOnlyLog(files: LogFiles): Promise<ReadOnlyLog> {
  const { origin, created } = await readIdentity(files);
  const journal = await readJournal(files);
  if (journal.torn) throw corrupt(`the journal ends in a torn entry ${journal.torn.index}`);
  if (journal.entries.length === TILE_WIDTH) throw corrupt('the journal holds a whole bundle');
  const store = new TileStore(files, sha256, await readEdge(files, journal, sha256));
  const checkpoint = await files.read(FILE.checkpoint);
  const body = checkpoint && parseStored(checkpoint);
  if (body) await requireReached(body, origin, journal.size, store);
  const evidenceHead = await readEvidenceHead(files);
  const attachments = new Attachments(files, sha256);
  return {
    place: files.name,
    origin,
    created,
    size: journal.size,
    checkpoint,
    publishedSize: body?.size ?? 0,
    evidenceHead,
    root: (size) => store.root(size),
    inclusionProof: (index, size) => store.inclusionProof(index, size),
    consistencyProof: (size1, size2) => store.consistencyProof(size1, size2),
    entry: (index) => store.entry(index),
    tile: (path) => store.tile(path),
    readEvidence: async (seq) => {
      const document = await files.read(evidencePath(seq));
      if (!document) throw new LogError('LOG_OUT_OF_RANGE', `there is no evidence document ${seq}`);
      return document;
    },
    readCollateral: (seq) => attachments.readCollateral(seq),
    readAnchor: (size) => attachments.readAnchor(size),
    extras: () => attachments.paths(),
    readExtra: (path) => attachments.read(path),
    audit: () => auditEntries(store, journal.size),
  };
}

/** Origin and creation number of a stored log. */
export async function readIdentity(files: LogFiles): Promise<LogFacts> {
  const origin = await readLine(files, FILE.origin);
  const created = await readLine(files, FILE.created);
  if (!/^[1-9][0-9]{0,15}$/.test(created) || !Number.isSafeInteger(Number(created))) {
    throw corrupt(`the file ${FILE.created} is no number`);
  }
  return { origin, created: Number(created) };
}

async function readLine(files: LogFiles, name: string): Promise<string> {
  const bytes = await files.read(name);
  const [, line] = /^([^\n]+)\n$/.exec(bytes ? Buffer.from(bytes).toString('utf8') : '') ?? [];
  if (line === undefined) throw corrupt(`the file ${name} is missing or damaged`);
  return line;
}

/** The newest evidence document, with its digest as found. */
export async function readEvidenceHead(files: LogFiles): Promise<EvidenceHead | undefined> {
  const names = await files.names(EVIDENCE_FOLDER);
  const seqs = names.flatMap((name) => {
    const [, seq] = /^(0|[1-9][0-9]{0,14})\.cbor$/.exec(name) ?? [];
    return seq === undefined ? [] : [Number(seq)];
  });
  if (seqs.length === 0) return undefined;
  const seq = seqs.reduce((a, b) => Math.max(a, b));
  const document = await files.read(evidencePath(seq));
  return document && { seq, digest: sha256(document) };
}

async function requireReached(
  body: CheckpointBody,
  origin: string,
  size: number,
  store: TileStore,
): Promise<void> {
  if (body.origin !== origin) throw corrupt(`the checkpoint is of ${body.origin}`);
  if (body.size > size) throw corrupt(`the checkpoint is of ${body.size} entries, ${size} are there`);
  if (!equalBytes(await store.root(body.size), body.root)) throw corrupt('the checkpoint has another root');
}

function parseStored(checkpoint: Uint8Array): CheckpointBody {
  try {
    return parseCheckpoint(parseNote(checkpoint).text);
  } catch (error) {
    if (error instanceof Refusal) throw corrupt(`the checkpoint: ${error.message}`, error);
    throw error;
  }
}

async function auditEntries(store: TileStore, size: number): Promise<void> {
  const frontier = new Frontier(sha256);
  for (let bundle = 0; bundle * TILE_WIDTH < size; bundle++) {
    for (const entry of await store.entries(bundle)) frontier.append(leafHash(sha256, entry));
  }
  if (frontier.size !== size || !equalBytes(frontier.root(), await store.root(size))) {
    throw corrupt('its entries do not give its root');
  }
}

function corrupt(detail: string, cause?: unknown): LogError {
  return new LogError('LOG_CORRUPT', detail, cause);
}
