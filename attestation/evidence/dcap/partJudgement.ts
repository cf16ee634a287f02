import { isoDay } from '../../x509/time.ts';
import type { LevelVerdict } from './statement.ts';

/** How one part of the platform was judged; without a level there is no date. */
export interface PartJudgement<Status extends string> {
  readonly status: Status | 'NotSupported';
  /** Milliseconds since 1970. */
  readonly tcbDate: number | undefined;
  readonly advisoryIds: readonly string[];
  /** The values compared. */
  readonly reason: string;
}

/** Judges a part by the level that covers it. `seen` names the values that were compared. */
export function judgePart<Status extends string>(
  level: LevelVerdict<Status> | undefined,
  seen: string,
): PartJudgement<Status> {
  if (!level) return notSupported(`${seen}: below every level`);
  const { status, tcbDate, advisoryIds } = level;
  return { status, tcbDate, advisoryIds, reason: `${seen}: level of ${isoDay(tcbDate)}, ${status}` };
}

export function notSupported(reason: string): PartJudgement<never> {
  return { status: 'NotSupported', tcbDate: undefined, advisoryIds: [], reason };
}
