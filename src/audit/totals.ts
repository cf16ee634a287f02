import type { SimulatedComponent } from '../../attestation/verdict/verdict.ts';
import type { Finding } from './findings.ts';
import type { AuditReport, InstanceReport } from './report.ts';

/** Components of all documents that are simulated. */
export function simulatedIn(reports: readonly InstanceReport[]): readonly SimulatedComponent[] {
  const all = reports.flatMap(({ documents }) => documents.flatMap(({ facts }) => facts.simulated));
  return [...new Set(all)].sort();
}

export function totalsOf(reports: readonly InstanceReport[]): AuditReport['totals'] {
  const sum = (of: (report: InstanceReport) => number): number =>
    reports.reduce((total, report) => total + of(report), 0);
  return {
    instances: reports.length,
    entries: sum(({ entries }) => entries),
    receipts: sum(({ receipts }) => receipts),
    documents: sum(({ documents }) => documents.length),
    signatures: sum(({ signatures }) => signatures),
  };
}

/** Numbers of findings by code, those that are not listed included. */
export function countsOf(
  reports: readonly InstanceReport[],
  found: readonly Finding[],
): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const [code, count] of reports.flatMap(({ findings }) => findings.counts))
    counts[code] = (counts[code] ?? 0) + count;
  for (const { code } of found) counts[code] = (counts[code] ?? 0) + 1;
  return counts;
}
