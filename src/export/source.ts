import type { FilePlace } from './files.ts';

/** Files of one instance's log and evidence, in the layout of `instances/<instance hex>/` of a data folder. */
export interface InstanceFiles {
  /** 32 hex digits. */
  readonly instance: string;
  /** Log origin: `<host>/vouchsafe/<instance hex>`. */
  readonly origin: string;
  /** A number that grows from instance to instance, as the folder's `created` file says. */
  readonly created: number;
  /** Paths below the instance's folder, in code-unit order; never `journal`, `lock` or `.tmp`. */
  paths(): AsyncIterable<string>;
  /** The file's bytes, the caller's own; undefined where there is none. */
  read(path: string): Promise<Uint8Array | undefined>;
  /** Where `read` would read it, until the source is closed; undefined where only `read` can. */
  readonly locate?: ((path: string) => FilePlace | undefined) | undefined;
}

/** Files that are of no instance: `renewals/<name>` and `policies/<digest>.json`. */
export interface SharedFiles {
  /** In code-unit order. */
  paths(): AsyncIterable<string>;
  read(path: string): Promise<Uint8Array | undefined>;
}

/** Where exports and audits read from: a data folder, the archive's store, an export, or a service's log. */
export interface ArchiveSource {
  instances(): Promise<readonly InstanceFiles[]>;
  /** Undefined where the source has none. */
  readonly shared?: SharedFiles | undefined;
  close(): Promise<void>;
}
