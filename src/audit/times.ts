import type { Policy } from '../../attestation/policy/policy.ts';
import type { LocalFinding } from './findings.ts';
import type { InstanceReport } from './report.ts';
import type { PlacedFinding } from './instanceLine.ts';

/** Whether outsiders saw all that the policy asks them to have seen: every receipt that hardware covers. */
export function judgeTimes(
  { timestamps, witnesses }: Policy,
  reports: readonly InstanceReport[],
): readonly PlacedFinding[] {
  return reports.flatMap((report) => {
    const last = report.documents.reduce((most, { cited }) => Math.max(most, cited?.last ?? -1), -1);
    const found: PlacedFinding[] = [];
    const seen = sizeOf(report, ({ witnessed }) => witnessed);
    const dated = sizeOf(report, () => true);
    const add = (code: LocalFinding['code'], detail: string): void => {
      found.push({ check: 'time.anchors', code, severity: 'fail', detail, instance: report.instance, last });
    };
    if (witnesses !== 'none' && seen <= last)
      add('WITNESS_QUORUM_MISSING', `a quorum of witnesses saw ${seen} entries, receipts go to ${last}`);
    if (timestamps !== 'none' && timestamps.required && dated <= last) {
      add('TIMESTAMP_MISSING', `trusted times are of ${dated} entries, receipts go to ${last}`);
    }
    return found;
  });
}

function sizeOf(
  { anchors }: InstanceReport,
  counts: (anchor: InstanceReport['anchors'][number]) => boolean,
): number {
  return anchors.filter(counts).reduce((most, { size }) => Math.max(most, size), 0);
}
