import type { Acts } from './acts.ts';
import type { BlobStore } from './blobs.ts';
import { expireContent } from './erasure.ts';
import { expireReceipts } from './expiry.ts';
import type { Sql } from './sql.ts';

/** Days; a maximum that is undefined never ends. */
export interface RetentionSettings {
  readonly contentMinDays: number;
  readonly contentMaxDays: number | undefined;
  readonly receiptsMaxDays: number | undefined;
}

export interface SweepParts {
  readonly sql: Sql;
  readonly blobs: BlobStore;
  readonly contentBlobs: BlobStore;
  readonly acts: Acts;
  readonly now: () => number;
}

/** Name under which the service itself acts. */
const ACTOR = 'retention';

export interface Swept {
  readonly content: number;
  readonly bundles: number;
}

/** Takes away what is beyond its maximum and under no hold; each step is an act in the log before it is done. */
export async function sweep(parts: SweepParts, settings: RetentionSettings): Promise<Swept> {
  const { sql, blobs, contentBlobs, acts, now } = parts;
  const { contentMinDays, contentMaxDays, receiptsMaxDays } = settings;
  const content =
    contentMaxDays === undefined
      ? 0
      : await expireContent(
          { sql, blobs: contentBlobs, acts, minDays: contentMinDays, now },
          { maxDays: contentMaxDays, actor: ACTOR, rule: `archive.contentMaxDays = ${contentMaxDays}` },
        );
  const bundles =
    receiptsMaxDays === undefined
      ? 0
      : await expireReceipts(
          { sql, blobs, acts, now },
          { maxDays: receiptsMaxDays, actor: ACTOR, rule: `archive.receiptsMaxDays = ${receiptsMaxDays}` },
        );
  return { content, bundles };
}
