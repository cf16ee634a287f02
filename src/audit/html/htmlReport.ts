import { coveredReceipts } from '../conclusion.ts';
import { adviceOf, type Finding } from '../findings.ts';
import type { AuditReport, InstanceReport } from '../report.ts';
import { html, type Markup } from './markup.ts';
import { code, page, table } from './page.ts';
import { devicePlot, epochPlot, gapPlot, tcbPlot } from './instancePlots.ts';
import { volumePlot } from './plots.ts';
import { recordKeeping } from './recordKeeping.ts';
import { renewalSection } from './renewalSection.ts';

/** Rows of a table that are printed: the JSON report has all. */
const MAX_ROWS = 500;
const HOUR_MS = 3_600_000;

/** The report of an audit as one page that needs nothing else, to read and to print on A4. */
export function htmlReport(report: AuditReport): string {
  return page(
    `Audit of ${report.source.name}`,
    html`${header(report)}
      <section>
        <h2>Checks</h2>
        ${checks(report)}
      </section>
      <section>
        <h2>Found</h2>
        ${findings(report.findings)}
      </section>
      <section class="page">
        <h2>Volume</h2>
        ${volumePlot(hoursOf(report.instances))}${outcomes(report)}
      </section>
      <section>
        <h2>Instances</h2>
        ${report.instances.map(instance)}
      </section>
      ${renewalSection(report)} ${recordKeeping(report)} ${knownBad(report)}
      <section>
        <h2>What no check here can exclude</h2>
        <ul>
          ${report.limits.map((limit) => html`<li>${limit}</li>`)}
        </ul>
      </section>`,
  );
}

const DECISIONS = { accepted: 'accepted', refused: 'refused', 'not-judged': 'not judged' } as const;

/** Decision, what was judged, and under what: on top of every page that is made of a report. */
export function header(report: AuditReport): Markup {
  const { decision, judgedAt, policyDigest, simulated, source, tier, totals } = report;
  const shown = decision === 'accepted' && tier === 'warning' ? 'warned' : decision;
  const hours = [...hoursOf(report.instances).keys()];
  const [first, last] = [timeText(Math.min(...hours)), timeText(Math.max(...hours) + 1)];
  return html`<header>
    <h1>Audit of ${source.name}</h1>
    <p>
      <span class="verdict ${shown}"
        >${DECISIONS[decision]}${tier === 'warning' ? ', with a warning' : ''}</span
      >
      ${simulated.length > 0 ? html`<span class="badge">SIMULATED: ${simulated.join(' and ')}. This hardware protects nothing.</span>` : undefined}
    </p>
    <p>
      ${totals.receipts} receipts among ${totals.entries} entries of ${totals.instances} instances;
      ${totals.documents} evidence documents; ${totals.signatures} signatures verified.
    </p>
    ${hours.length > 0 ? html`<p>The receipts state times from ${first} to ${last}.</p>` : undefined}
    <p class="dim">
      Judged for ${judgedAt} under policy
      ${code(policyDigest)}${source.digest === undefined ? undefined : html`; manifest of the export ${code(source.digest)}`}${rangeText(report)}.
    </p>
  </header>`;
}

function rangeText({ source: { range } }: AuditReport): string {
  if (!range) return '';
  return `; an export of the time from ${range.from ?? 'the beginning'} to ${range.to ?? 'its making'}`;
}

function timeText(hour: number): string {
  const date = new Date(hour * HOUR_MS);
  return Number.isNaN(date.getTime())
    ? 'a time out of range'
    : `${date.toISOString().slice(0, 16).replace('T', ' ')} UTC`;
}

function checks(report: AuditReport): Markup {
  const rows = report.checks.map(({ code: name, id, proves, reason, result }) => [
    html`<span class="${result}">${{ pass: 'pass', fail: 'FAIL', skip: 'not made' }[result]}</span>`,
    id,
    html`${proves}<br /><span class="dim">${name === 'OK' ? reason : `${name}: ${reason}`}</span>`,
  ]);
  return table(['Result', 'Check', 'What a pass proves'], rows);
}

