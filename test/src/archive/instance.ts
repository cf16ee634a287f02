import { join } from 'node:path';
import { afterEach } from '@jest/globals';
import { toHex } from '../../../attestation/bytes/bytes.ts';
import type { Predecessor } from '../../../attestation/receipt/record.ts';
import type { Collector } from '../../../enclave/collect/collector.ts';
import { createSimulatedCollector } from '../../../enclave/collect/simulated/collector.ts';
import type { Keyring } from '../../../enclave/keys/keyring.ts';
import { Archive, type ArchiveParts } from '../../../src/archive/archive.ts';
import { DiskBlobs } from '../../../src/archive/blobs.ts';
import { ArchiveKey } from '../../../src/archive/envelope.ts';
import type { Sql } from '../../../src/archive/sql.ts';
import { diskStorage } from '../../../src/log/diskStorage.ts';
import { serveFormerLogs } from '../../../src/log/formerLogs.ts';
import type { InstanceLog } from '../../../src/log/instanceLog.ts';
import { openLog } from '../../../src/log/openLog.ts';
import { recoverLogs } from '../../../src/log/recover.ts';
import { Vouching } from '../../../src/receipts/vouching.ts';
import type { ReceiptDraft } from '../../../src/receipts/draft.ts';
import { makeDraft, makeKeyring, NOW } from '../../support/world.ts';

export const KEY = new ArchiveKey(new Uint8Array(32).fill(5));

/** One instance with its log on disk and its archive, as the service puts them together. */
export interface TestInstance {
  readonly instance: string;
  readonly log: InstanceLog;
  readonly keyring: Keyring;
  readonly vouching: Vouching;
  readonly archive: Archive;
  readonly blobs: DiskBlobs;
  readonly contentBlobs: DiskBlobs;
  readonly failures: unknown[];
  /** Moves the clock of the archive, milliseconds; keys and evidence do not age. */
  advance(ms: number): void;
  /** Issues a receipt as the service does, and keeps its content where content is kept. */
  issue(changes?: Partial<ReceiptDraft>): Promise<ReceiptDraft>;
  /** A clean stop. */
  stop(): Promise<void>;
  /** The process dies: nothing is closed but what the kernel closes. */
  crash(): Promise<void>;
}

export interface InstanceOptions {
  readonly folder: string;
  readonly sql: Sql;
  readonly keepsContent?: boolean;
  readonly retention?: Partial<ArchiveParts['retention']>;
  /** Milliseconds since 1970 at the start. */
  readonly now?: number;
  /** Comes between the archive and the log of a former instance. */
  readonly openFormer?: (
    open: ArchiveParts['former'][number]['open'],
  ) => ReturnType<ArchiveParts['former'][number]['open']>;
}

const open: TestInstance[] = [];
afterEach(async () => {
  for (const instance of open.splice(0)) await instance.crash();
});

let hardware: Promise<Collector> | undefined;

export async function startInstance(options: InstanceOptions): Promise<TestInstance> {
  const { folder, sql, keepsContent = false, openFormer } = options;
  let now = options.now ?? NOW;
  const clock = (): number => now;
  const storage = diskStorage(join(folder, 'instances'));
  const { logs, predecessor, created } = await recoverLogs(storage);
  const former = serveFormerLogs(storage, logs);
  const keyring = await makeKeyring();
  const instance = toHex(keyring.keyset.instance);
  const log = await openLog({ storage, instance, origin: keyring.keyset.origin, created });
  hardware ??= createSimulatedCollector({ now: () => new Date(NOW) });
  const none = new Uint8Array(0);
  const found: Predecessor | undefined = predecessor && {
    origin: predecessor.origin,
    checkpoint: predecessor.checkpoint ?? none,
    evidenceDigest: predecessor.evidenceHead?.digest ?? none,
  };
  const vouching = await Vouching.start({
    keys: keyring,
    log,
    source: await hardware,
    configDigest: new Uint8Array(32).fill(7),
    predecessor: found,
    limits: { periodMs: 3_600_000, receipts: 1_000_000, maxEvidenceAgeMs: 3_600_000 },
    now: () => NOW,
  });
  const failures: unknown[] = [];
  const blobs = new DiskBlobs(join(folder, 'archive', 'log'));
  const contentBlobs = new DiskBlobs(join(folder, 'archive', 'content'));
  const archive = await Archive.open({
    sql,
    // The test closes the database: the next instance uses it.
    close: () => Promise.resolve(),
    blobs,
    contentBlobs,
    contentKey: KEY,
    keepsContent,
    retention: {
      contentMinDays: 0,
      contentMaxDays: undefined,
      receiptsMaxDays: undefined,
      ...options.retention,
    },
    live: {
      instance,
      created,
      log,
      note: (size) => vouching.checkpointAt(size),
      recordAct: (body) => vouching.recordAct(body),
    },
    former: former.logs.map(({ instance: name, size }) => {
      const openOne = (): ReturnType<typeof former.open> => former.open(name);
      return { instance: name, size, open: () => (openFormer ? openFormer(openOne) : openOne()) };
    }),
    now: clock,
    onFailure: (error) => failures.push(error),
  });
  vouching.watchIssuing(({ id, tenant }) => archive.noteTenant(id, tenant));
  const made: TestInstance = {
    instance,
    log,
    keyring,
    vouching,
    archive,
    blobs,
    contentBlobs,
    failures,
    advance: (ms) => {
      now += ms;
    },
    issue: async (changes = {}) => {
      const draft = makeDraft(changes);
      const { id, k, request, response, tenant } = draft;
      if (response.kind === 'body') {
        await archive.keep({ receipt: id, k, request, response }, tenant);
      }
      await vouching.issue(draft);
      return draft;
    },
    stop: async () => {
      remove(made);
      await archive.pause();
      await vouching.stop();
      await archive.close();
    },
    crash: async () => {
      remove(made);
      await archive.pause();
      await log.close();
    },
  };
  open.push(made);
  return made;
}

function remove(instance: TestInstance): void {
  const at = open.indexOf(instance);
  if (at >= 0) open.splice(at, 1);
}
