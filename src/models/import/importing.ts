import type { ReleaseSource } from '../release/record.ts';
import type { Staging } from '../release/staging.ts';
import type { Selection } from './selection.ts';
import type { SourceHttp } from './http.ts';

/** What every source is given to import with. */
export interface Importing {
  readonly staging: Staging;
  readonly select: Selection;
  readonly http: SourceHttp;
  /** Told what will be read, where that is known before. */
  readonly onTotal: (bytes: number) => void;
  /** Digest that the caller has from elsewhere: of an archive, a list of digests or a manifest. Lower-case hex. */
  readonly sha256: string | undefined;
  /** Hub of Hugging Face. */
  readonly endpoint: string;
  readonly credentials: Credentials;
}

export interface Credentials {
  readonly huggingFaceToken: string | undefined;
  readonly registry: { readonly user: string; readonly password: string } | undefined;
}

export type Imported = ReleaseSource;