function findings(all: readonly Finding[]): Markup {
  const rows = all
    .slice(0, MAX_ROWS)
    .map((finding) => [
      html`<span class="${finding.severity}">${finding.code}</span>`,
      placeOf(finding),
      html`${finding.detail}. <span class="dim">${adviceOf(finding.code)}</span>`,
    ]);
  const more = all.length - rows.length;
  return html`${table(['Code', 'Where', 'What'], rows)}${more > 0 ? html`<p class="dim">And ${more} more.</p>` : undefined}`;
}

function placeOf({ index, instance: hex, last, seq }: Finding): Markup {
  const entries =
    index === undefined ? '' : ` entry ${index}${last === undefined || last === index ? '' : ` to ${last}`}`;
  return html`${code(hex.slice(0, 8))}${entries}${seq === undefined ? '' : ` document ${seq}`}`;
}

function hoursOf(instances: readonly InstanceReport[]): ReadonlyMap<number, number> {
  const hours = new Map<number, number>();
  for (const [hour, count] of instances.flatMap((report) => Object.entries(report.hours))) {
    const number = Number(hour);
    if (Number.isFinite(number)) hours.set(number, (hours.get(number) ?? 0) + count);
  }
  return hours;
}

function outcomes({ instances }: AuditReport): Markup {
  const rows = (of: (report: InstanceReport) => Readonly<Record<string, number>>): [string, number][] => {
    const counts = new Map<string, number>();
    for (const [name, count] of instances.flatMap((report) => Object.entries(of(report)))) {
      counts.set(name, (counts.get(name) ?? 0) + count);
    }
    return [...counts].sort(([, a], [, b]) => b - a).slice(0, MAX_ROWS);
  };
  return html`<h3>Models</h3>
    ${table(
      ['Model', 'Receipts'],
      rows(({ models }) => models),
    )}
    <h3>Outcomes</h3>
    ${table(
      ['Outcome', 'Receipts'],
      rows(({ outcomes: own }) => own),
    )}`;
}

function instance(report: InstanceReport): Markup {
  const { acts, checkpoint, documents, entries, receipts } = report;
  const facts: (readonly [string, string | number | Markup])[] = [
    ['Instance', code(report.instance)],
    ['Log', code(report.origin)],
    ['Checkpoint', checkpoint ? html`${checkpoint.size} entries, root ${code(checkpoint.root)}` : 'none'],
    ['Entries here', String(entries)],
    [
      'Receipts',
      `${receipts}, of which ${coveredReceipts(report)} are covered by an accepted hardware report`,
    ],
    ['Evidence documents', String(documents.length)],
  ];
  return html`<article>
    <h3>${report.origin}</h3>
    ${table(['', ''], facts)} ${gapPlot(report)}${epochPlot(report)}${devicePlot(report)}${tcbPlot(report)}
    ${
      acts.length > 0
        ? html`<h3>Acts</h3>
            ${actTable(report)}`
        : undefined
    }
  </article>`;
}

function actTable({ acts }: InstanceReport): Markup {
  const rows = acts
    .slice(0, MAX_ROWS)
    .map(({ act, actor, count, index, issuedAt, rule }) => [
      index,
      timeText(issuedAt / 3600),
      act,
      actor,
      rule,
      count,
    ]);
  return table(['Entry', 'Time', 'Act', 'Actor', 'Rule', 'How many'], rows);
}

function knownBad({ knownBad: all }: AuditReport): Markup | undefined {
  if (all.length === 0) return undefined;
  const rows = all
    .slice(0, MAX_ROWS)
    .map(({ first, instance: hex, last, reason, receipts, since, what, when }) => [
      what,
      html`${since}<br /><span class="dim">${reason}</span>`,
      html`${code(hex.slice(0, 8))} entries ${first} to ${last}`,
      receipts,
      { before: 'seen before', after: 'not seen before', unknown: 'no trusted time' }[when],
    ]);
  return html`<section class="page">
    <h2>Known bad since</h2>
    <p>
      What became known later does not change the answer above, which is for the time at which it was judged.
    </p>
    ${table(['What', 'Since', 'Where', 'Receipts', 'By outsiders'], rows)}
  </section>`;
}
