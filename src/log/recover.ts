import { readdir } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { sha256With } from '../../attestation/crypto/provider.ts';
import { hasSystemCode, LogError } from './errors.ts';
import type { EvidenceHead } from './evidenceStore.ts';
import { readIfPresent } from './files.ts';
import { FILE } from './layout.ts';
import { isLocked } from './lock.ts';
import { openReadOnlyLog, readEvidenceHead, readIdentity } from './readOnlyLog.ts';
import { cutTail, finishBundle, readJournal, type TornTail } from './storedLog.ts';

/** What is known of one former log. */
export interface FormerLog {
  /** Name of its folder: the instance in hex. */
  readonly instance: string;
  readonly directory: string;
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

/** The newest former log, as found on disk: the host may have rolled it back. For the `open` record. */
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

/**
 * Looks at the logs of former instances, cuts torn tails of those that nobody writes, and finishes interrupted
 * bundles. No entry is ever added. A damaged log is named and stops nothing. `instances` is `<data>/instances`.
 */
export async function recoverLogs(instances: string): Promise<Recovery> {
  const logs: FormerLog[] = [];
  for (const name of await listInstances(instances)) logs.push(await recoverLog(join(instances, name)));
  logs.sort((a, b) => a.created - b.created || (a.instance < b.instance ? -1 : 1));
  const newest = await probe(logs.pop());
  return {
    logs: newest ? [...logs, newest] : logs,
    predecessor: newest && (await readFacts(newest)),
    created: (newest?.created ?? 0) + 1,
  };
}

/** Folders that became logs: those without an origin never took an entry. */
async function listInstances(instances: string): Promise<readonly string[]> {
  const found = await readdir(instances, { withFileTypes: true }).catch((error: unknown) => {
    if (hasSystemCode(error, 'ENOENT')) return [];
    throw error;
  });
  const names = found.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  const isLog = await Promise.all(
    names.map(async (name) => (await readIfPresent(join(instances, name, FILE.origin))) !== undefined),
  );
  return names.filter((_, i) => isLog[i]);
}

async function recoverLog(directory: string): Promise<FormerLog> {
  const base = { instance: basename(directory), directory, cut: undefined };
  let created = 0;
  try {
    ({ created } = await readIdentity(directory));
    if (await isLocked(directory)) {
      const { size } = await readJournal(directory);
      return { ...base, created, state: 'live', problem: undefined, size };
    }
    return { ...base, created, state: 'whole', problem: undefined, ...(await repair(directory)) };
  } catch (error) {
    return { ...base, created, state: 'damaged', problem: describe(error), size: undefined };
  }
}

/** The newest log is opened: its tiles must give its checkpoint. */
async function probe(log: FormerLog | undefined): Promise<FormerLog | undefined> {
  if (log?.state !== 'whole') return log;
  try {
    await openReadOnlyLog(log.directory);
    return log;
  } catch (error) {
    return { ...log, state: 'damaged', problem: describe(error) };
  }
}

async function repair(
  directory: string,
): Promise<{ readonly size: number; readonly cut: TornTail | undefined }> {
  const journal = await readJournal(directory);
  if (journal.torn) await cutTail(directory, journal.torn);
  await finishBundle(directory, journal, sha256);
  return { size: journal.size, cut: journal.torn };
}

async function readFacts(log: FormerLog): Promise<PredecessorFacts | undefined> {
  const { directory, instance, size } = log;
  const origin = await readIdentity(directory).catch(() => undefined);
  if (!origin) return undefined;
  return {
    instance,
    origin: origin.origin,
    checkpoint: await readIfPresent(join(directory, FILE.checkpoint)),
    evidenceHead: await readEvidenceHead(directory),
    size,
  };
}

function describe(error: unknown): string {
  if (error instanceof LogError) return `${error.code}: ${error.message}`;
  return error instanceof Error ? error.message : 'it cannot be read';
}
