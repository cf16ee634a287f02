import type { Acts } from './acts.ts';
import type { BlobStore } from './blobs.ts';
import type { HoldScope } from './effects.ts';
import { eraseContent } from './erasure.ts';
import { ArchiveError } from './errors.ts';
import { type Hold, liftHold, listHolds, placeHold } from './holds.ts';
import { listPolicies, readPolicy, type RegisteredPolicy, registerPolicy } from './policies.ts';
import type { Sql } from './sql.ts';

export interface AdministrationParts {
  readonly sql: Sql;
  readonly blobs: BlobStore;
  readonly contentBlobs: BlobStore;
  readonly acts: Acts;
  /** Content is kept for at least so many days. */
  readonly minDays: number;
  readonly now: () => number;
}

/** Who acts, and the rule that it is done under. */
export interface Authority {
  readonly actor: string;
  readonly rule: string;
}

const MAX_LISTED = 1000;

/** What changes the archive. Who may ask is decided at the door; each is signed and logged before it takes effect. */
export class Administration {
  readonly #parts: AdministrationParts;

  constructor(parts: AdministrationParts) {
    this.#parts = parts;
  }

  /** Resolves with the id of the hold. */
  hold(authority: Authority, scope: HoldScope): Promise<string> {
    return placeHold(this.#parts.sql, this.#parts.acts, { ...authority, scope });
  }

  lift(authority: Authority, hold: string): Promise<void> {
    return liftHold(this.#parts.sql, this.#parts.acts, { ...authority, hold });
  }

  holds(): Promise<readonly Hold[]> {
    return listHolds(this.#parts.sql, MAX_LISTED);
  }

  /** Resolves with the number of records that were erased. */
  erase(authority: Authority, scope: HoldScope): Promise<number> {
    if (scope.receipt !== undefined && !/^[0-9a-f]{32}$/.test(scope.receipt)) {
      throw new ArchiveError('QUERY_INVALID', 'a receipt id is 32 lower-case hex digits');
    }
    const { sql, contentBlobs, acts, minDays, now } = this.#parts;
    return eraseContent({ sql, blobs: contentBlobs, acts, minDays, now }, { ...authority, scope });
  }

  /** Resolves with the digest of the policy. */
  registerPolicy(authority: Authority, json: Uint8Array): Promise<string> {
    return registerPolicy(this.#parts, { ...authority, json });
  }

  policies(): Promise<readonly RegisteredPolicy[]> {
    return listPolicies(this.#parts.sql, MAX_LISTED);
  }

  policy(digest: Uint8Array): Promise<string> {
    return readPolicy(this.#parts, digest);
  }
}
