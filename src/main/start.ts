import type { Logger } from 'winston';
import type { Config } from '../config/schema.ts';

/** The parts with their common clock and log while the service is put together. */
export interface Start {
  readonly config: Config;
  readonly log: Logger;
  readonly notice: (line: string) => void;
  readonly now: () => number;
  /** Undoes what is started, last first. */
  readonly undo: (() => Promise<unknown>)[];
}
