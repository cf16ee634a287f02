import type { Errno } from './fuseWire.ts';

// What the process under test and the one that serves the file system say to each other.

/** The machine as it is, and what goes wrong with it. */
export interface MachineState {
  /** Whether the module is loaded, so whether `tsm/report` exists. */
  readonly isLoaded: boolean;
  /** Name of the driver; null where none has registered. */
  readonly provider: string | null;
  readonly privlevelFloor: number;
  /** Whether the guest runs below an SVSM. */
  readonly hasSvsm: boolean;
  /** What making a request fails with. */
  readonly mkdirError: Errno | null;
  /** What the next removals fail with, one after the other. */
  readonly rmdirErrors: readonly Errno[];
  /** What the next reports fail with, one after the other, before the provider is asked. */
  readonly reportErrors: readonly Errno[];
  /** Another program writes to the same request after we did, before the report is made. */
  readonly otherWriter: 'never' | 'before-report' | 'after-report';
  /** Commits are lost, while writers see success. */
  readonly losesWrites: boolean;
  /** The generation is shown as it was when the request was made. */
  readonly freezesGeneration: boolean;
  /** What `provider` shows, where it is another than the driver's name. */
  readonly shownProvider: string | null;
}

/** What the driver is asked for. */
export interface WantedReport {
  readonly inblob: Uint8Array;
  readonly privlevel: number;
  readonly serviceProvider: string | null;
}

export interface MadeReport {
  readonly outblob: Uint8Array;
  readonly auxblob?: Uint8Array;
  readonly manifestblob?: Uint8Array;
}

/** What is kept of the life of the file system, for tests to look at. */
export interface Observations {
  /** Names of the requests that exist now. */
  readonly requests: readonly string[];
  /** Names of all requests ever made. */
  readonly made: readonly string[];
  /** How often the driver was asked for a report. */
  readonly reports: number;
}

export type ToServer =
  | { readonly type: 'set'; readonly id: number; readonly state: Partial<MachineState> }
  | { readonly type: 'observe'; readonly id: number }
  | { readonly type: 'made'; readonly id: number; readonly report: MadeReport | Errno };

export type FromServer =
  | { readonly type: 'mounted' }
  | { readonly type: 'failed'; readonly reason: string }
  | { readonly type: 'answer'; readonly id: number; readonly observations: Observations }
  | { readonly type: 'report'; readonly id: number; readonly wanted: WantedReport };

export const MACHINE: MachineState = {
  isLoaded: true,
  provider: 'sev_guest',
  privlevelFloor: 0,
  hasSvsm: false,
  mkdirError: null,
  rmdirErrors: [],
  reportErrors: [],
  otherWriter: 'never',
  losesWrites: false,
  freezesGeneration: false,
  shownProvider: null,
};
