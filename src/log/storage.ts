import type { TornTail } from './storedLog.ts';

/** The files of one log, wherever they lie. Paths are those of the README, with `/`; a write is whole and durable. */
export interface LogFiles {
  /** Of their place, in errors: a folder, or a prefix of keys. */
  readonly name: string;
  /** Content; undefined where there is no such file. */
  read(path: string): Promise<Uint8Array | undefined>;
  has(path: string): Promise<boolean>;
  write(path: string, bytes: Uint8Array): Promise<void>;
  /** Names of the files directly in a folder. */
  names(folder: string): Promise<readonly string[]>;
  /** Removes a folder of files that are superfluous, now or soon. */
  removeFolder(folder: string): Promise<void>;
  /** The open bundle, which has this number, as it was appended to; empty where there is none. */
  readJournal(bundle: number): Promise<Uint8Array>;
}

/** What `recoverLogs` may do to the journal of a log that nobody writes. */
export interface FormerFiles extends LogFiles {
  cutJournal(bundle: number, torn: TornTail): Promise<void>;
  /** Gives a journal of a full bundle its final name. After a crash it may be done again. */
  sealJournal(bundle: number): Promise<void>;
  /** Removes what a crash left of journals before this bundle. */
  tidyJournals(bundle: number): Promise<void>;
}

/** The open entry bundle, as its writer appends to it. What differs from what this process left is `LOG_DIVERGED`. */
export interface Journal {
  /** Appends durably. After an error nothing of `bytes` counts, and the same may be appended again. */
  append(bytes: Uint8Array): Promise<void>;
  check(): Promise<void> | void;
  /** The whole of it, as stored. */
  read(): Promise<Uint8Array>;
  /** Gives the full bundle its final place, and begins the next. After an error it may be tried again. */
  seal(entries: readonly Uint8Array[]): Promise<void>;
  close(): Promise<void>;
}

/** A log that this process writes. */
export interface NewLog {
  readonly files: LogFiles;
  readonly journal: Journal;
  release(): Promise<void>;
}

/** Where the logs of all instances are. */
export interface LogStorage {
  /** Pauses between the attempts of one write, in ms; after the last attempt the log ends. */
  readonly retryDelaysMs: readonly number[];
  /** Names of the logs, those without an origin left out: they never took an entry. */
  instances(): Promise<readonly string[]>;
  files(instance: string): FormerFiles;
  /** True while a process is known to write the log. */
  isLive(instance: string): Promise<boolean>;
  /** Makes the place of a new log. One that exists is refused as `LOG_LOCKED`. */
  create(instance: string, facts: LogFacts): Promise<NewLog>;
  /** Ends its connections, where it has some. */
  close(): void;
}

export interface LogFacts {
  readonly origin: string;
  /** A later instance has a larger one. */
  readonly created: number;
}
