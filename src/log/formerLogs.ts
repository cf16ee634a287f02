import { Lru } from './lru.ts';
import { openReadOnlyLog, type ReadOnlyLog } from './readOnlyLog.ts';
import type { FormerLog } from './recover.ts';
import type { LogStorage } from './storage.ts';

/** Logs that are open at once: each keeps its newest tiles in memory. */
const MAX_OPEN = 8;

/** The logs of former instances, read-only. */
export interface FormerLogs {
  /** What was found at the start, oldest first; damaged ones are among them, those that another process writes are not. */
  readonly logs: readonly FormerLog[];
  /**
   * The log of an instance, by its name in hex; undefined where there is none. Throws `LogError`: `LOG_CORRUPT` where its
   * files are damaged, `LOG_UNAVAILABLE` where they cannot be read now.
   */
  open(instance: string): Promise<ReadOnlyLog | undefined>;
}

/** Serves the logs that `recoverLogs` found: each is opened when it is asked for, and a few stay open. */
export function serveFormerLogs(storage: LogStorage, found: readonly FormerLog[]): FormerLogs {
  const logs = found.filter(({ state }) => state !== 'live');
  const instances = new Set(logs.map(({ instance }) => instance));
  const opened = new Lru<Promise<ReadOnlyLog>>(MAX_OPEN);
  return {
    logs,
    open: async (instance) => {
      if (!instances.has(instance)) return undefined;
      const kept = opened.get(instance);
      if (kept) return kept;
      const opening = openReadOnlyLog(storage.files(instance));
      opened.set(instance, opening, 1);
      // What failed is tried again by the next caller.
      opening.catch(() => opened.delete(instance));
      return opening;
    },
  };
}
