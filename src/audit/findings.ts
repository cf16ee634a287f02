import { RENEWAL_PROBLEMS, type RenewalProblemCode } from '../../attestation/archive/problems.ts';
import { REFUSALS, type RefusalCode } from '../../attestation/errors.ts';

/** The checks of an audit in the order in which they are shown, each with what a pass proves. */
export const AUDIT_CHECKS = {
  'export.files': 'The files are those that the manifest lists, byte for byte.',
  'log.checkpoint': 'Each log signed its newest checkpoint with the key that its hardware vouches for.',
  'log.tree': 'The entries give exactly the tree that each log signed: none is missing, doubled or altered.',
  'log.indexes': 'Each entry states the place at which it stands.',
  'log.records': 'The records in each log are genuine, and each log begins with its opening record.',
  'receipts.format': 'Each receipt follows its format.',
  'receipts.signatures': 'The key that the hardware vouches for signed each receipt.',
  'receipts.evidence':
    'Each receipt was issued after the evidence that it cites, under its keys, and the cited evidence never gets older.',
  'receipts.coverage': 'A later hardware report covers each receipt.',
  'evidence.line': 'Each evidence document names the one before it: there is one line, without a gap.',
  'evidence.root': 'Each hardware report commits to the tree that the entries give.',
  'evidence.appraisal': 'The policy accepts the hardware and software of each evidence document.',
  'evidence.final': 'Nothing was issued after the last evidence document of an instance that ended.',
  'time.anchors': 'Outsiders whom the policy trusts saw each log at a time.',
  'instances.line':
    'Each instance names the one before it, as that one was left: none is missing, forked or cut short.',
  'retention.acts': 'Entries that are gone were removed under a rule that the log names.',
  'archive.renewals':
    'Each renewal of the archive covers the one before it in time, and the files are those that it covers.',
} as const;

export type AuditCheckId = keyof typeof AUDIT_CHECKS;

/** What an audit finds beside the refusals of the verifier, with what it means. The codes are stable. */
export const AUDIT_FINDINGS = {
  FILE_MISSING: 'A file that the audit needs is not there. Ask for a complete export.',
  FILE_ALTERED: 'A file is not the one that the manifest lists. Copy the export again.',
  CHECKPOINT_MISSING: 'The log never published a checkpoint: only signatures vouch for its entries.',
  TREE_MISMATCH:
    'The entries or tiles are not those that the log signed: something was altered, removed or added.',
  LOG_TRUNCATED: 'The log is shorter than what it signed: entries were removed.',
  ENTRY_MISSING: 'Entries are missing and no act in the log explains it.',
  INDEX_MISMATCH:
    'An entry states another place than the one at which it stands: one is missing, doubled or moved.',
  RECORD_MISPLACED: 'A record stands where it has no place.',
  EVIDENCE_UNKNOWN: 'A receipt or record cites evidence that is not in the line of its instance.',
  EVIDENCE_REGRESSED: 'A receipt cites older evidence than one before it.',
  EVIDENCE_GAP: 'Evidence documents are missing from the line.',
  EVIDENCE_FORKED: 'An evidence document does not name the one before it: there were two lines.',
  AFTER_FINAL: 'Receipts were issued after the evidence that says that the instance ended.',
  ANCHOR_INVALID: 'A kept anchor is not of this log. It proves no time.',
  RECEIPTS_UNCOVERED: 'No accepted hardware report covers these receipts: they are signed, no more.',
  EXPIRED: 'Retention removed these entries; the tree still holds their hashes.',
  TAIL_UNSIGNED: 'Entries stand behind the newest checkpoint: only signatures vouch for them.',
  PREDECESSOR_ABSENT: 'The instance names a predecessor that is not in the export.',
  PREDECESSOR_TRUNCATED: 'The predecessor is shorter than its successor saw it: entries were removed.',
  PREDECESSOR_REPLACED: 'The predecessor has another history than its successor saw.',
  PREDECESSOR_CONTINUED:
    'The predecessor is longer than its successor saw it: the disk was rolled back, or both ran.',
  INSTANCE_FORK: 'Two instances name one predecessor: two machines were started from one disk.',
  INSTANCE_UNLINKED: 'An instance names no predecessor although an earlier one is there.',
  NO_TRUSTED_TIME:
    'No outsider whom the policy trusts vouches for the time; it is what the guests’ clocks say.',
} as const;

export type AuditFindingCode = keyof typeof AUDIT_FINDINGS | RenewalProblemCode | RefusalCode;

/** `fail` refuses, `missing` is not judged for want of something, `warning` lowers the tier, `note` is said. */
export type Severity = 'fail' | 'missing' | 'warning' | 'note';

export interface Finding {
  readonly check: AuditCheckId;
  readonly code: AuditFindingCode;
  readonly severity: Severity;
  /** 32 hex digits, or `renewals`. */
  readonly instance: string;
  /** First entry that it is about, and the last where there are several. */
  readonly index?: number;
  readonly last?: number;
  /** Evidence document that it is about. */
  readonly seq?: number;
  /** One sentence, with the values compared. */
  readonly detail: string;
}

export function adviceOf(code: AuditFindingCode): string {
  if (code in AUDIT_FINDINGS) return AUDIT_FINDINGS[code as keyof typeof AUDIT_FINDINGS];
  if (code in RENEWAL_PROBLEMS) return RENEWAL_PROBLEMS[code as RenewalProblemCode];
  return REFUSALS[code as RefusalCode];
}

/** What a worker or a step finds, before the instance is added. */
export type LocalFinding = Omit<Finding, 'instance'>;

/** Findings of one kind that are listed; of more the number is kept, for a hostile export could have millions. */
const MAX_LISTED = 200;

/** Findings of one instance, with a bound on what is kept. */
export class FindingList {
  readonly #instance: string;
  readonly listed: Finding[];
  /** How many of each code, listed or not. */
  readonly counts: Map<AuditFindingCode, number>;

  constructor(
    instance: string,
    listed: readonly Finding[] = [],
    counts: Iterable<[AuditFindingCode, number]> = [],
  ) {
    this.#instance = instance;
    this.listed = [...listed];
    this.counts = new Map(counts);
  }

  add(finding: LocalFinding): void {
    const count = (this.counts.get(finding.code) ?? 0) + 1;
    this.counts.set(finding.code, count);
    if (count <= MAX_LISTED) this.listed.push({ ...finding, instance: this.#instance });
  }

  /** Takes back what was found by checks that are made anew. */
  forget(...checks: readonly AuditCheckId[]): void {
    for (const { code } of this.listed.filter(({ check }) => checks.includes(check))) {
      this.counts.set(code, Math.max(0, (this.counts.get(code) ?? 0) - 1));
    }
    this.listed.splice(0, this.listed.length, ...this.listed.filter(({ check }) => !checks.includes(check)));
  }

  addAll(findings: readonly LocalFinding[]): void {
    for (const finding of findings) this.add(finding);
  }
}
