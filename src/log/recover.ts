import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { sha256With } from '../../attestation/crypto/provider.ts';
import { TILE_WIDTH } from '../../attestation/log/tiles.ts';
import { isLogError, LogError } from './errors.ts';
import type { EvidenceHead } from './evidenceStore.ts';
import { FILE } from './layout.ts';
import { openReadOnlyLog, readEvidenceHead, readIdentity } from './readOnlyLog.ts';
import type { FormerFiles, LogStorage } from './storage.ts';
import { finishBundle, readJournal, type TornTail } from './storedLog.ts';

/** What is known of one former log. */
export interface FormerLog {
  /** The instance in hex. */
  readonly instance: string;
  /** `live`: another process writes it, and it was left alone. `damaged`: see `problem`. */
  readonly state: 'whole' | 'live' | 'damaged';
  readonly problem: string | undefined;
  /** 0 where it cannot be read. */
  readonly created: number;
  /** Complete entries; undefined where they cannot be counted. */
  readonly size: number | undefined;
  /** What was cut off its journal now. */
  readonly cut: TornTail | undefined;
}

/** The newest former log, as found: the host may have rolled it back. For the `open` record. */
export interface PredecessorFacts {
  readonly instance: string;
  readonly origin: string;
  readonly checkpoint: Uint8Array | undefined;
  readonly evidenceHead: EvidenceHead | undefined;
  readonly size: number | undefined;
}

export interface Recovery {
  /** Former logs, oldest first. */
  readonly logs: readonly FormerLog[];
  readonly predecessor: PredecessorFacts | undefined;
  /** The `created` of the log to open now. */
  readonly created: number;
}

const sha256 = sha256With(nodeCrypto);

/** Logs that are looked at side by side: in an object store each takes a dozen round trips. */
const AT_ONCE = 8;

/**
 * Looks at the logs of former instances, cuts torn tails of those that nobody writes, and finishes interrupted
 * bundles. No entry is ever added. A damaged log is named and stops nothing; a storage that cannot be read at the moment
 * is `LOG_UNAVAILABLE`, as the new log must name its predecessor.
 */
export async function recoverLogs(storage: LogStorage): Promise<Recovery> {
  const waiting = [...(await storage.instances())];
  const logs: FormerLog[] = [];
  const recoverNext = async (): Promise<void> => {
    for (let name = waiting.pop(); name !== undefined; name = waiting.pop()) {
      logs.push(await recoverLog(storage, name));
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, recoverNext));
  logs.sort((a, b) => a.created - b.created || (a.instance < b.instance ? -1 : 1));
  const newest = await probe(storage, logs.pop());
  return {
    logs: newest ? [...logs, newest] : logs,
    predecessor: newest && (await readFacts(storage, newest)),
    created: (newest?.created ?? 0) + 1,
  };
}

async function recoverLog(storage: LogStorage, instance: string): Promise<FormerLog> {
  const files = storage.files(instance);
  const base = { instance, cut: undefined };
  let created = 0;
  try {
    ({ created } = await readIdentity(files));
    if (await storage.isLive(instance)) {
      const { size } = await readJournal(files);
      return { ...base, created, state: 'live', problem: undefined, size };
    }
    return { ...base, created, state: 'whole', problem: undefined, ...(await repair(files)) };
  } catch (error) {
    if (isLogError(error, 'LOG_UNAVAILABLE')) throw error;
    return { ...base, created, state: 'damaged', problem: describe(error), size: undefined };
  }
}

/** The newest log is opened: its tiles must give its checkpoint. */
async function probe(storage: LogStorage, log: FormerLog | undefined): Promise<FormerLog | undefined> {
  if (log?.state !== 'whole') return log;
  try {
    await openReadOnlyLog(storage.files(log.instance));
    return log;
  } catch (error) {
    if (isLogError(error, 'LOG_UNAVAILABLE')) throw error;
    return { ...log, state: 'damaged', problem: describe(error) };
  }
}

async function repair(
  files: FormerFiles,
): Promise<{ readonly size: number; readonly cut: TornTail | undefined }> {
  const journal = await readJournal(files);
  const bundle = Math.floor((journal.size - journal.entries.length) / TILE_WIDTH);
  if (journal.torn) await files.cutJournal(bundle, journal.torn);
  await finishBundle(files, journal, sha256);
  await files.tidyJournals(bundle);
  return { size: journal.size, cut: journal.torn };
}

async function readFacts(
  storage: LogStorage,
  { instance, size }: FormerLog,
): Promise<PredecessorFacts | undefined> {
  const files = storage.files(instance);
  const facts = await readIdentity(files).catch((error: unknown) => {
    if (isLogError(error, 'LOG_CORRUPT')) return undefined;
    throw error;
  });
  if (!facts) return undefined;
  return {
    instance,
    origin: facts.origin,
    checkpoint: await files.read(FILE.checkpoint),
    evidenceHead: await readEvidenceHead(files),
    size,
  };
}

function describe(error: unknown): string {
  if (error instanceof LogError) return `${error.code}: ${error.message}`;
  return error instanceof Error ? error.message : 'it cannot be read';
}
