import type { AuditReport } from '../report.ts';
import { html, type Markup } from './markup.ts';
import { code, table } from './page.ts';

/** Rows of a table that are printed: the JSON report has all. */
const MAX_ROWS = 500;

/** Renewals of the archive, and what they show of each instance. */
export function renewalSection({ renewals: report }: AuditReport): Markup | undefined {
  if (!report) return undefined;
  const renewals = report.renewals
    .slice(0, MAX_ROWS)
    .map(({ authorities, hash, kind, seq, standing, time }) => [
      seq,
      kind === 'hash-tree' ? 'files hashed again' : 'timestamps renewed',
      hash,
      timeText(time),
      authorities.length > 0 ? authorities.join(', ') : 'nobody who is trusted here',
      standing ? 'yes' : 'no',
    ]);
  const segments = report.segments
    .slice(0, MAX_ROWS)
    .map(({ changed, matched, missing, name, since, uncovered }) => [
      code(name),
      timeText(since),
      matched,
      changed,
      missing,
      uncovered,
    ]);
  return html`<section>
    <h2>Renewals</h2>
    <p>
      The files were hashed again and timestamped later, so that their age is shown even where hashes and keys
      of their day are broken.
    </p>
    ${table(['Renewal', 'Kind', 'Hash', 'Time', 'By', 'Can be relied on'], renewals)}
    ${table(['Files of', 'As they are since', 'Same', 'Changed', 'Not here', 'Not renewed'], segments)}
  </section>`;
}

function timeText(time: number | undefined): string {
  return time === undefined
    ? 'none shown'
    : `${new Date(time).toISOString().slice(0, 19).replace('T', ' ')} UTC`;
}
