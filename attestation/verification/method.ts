import type { AnchorRole } from '../anchors.ts';
import type { CheckId } from '../checks.ts';
import type { Collateral } from '../collateral.ts';

/** Parts of what was judged that a check reads; a part that is not there is left out of its step. */
export type PartName =
  | 'input'
  | 'document'
  | 'keyset'
  | 'statement'
  | 'cpu'
  | 'devices'
  | 'device'
  | 'boot-log'
  | 'time-anchor'
  | 'operator'
  | 'receipt'
  | 'checkpoint'
  | 'anchored';

/** How one check is made: the same for every verdict. The values that it met stand in its reason. */
export interface Method {
  readonly reads: readonly PartName[];
  /** Which document is meant where the subject does not say it; both where it is left out. */
  readonly of?: 'cited' | 'covering';
  /** Two sides that must agree: what stands in the parts, and what it is held against. */
  readonly compares: readonly [string, string];
  /** What the right side rests on: a key, a vendor's word, or the caller's. */
  readonly trusts: string;
  readonly anchors?: readonly AnchorRole[];
  readonly collateral?: readonly (keyof Collateral)[];
}

export type Methods = Partial<Record<CheckId, Method>>;

/** What the right side of a check rests on, where that is no key. */
export const POLICY = 'your policy';
export const FORMAT = 'the format alone: nothing is believed yet';
export const HASH = 'the hash function alone';
export const OURS = 'what the caller gave';

/** A check of the policy over what a report says. */
export function ruled(part: PartName, states: string, names: string): Method {
  return { reads: [part], compares: [states, names], trusts: POLICY };
}
