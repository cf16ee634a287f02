import { InstanceLog, type LogSettings } from './instanceLog.ts';
import type { LogFacts, LogStorage } from './storage.ts';

export interface LogOptions extends LogFacts, Omit<LogSettings, 'retryDelaysMs'> {
  readonly storage: LogStorage;
  /** The instance in hex. */
  readonly instance: string;
  /** Pauses between the attempts of one write, in ms; without them those of the storage. */
  readonly retryDelaysMs?: readonly number[] | undefined;
}

/**
 * Opens the log of a new instance; `created` is what `recoverLogs` gave. A log is written only by the process that made
 * its place: one that exists is refused as `LOG_LOCKED`, also after a crash.
 */
export async function openLog(options: LogOptions): Promise<InstanceLog> {
  const { storage, instance, origin, created, retryDelaysMs = storage.retryDelaysMs } = options;
  const stored = await storage.create(instance, { origin, created });
  return new InstanceLog({ ...options, retryDelaysMs }, stored);
}
