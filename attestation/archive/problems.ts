/** What can be wrong with the renewals of an archive, with what a person can do about it. The codes are stable. */
export const RENEWAL_PROBLEMS = {
  RENEWAL_MALFORMED: 'A renewal, a list or a name does not follow its format. Restore it from a copy.',
  RENEWAL_MISSING: 'A renewal or a list of files is not there. Restore it from a copy.',
  RENEWAL_ALTERED:
    'A renewal, a list of files or a timestamp is not the one that a later renewal covers. Restore it from a copy; the digests show whether it is the same.',
  RENEWAL_UNSTAMPED:
    'No authority that is trusted here has timestamped a renewal. Name the authority, or run the renewal again.',
  RENEWAL_LATE:
    'A renewal came after the former timestamp or hash could still be relied on. What it covers is shown from the later time on only.',
  TIMES_CONTRADICT: 'A renewal is timestamped before the one that it follows. One of the clocks was wrong.',
  FILES_CHANGED:
    'Files are not those that were renewed. Restore them from a copy; the digests show whether they are the same.',
  FILES_MISSING:
    'Files that were renewed are not there. Retention takes files away, and an export of a range leaves some out: compare with both.',
} as const;

export type RenewalProblemCode = keyof typeof RENEWAL_PROBLEMS;

export interface RenewalProblem {
  readonly code: RenewalProblemCode;
  /** Renewal that it is about. */
  readonly seq: number;
  readonly detail: string;
}
