import type { Logger } from 'winston';
import type { Keyset } from '../../attestation/keyset.ts';
import type { Predecessor } from '../../attestation/receipt/record.ts';
import { type FormerLogs, serveFormerLogs } from '../log/formerLogs.ts';
import type { InstanceLog } from '../log/instanceLog.ts';
import { openLog } from '../log/openLog.ts';
import { openStorage } from '../log/openStorage.ts';
import { type FormerLog, type PredecessorFacts, recoverLogs } from '../log/recover.ts';
import type { Start } from './start.ts';

/** The log of this instance, those before it, and what its `open` record says of the last. */
export interface Logs {
  readonly instanceLog: InstanceLog;
  readonly former: FormerLogs;
  readonly created: number;
  readonly predecessor: Predecessor | undefined;
}

/** Looks after the logs of former instances and opens that of this one. */
export async function openLogs({ config, log, undo }: Start, keyset: Keyset): Promise<Logs> {
  const storage = await openStorage(config);
  undo.push(() => {
    storage.close();
    return Promise.resolve();
  });
  const { logs, predecessor, created } = await recoverLogs(storage);
  for (const former of logs) logFormer(log, former);
  const instanceLog = await openLog({
    storage,
    instance: Buffer.from(keyset.instance).toString('hex'),
    origin: keyset.origin,
    created,
    onFailure: (error) => {
      log.error('the log cannot be written', { reason: error instanceof Error ? error.message : 'unknown' });
    },
  });
  return {
    instanceLog,
    former: serveFormerLogs(storage, logs),
    created,
    predecessor: predecessor && toPredecessor(predecessor),
  };
}

function logFormer(log: Logger, { instance, state, problem, cut }: FormerLog): void {
  if (state === 'damaged') log.error('a former log is damaged', { instance, problem });
  if (cut) log.warn('a torn tail was cut off a former log', { instance, ...cut });
}

function toPredecessor({ origin, checkpoint, evidenceHead }: PredecessorFacts): Predecessor {
  const none = new Uint8Array(0);
  return { origin, checkpoint: checkpoint ?? none, evidenceDigest: evidenceHead?.digest ?? none };
}
