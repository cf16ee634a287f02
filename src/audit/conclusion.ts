import type { Policy } from '../../attestation/policy/policy.ts';
import type { Decision, SimulatedComponent, Tier } from '../../attestation/verdict/verdict.ts';
import { AUDIT_CHECKS, type AuditCheckId, type Finding } from './findings.ts';
import type { AuditCheck, AuditCheckCode, InstanceReport, RenewalReport } from './report.ts';

/** What the decision is made of. */
export interface Conclusions {
  readonly findings: readonly Finding[];
  readonly reports: readonly InstanceReport[];
  readonly signatures: 'all' | 'covered';
  readonly policy: Policy;
  /** Whether there is a manifest to compare files with. */
  readonly hasManifest: boolean;
  readonly renewals: RenewalReport | undefined;
}

/** Every check of the audit, in their order. A check of which nothing was judged is skipped, and never passes. */
export function concludeChecks(parts: Conclusions): readonly AuditCheck[] {
  return (Object.keys(AUDIT_CHECKS) as AuditCheckId[]).map((id) => {
    const own = parts.findings.filter(({ check }) => check === id);
    const worst =
      own.find(({ severity }) => severity === 'fail') ?? own.find(({ severity }) => severity === 'missing');
    if (worst) return check(id, 'fail', worst.code, `${worst.instance}: ${worst.detail}`);
    const skipped = skipOf(id, parts);
    if (skipped) return check(id, 'skip', ...skipped);
    const warning = own.find(({ severity }) => severity === 'warning');
    if (warning) return check(id, 'skip', warning.code, `${warning.instance}: ${warning.detail}`);
    return check(id, 'pass', 'OK', passReason(id, parts));
  });
}

/** What is not done of receipts that an epoch root covers. */
const LEFT_OUT = {
  'receipts.signatures': 'their own signatures were not verified, those of the others were',
  'receipts.format': 'they were read in outline, the others whole',
} as const;

/** Why a check was not made. */
function skipOf(id: AuditCheckId, parts: Conclusions): readonly [AuditCheckCode, string] | undefined {
  const { hasManifest, policy, reports, signatures } = parts;
  if (id === 'export.files' && !hasManifest)
    return ['NOT_REQUIRED', 'there is no manifest: this is a data folder or a service'];
  if ((id === 'receipts.signatures' || id === 'receipts.format') && signatures === 'covered') {
    const [all, covered] = [total(reports, ({ receipts }) => receipts), total(reports, coveredReceipts)];
    if (covered > 0) {
      const stand = `covered by epoch root: ${covered} of ${all} receipts stand in trees that an accepted hardware report commits to`;
      return ['COVERED_BY_EPOCH_ROOT', `${stand}; ${LEFT_OUT[id]}`];
    }
  }
  if (id === 'archive.renewals' && !parts.renewals) return ['NOT_REQUIRED', 'the archive was never renewed'];
  if (id === 'time.anchors') {
    if (policy.witnesses === 'none' && reports.every(({ anchors }) => anchors.length === 0)) {
      return ['NO_TRUSTED_TIME', 'no outsider whom the policy trusts saw the logs'];
    }
  }
  return undefined;
}

/** Receipts below the covered size, as far as citations tell: the whole of an epoch is covered or not. */
export function coveredReceipts({ coveredSize, documents }: InstanceReport): number {
  return documents.reduce(
    (sum, { cited }) => sum + (cited && cited.last < coveredSize ? cited.receipts : 0),
    0,
  );
}

function total(reports: readonly InstanceReport[], of: (report: InstanceReport) => number): number {
  return reports.reduce((sum, report) => sum + of(report), 0);
}

function passReason(id: AuditCheckId, { renewals, reports }: Conclusions): string {
  const documents = total(reports, (report) => report.documents.length);
  const reasons: Partial<Record<AuditCheckId, string>> = {
    'log.checkpoint': `${reports.filter((report) => report.checkpoint).length} checkpoints`,
    'log.tree': `${total(reports, ({ entries }) => entries)} entries in ${reports.length} logs`,
    'receipts.signatures': `${total(reports, ({ signatures }) => signatures)} signatures verified`,
    'receipts.format': `${total(reports, ({ receipts }) => receipts)} receipts`,
    'receipts.coverage': `${total(reports, coveredReceipts)} receipts are covered`,
    'evidence.line': `${documents} documents`,
    'evidence.appraisal': `${documents} documents accepted`,
    'time.anchors': `${total(reports, ({ anchors }) => anchors.length)} trusted anchors`,
    'instances.line': `${reports.length} instances`,
    'archive.renewals': `${renewals?.renewals.length ?? 0} renewals`,
  };
  return reasons[id] ?? 'nothing was found against it';
}

function check(
  id: AuditCheckId,
  result: AuditCheck['result'],
  code: AuditCheckCode,
  reason: string,
): AuditCheck {
  return { id, result, code, reason, proves: AUDIT_CHECKS[id] };
}

export function decideAudit(findings: readonly Finding[], reports: readonly InstanceReport[]): Decision {
  if (findings.some(({ severity }) => severity === 'fail')) return 'refused';
  // What holds no instance proves nothing: absent is refused, never accepted.
  if (reports.length === 0) return 'refused';
  return findings.some(({ severity }) => severity === 'missing') ? 'not-judged' : 'accepted';
}

export function tierOfAudit(
  decision: Decision,
  findings: readonly Finding[],
  simulated: readonly SimulatedComponent[],
): Tier {
  if (decision === 'refused') return 'contraindicated';
  if (decision === 'not-judged') return 'none';
  const isWarned = simulated.length > 0 || findings.some(({ severity }) => severity === 'warning');
  return isWarned ? 'warning' : 'affirming';
}

/** What no audit of an export can exclude, in the words of the verdict on a receipt. */
export function limitsOf(reports: readonly InstanceReport[]): readonly string[] {
  const witnessed =
    reports.length > 0 && reports.every(({ anchors }) => anchors.some((anchor) => anchor.witnessed));
  return [
    'The log shows what was receipted, not what was not: an answer without a receipt leaves no trace here.',
    'That the devices are attached to this machine, not relayed, rests on the measured code.',
    ...(witnessed
      ? []
      : [
          'No quorum of witnesses saw these logs: a second view of a log, a rolled back disk or a newest part that was withheld shows only when two views meet.',
        ]),
    'The export names its own time range: what lies outside it was not judged.',
  ];
}
