import type { CollateralErrorCode } from '../collateral/errors.ts';
import type { Observer, Outcome } from '../collateral/gather.ts';
import { needKey, needName } from '../collateral/need.ts';
import type { Obtained } from '../collateral/source.ts';
import { dateText, spanText, validityJson } from './collateralText.ts';
import { EXIT, type ExitCode } from './exit.ts';
import { stderr, wrap } from './terminal.ts';

/** Says on standard error what becomes of each statement, as it becomes known. */
export function observer(): Observer {
  return {
    finished: printOutcome,
    pausing: (milliseconds, { message }) => {
      printLines(stderr.c.dim('…'), `${message}: waiting ${(milliseconds / 1000).toFixed(1)} s`);
    },
    cacheUnwritable: (error) => {
      const code = (error as NodeJS.ErrnoException).code ?? 'unknown error';
      printLines(stderr.c.yellow('!'), `the cache cannot be written: ${code}`);
    },
  };
}

function printOutcome(outcome: Outcome): void {
  const { c } = stderr;
  const name = needName(outcome.need);
  if ('error' in outcome) {
    const { code, message, advice } = outcome.error;
    printLines(c.red('✗'), `${name}: ${code}: ${message}`);
    printLines(' ', advice, c.yellow);
    return;
  }
  const { obtained } = outcome;
  const { status = 'good' } = obtained.item;
  const old = obtained.remarks.length > 0;
  const mark = status === 'good' ? c.green('✓') : c.red('!');
  printLines(old ? c.yellow('!') : mark, `${name}, ${originText(obtained)}`);
  for (const { code, message, advice } of obtained.remarks) {
    printLines(' ', `${code}: ${message}. ${advice}`, c.yellow);
  }
}

function originText({ from, fetchedAt, item }: Obtained): string {
  const origin =
    from === 'network' ? 'fetched' : `from the cache, fetched ${spanText(Date.now() - fetchedAt)} ago`;
  const { validity, status } = item;
  const said = status === undefined ? origin : `${status}, ${origin}`;
  return validity ? `${said}, until ${endText(validity.until, status === undefined)}` : said;
}

/** A status is good for hours, other statements for days. */
function endText(until: number, dayOnly: boolean): string {
  return dateText(until).slice(0, dayOnly ? 'YYYY-MM-DD'.length : undefined);
}

export function printGaps(gaps: readonly string[]): void {
  for (const gap of gaps) printLines(stderr.c.yellow('!'), gap);
}

function printLines(mark: string, text: string, color: (line: string) => string = (line) => line): void {
  const [first = '', ...rest] = wrap(text, stderr.columns - 2);
  stderr.line(`${mark} ${color(first)}`);
  for (const line of rest) stderr.line(`  ${color(line)}`);
}

export function outcomeJson(outcome: Outcome, now: number): object {
  const common = { id: needKey(outcome.need), name: needName(outcome.need) };
  if ('error' in outcome) {
    const { code, message } = outcome.error;
    return { ...common, status: 'missing', code, message };
  }
  const { item, from, fetchedAt, remarks } = outcome.obtained;
  return {
    ...common,
    status: remarks.some(({ code }) => code === 'stale') ? 'stale' : 'ok',
    origin: from,
    fetchedAt: new Date(fetchedAt).toISOString(),
    ...(item.status === undefined ? {} : { says: item.status }),
    ...(item.validity ? validityJson(item.validity, now) : {}),
    remarks: remarks.map(({ code, message }) => ({ code, message })),
  };
}

/** The vendor answered, or nobody was to be asked: the statement is missing, and not the service. */
const MISSING: readonly CollateralErrorCode[] = ['not-found', 'unauthorized', 'not-cached'];

/** 0 where all is there and in date; 4 where someone could not be reached or read; else 3. */
export function exitOfFetch(outcomes: readonly Outcome[], gaps: readonly string[]): ExitCode {
  const errors = outcomes.flatMap((outcome) => ('error' in outcome ? [outcome.error] : []));
  if (errors.some(({ code }) => !MISSING.includes(code))) return EXIT.unreadable;
  const stale = outcomes.some(
    (outcome) => 'obtained' in outcome && outcome.obtained.remarks.some(({ code }) => code === 'stale'),
  );
  return errors.length > 0 || stale || gaps.length > 0 ? EXIT.notJudged : EXIT.accepted;
}
