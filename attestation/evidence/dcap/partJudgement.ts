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
  const day = new Date(tcbDate).toISOString().slice(0, 10);
  return { status, tcbDate, advisoryIds, reason: `${seen}: level of ${day}, ${status}` };
}

export function notSupported(reason: string): PartJudgement<never> {
  return { status: 'NotSupported', tcbDate: undefined, advisoryIds: [], reason };
}
