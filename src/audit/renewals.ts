import { RENEWALS } from '../../attestation/archive/renewal.ts';
import type { RenewalFiles } from '../../attestation/archive/renewalFiles.ts';
import type { AlgorithmEnds } from '../../attestation/archive/renewalTimestamp.ts';
import type { RenewalProblem } from '../../attestation/archive/problems.ts';
import { verifyRenewals, type RenewalAudit } from '../../attestation/archive/verifyRenewals.ts';
import { tilePath, TILE_WIDTH } from '../../attestation/log/tiles.ts';
import type { AppraisalContext } from '../../attestation/evidence/context.ts';
import type { InstanceFiles } from '../export/source.ts';
import type { Severity } from './findings.ts';
import type { PlacedFinding } from './instanceLine.ts';
import type { BundleRange } from './progress.ts';
import type { RenewalReport } from './report.ts';

/** What the audit knows of files that are rightly not there. */
export interface RenewalQuestion {
  readonly renewals: RenewalFiles;
  readonly instances: readonly InstanceFiles[];
  readonly context: AppraisalContext;
  /** When algorithms stopped being reliable. */
  readonly algorithmEnds: AlgorithmEnds | undefined;
  /** An export of a range of time leaves out most files. */
  readonly isRange: boolean;
  /** Bundles that are not there, by instance: whether retention took them is judged by the acts. */
  readonly missing: ReadonlyMap<string, readonly BundleRange[]>;
}

export interface JudgedRenewals {
  /** Undefined where the archive was never renewed. */
  readonly report: RenewalReport | undefined;
  readonly findings: readonly PlacedFinding[];
}

const SEVERITIES: Readonly<Record<RenewalProblem['code'], Severity>> = {
  RENEWAL_MALFORMED: 'fail',
  RENEWAL_MISSING: 'fail',
  RENEWAL_ALTERED: 'fail',
  FILES_CHANGED: 'fail',
  // Without it only the hashes and signatures of the day vouch for the files, and the other checks judge those.
  RENEWAL_UNSTAMPED: 'warning',
  RENEWAL_LATE: 'warning',
  TIMES_CONTRADICT: 'warning',
  FILES_MISSING: 'warning',
};

/** Verifies the renewals and reads every file that they cover once more. */
export async function auditRenewals(question: RenewalQuestion): Promise<JudgedRenewals> {
  const { renewals, instances, context, algorithmEnds: ends } = question;
  if ((await renewals.names()).length === 0) return { report: undefined, findings: [] };
  const { anchors, crypto, now } = context;
  const audit = await verifyRenewals(renewals, instances, { anchors, crypto, now, ends });
  const isExplained = explainedIn(audit, question);
  const findings = audit.problems.map(({ code, detail, seq }): PlacedFinding => {
    const isNote = code === 'FILES_MISSING' && isExplained;
    const severity = isNote ? 'note' : SEVERITIES[code];
    const said = `renewal ${seq}: ${detail}`;
    return { check: 'archive.renewals', code, severity, instance: RENEWALS, detail: said };
  });
  return { report: reportOf(audit), findings };
}

/**
 * Whether all files that are named as missing are such as an export leaves out: edges of the tree that a later one
 * replaced, and bundles whose absence `retention.acts` judges.
 */
function explainedIn({ segments }: RenewalAudit, { isRange, missing }: RenewalQuestion): boolean {
  if (isRange) return true;
  return segments.every((segment) => {
    const gone = new Set((missing.get(segment.name) ?? []).flatMap(bundlePaths));
    return segment.missing.every((path) => path.includes('.p/') || gone.has(path));
  });
}

function bundlePaths({ from, to }: BundleRange): readonly string[] {
  return Array.from({ length: to - from }, (_, i) =>
    tilePath({ level: 'entries', index: from + i, width: TILE_WIDTH }),
  );
}

function reportOf({ renewals, segments }: RenewalAudit): RenewalReport {
  return {
    renewals: renewals.map(({ kind, record, standing, time, timestamps }) => ({
      seq: record.seq,
      kind,
      hash: record.hash,
      time,
      standing,
      authorities: [...new Set(timestamps.map(({ authority }) => authority))],
    })),
    segments: segments.map(({ name, covers, uncovered }) => {
      const times = covers.flatMap(({ since }) => since ?? []);
      const last = covers.at(-1);
      return {
        name,
        since: times.length > 0 ? Math.min(...times) : undefined,
        matched: last?.matched ?? 0,
        changed: last?.changed ?? 0,
        missing: last?.missing ?? 0,
        uncovered,
      };
    }),
  };
}
