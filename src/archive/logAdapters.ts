import type { MirroredLog } from './mirroredLog.ts';

/** What the logs of `src/log` have in common, live and former. */
interface StoredLog {
  readonly origin: string;
  readonly checkpoint: Uint8Array | undefined;
  readonly evidenceHead: { readonly seq: number } | undefined;
  entry(index: number): Promise<Uint8Array>;
  tile(path: string): Promise<Uint8Array | undefined>;
  readEvidence(seq: number): Promise<Uint8Array>;
  extras(): Promise<readonly string[]>;
  readExtra(path: string): Promise<Uint8Array | undefined>;
}

export interface LiveSource {
  /** 32 hex digits. */
  readonly instance: string;
  readonly created: number;
  readonly log: StoredLog & { readonly durableSize: number };
  /** Signs a checkpoint of a size that the log has had. */
  readonly note: (size: number) => Promise<Uint8Array>;
}

/** The log that this process writes; it stops being live when it is closed. */
export function liveLog(source: LiveSource, isLive: () => boolean): MirroredLog {
  const { log, instance, created, note } = source;
  return {
    ...readsOf(log),
    instance,
    created,
    get live() {
      return isLive();
    },
    get size() {
      return log.durableSize;
    },
    get checkpoint() {
      return log.checkpoint;
    },
    get documents() {
      return log.evidenceHead ? log.evidenceHead.seq + 1 : 0;
    },
    note,
  };
}

/** The log of a former instance: what it published last is the only checkpoint that is left beside its anchors. */
export function formerLog(
  instance: string,
  log: StoredLog & { readonly created: number; readonly size: number; readonly publishedSize: number },
): MirroredLog {
  const { created, size, checkpoint, evidenceHead, publishedSize } = log;
  return {
    ...readsOf(log),
    instance,
    created,
    live: false,
    size,
    checkpoint,
    documents: evidenceHead ? evidenceHead.seq + 1 : 0,
    note: (wanted) => Promise.resolve(wanted === publishedSize ? checkpoint : undefined),
  };
}

type Reads = Pick<MirroredLog, 'origin' | 'entry' | 'tile' | 'readEvidence' | 'extras' | 'readExtra'>;

function readsOf(log: StoredLog): Reads {
  return {
    origin: log.origin,
    entry: (index) => log.entry(index),
    tile: (path) => log.tile(path),
    readEvidence: (seq) => log.readEvidence(seq),
    extras: () => log.extras(),
    readExtra: (path) => log.readExtra(path),
  };
}
