import { adviceOf, type Finding } from '../audit/findings.ts';
import type { AuditCheck, AuditReport, KnownBad, RenewalReport } from '../audit/report.ts';
import { printable, wrap, type Terminal } from './terminal.ts';

const ID_COLUMNS = 20;
const TEXT_START = 4 + ID_COLUMNS + 2;
/** Findings that are printed; the JSON and the HTML report have more. */
const MAX_PRINTED = 20;

/** An audit for people: what was read, every check, what was found, and the decision as the last line. */
export function printAudit(terminal: Terminal, report: AuditReport): void {
  const { c } = terminal;
  const { totals } = report;
  terminal.line(c.bold(printable(report.source.name)));
  if (report.source.digest !== undefined) terminal.line(c.dim(`  manifest ${report.source.digest}`));
  terminal.line(
    `  ${totals.receipts} receipts among ${totals.entries} entries of ${totals.instances} instances, ${totals.documents} evidence documents, ${totals.signatures} signatures verified`,
  );
  terminal.line();
  for (const check of report.checks) printCheck(terminal, check);
  printRenewals(terminal, report.renewals);
  printFindings(terminal, report);
  printKnownBad(terminal, report.knownBad);
  printLimits(terminal, report.limits);
  printDecision(terminal, report);
}

function printCheck(terminal: Terminal, check: AuditCheck): void {
  const { c } = terminal;
  const symbol = { pass: c.green('✓'), fail: c.red('✗'), skip: c.yellow('–') }[check.result];
  const text = check.result === 'pass' ? check.proves : `${check.code}: ${check.reason}`;
  const [first = '', ...rest] = wrap(text, terminal.columns - TEXT_START);
  terminal.line(`  ${symbol} ${check.id.padEnd(ID_COLUMNS)}  ${first}`);
  for (const line of rest) terminal.line(`${' '.repeat(TEXT_START)}${line}`);
}

/** What vouches for the files even where the hashes and keys of their day do so no more. */
function printRenewals(terminal: Terminal, report: RenewalReport | undefined): void {
  if (!report) return;
  terminal.line();
  terminal.line(terminal.c.bold('renewals'));
  for (const { authorities, hash, kind, seq, standing, time } of report.renewals) {
    const by = authorities.length > 0 ? `by ${authorities.join(', ')}` : 'by nobody who is trusted here';
    const when = time === undefined ? '' : ` at ${new Date(time).toISOString()}`;
    const text = `${seq}: ${kind}, ${hash}${when}, ${by}${standing ? '' : '; not to be relied on now'}`;
    for (const line of wrap(printable(text), terminal.columns - 4)) terminal.line(`    ${line}`);
  }
  for (const { changed, matched, missing, name, since, uncovered } of report.segments) {
    const when =
      since === undefined ? 'of no shown time' : `as they are since ${new Date(since).toISOString()}`;
    const text = `${name}: ${matched} files ${when}, ${changed} changed, ${missing} not here, ${uncovered} not renewed`;
    for (const line of wrap(printable(text), terminal.columns - 4)) terminal.line(`    ${line}`);
  }
}

function printFindings(terminal: Terminal, { findings }: AuditReport): void {
  if (findings.length === 0) return;
  const { c } = terminal;
  terminal.line();
  terminal.line(c.bold('found'));
  for (const finding of findings.slice(0, MAX_PRINTED)) {
    const color = finding.severity === 'fail' ? c.red : c.yellow;
    terminal.line(`  ${color(finding.code)} ${placeOf(finding)}`);
    for (const line of wrap(`${finding.detail}. ${adviceOf(finding.code)}`, terminal.columns - 4)) {
      terminal.line(`    ${line}`);
    }
  }
  const more = findings.length - MAX_PRINTED;
  if (more > 0) terminal.line(`  and ${more} more: see --json or --html`);
}

function placeOf({ index, instance, last, seq }: Finding): string {
  const range = last === undefined || last === index ? '' : ` to ${last}`;
  return [
    `instance ${instance}`,
    ...(index === undefined ? [] : [`entry ${index}${range}`]),
    ...(seq === undefined ? [] : [`document ${seq}`]),
  ].join(', ');
}

function printKnownBad(terminal: Terminal, knownBad: readonly KnownBad[]): void {
  if (knownBad.length === 0) return;
  const { c } = terminal;
  terminal.line();
  terminal.line(c.bold('known bad since (this does not change the decision)'));
  for (const { first, instance, last, reason, receipts, since, what, when } of knownBad) {
    const seen = {
      before: 'seen before that date',
      after: 'not seen before that date',
      unknown: 'no trusted time',
    };
    const text = `${what}: ${receipts} receipts, entries ${first} to ${last} of ${instance}; since ${since}, ${seen[when]}: ${reason}`;
    for (const line of wrap(text, terminal.columns - 4)) terminal.line(`    ${line}`);
  }
}

function printLimits(terminal: Terminal, limits: readonly string[]): void {
  terminal.line();
  terminal.line(terminal.c.bold('not excluded by any check here'));
  for (const limit of limits) {
    const [first = '', ...rest] = wrap(limit, terminal.columns - 4);
    terminal.line(`  ${terminal.c.yellow('·')} ${first}`);
    for (const line of rest) terminal.line(`    ${line}`);
  }
  terminal.line();
}

function printDecision(
  terminal: Terminal,
  { decision, judgedAt, policyDigest, simulated, tier }: AuditReport,
): void {
  const { c } = terminal;
  if (simulated.length > 0) {
    terminal.line(
      `${c.yellow(c.inverse(c.bold(' SIMULATED ')))} ${simulated.join(' and ')}: this hardware protects nothing.`,
    );
  }
  terminal.line(c.dim(`judged for ${judgedAt} under policy ${policyDigest}`));
  const text = { accepted: 'accepted', refused: 'refused', 'not-judged': 'not judged' }[decision];
  const color = { accepted: tier === 'warning' ? c.yellow : c.green, refused: c.red, 'not-judged': c.yellow }[
    decision
  ];
  terminal.line(color(c.bold(tier === 'warning' ? `${text}, with a warning` : text)));
}
