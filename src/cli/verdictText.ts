import { CHECKS, type Check, type CheckId } from '../../attestation/checks.ts';
import { REFUSALS, type RefusalCode } from '../../attestation/errors.ts';
import { isWarning, type Decision } from '../../attestation/verdict/verdict.ts';
import type { AnchoredVerdict } from './extraAnchors.ts';
import { printable, wrap, type Terminal } from './terminal.ts';

/** What is shown of a verdict, whatever was judged. */
export type ShownVerdict = Omit<AnchoredVerdict, 'version'>;

export interface VerdictStyle {
  /** Give the reason of checks that passed, too. */
  readonly verbose: boolean;
}

/** As the longest id. */
const ID_COLUMNS = Math.max(...Object.keys(CHECKS).map((id) => id.length));
const INDENT = 2;
/** Symbol, space, id, two spaces. */
const TEXT_START = INDENT + 2 + ID_COLUMNS + 2;

/** A whole verdict for people: checks by subject, what is not excluded, and the decision as the last line. */
export function printVerdict(terminal: Terminal, verdict: ShownVerdict, style: VerdictStyle): void {
  const limits = verdict.checks.filter(({ code }) => code === 'NOT_EXCLUDED');
  for (const [subject, checks] of bySubject(verdict.checks.filter((check) => !limits.includes(check)))) {
    terminal.line(terminal.c.bold(printable(subject)));
    for (const check of checks) printCheck(terminal, check, style);
    terminal.line();
  }
  printLimits(terminal, limits);
  printBadges(terminal, verdict);
  printDecision(terminal, verdict);
}

/** Subjects in the order of their first check. */
function bySubject(checks: readonly Check[]): ReadonlyMap<string, readonly Check[]> {
  const groups = new Map<string, Check[]>();
  for (const check of checks) groups.set(check.subject, [...(groups.get(check.subject) ?? []), check]);
  return groups;
}

/** Checks that prove nothing to a reader who does not see their reason: a time, and who vouches for it. */
const SAYS_WHEN: readonly CheckId[] = ['document.lower', 'log.timestamp', 'log.upper'];

function printCheck(terminal: Terminal, check: Check, { verbose }: VerdictStyle): void {
  const { c } = terminal;
  const symbol = {
    pass: c.green('✓'),
    fail: c.red('✗'),
    skip: isWarning(check) ? c.yellow('!') : c.dim('–'),
  };
  const head = `${' '.repeat(INDENT)}${symbol[check.result]} ${check.id.padEnd(ID_COLUMNS)}  `;
  const [first = '', ...rest] = checkLines(terminal, check, verbose);
  terminal.line(`${head}${first}`);
  for (const line of rest) terminal.line(`${' '.repeat(TEXT_START)}${line}`);
}

function checkLines({ c, columns }: Terminal, check: Check, verbose: boolean): readonly string[] {
  const width = columns - TEXT_START;
  const lines = (text: string, color: (line: string) => string) => wrap(text, width).map(color);
  const plain = (line: string) => line;
  switch (check.result) {
    case 'pass': {
      const reason =
        verbose || check.code !== 'OK' || SAYS_WHEN.includes(check.id) ? lines(reasonOf(check), c.dim) : [];
      return [...lines(check.proves, plain), ...reason];
    }
    case 'fail':
      return [
        c.red(c.bold(check.code)),
        ...lines(check.reason, plain),
        ...lines(REFUSALS[check.code as RefusalCode], c.yellow),
      ];
    case 'skip':
      if (check.code === 'NOT_REACHED') return lines(check.reason, c.dim);
      return [
        ...lines(`${check.code}: ${check.reason}`, isWarning(check) ? c.yellow : c.dim),
        ...warningAdvice(check, lines, c.yellow),
      ];
  }
}

function reasonOf({ code, reason }: Check): string {
  return code === 'OK' ? reason : `${code}: ${reason}`;
}

function warningAdvice(
  check: Check,
  lines: (text: string, color: (line: string) => string) => readonly string[],
  color: (line: string) => string,
): readonly string[] {
  return isWarning(check) ? lines(REFUSALS[check.code as RefusalCode], color) : [];
}

function printLimits(terminal: Terminal, limits: readonly Check[]): void {
  if (limits.length === 0) return;
  terminal.line(terminal.c.bold('not excluded by any check here'));
  for (const { id, reason } of limits) {
    const [first = '', ...rest] = wrap(CHECKS[id], terminal.columns - INDENT - 2);
    terminal.line(`  ${terminal.c.yellow('·')} ${first}`);
    for (const line of rest) terminal.line(`    ${line}`);
    for (const line of wrap(reason, terminal.columns - INDENT - 2))
      terminal.line(`    ${terminal.c.dim(line)}`);
  }
  terminal.line();
}

/** What no verdict may be read without: it stands above the decision wherever one is shown. */
export function printBadges(terminal: Terminal, verdict: ShownVerdict): void {
  printSimulated(terminal, verdict);
  printExtraAnchors(terminal, verdict);
}

function printExtraAnchors(terminal: Terminal, { extraAnchors = [] }: ShownVerdict): void {
  const { c } = terminal;
  const badge = c.yellow(c.inverse(c.bold(' EXTRA ANCHOR ')));
  for (const anchor of extraAnchors) {
    terminal.line(`${badge} ${c.yellow(`${printable(anchor)}:`)}`);
    terminal.line(`  ${c.yellow('you named this key; it is not one of the published roots')}`);
  }
}

function printSimulated(terminal: Terminal, { simulated }: ShownVerdict): void {
  if (simulated.length === 0) return;
  const { c } = terminal;
  const badge = c.yellow(c.inverse(c.bold(' SIMULATED ')));
  terminal.line(
    `${badge} ${c.yellow(`${simulated.join(' and ')}: this hardware is simulated and proves nothing`)}`,
  );
}

const DECISIONS: Readonly<Record<Decision, string>> = {
  accepted: 'ACCEPTED',
  refused: 'REFUSED',
  'not-judged': 'NOT JUDGED',
};

/** The decision on one line, without anything else. */
export function decisionLine({ c }: Pick<Terminal, 'c'>, verdict: ShownVerdict): string {
  const count = (result: Check['result']) => verdict.checks.filter((check) => check.result === result).length;
  const warning = verdict.tier === 'warning' ? ' with a warning' : '';
  const colors = { accepted: warning ? c.yellow : c.green, refused: c.red, 'not-judged': c.yellow };
  const word = colors[verdict.decision](c.bold(`${DECISIONS[verdict.decision]}${warning}`));
  const grave = verdict.checks.filter((check) => check.result === 'fail' || isWarning(check));
  const codes = [...new Set(grave.map(({ code }) => code))];
  const why = codes.length > 0 ? ` (${codes.join(', ')})` : '';
  const counts = `${count('pass')} passed, ${count('fail')} failed, ${count('skip')} skipped`;
  return `${word}${why} ${c.dim(`· ${counts}`)}`;
}

function printDecision(terminal: Terminal, verdict: ShownVerdict): void {
  terminal.line(decisionLine(terminal, verdict));
  const under = `judged for ${verdict.judgedAt} under policy ${verdict.policyDigest.slice(0, 16)}…`;
  terminal.line(terminal.c.dim(under));
  for (const line of timeLines(verdict)) {
    for (const wrapped of wrap(line, terminal.columns)) terminal.line(terminal.c.dim(wrapped));
  }
}

/** What outsiders say of the time; the checks `log.upper` and `document.lower` name them. */
function timeLines({ upper, lower }: ShownVerdict): readonly string[] {
  return [
    ...(upper === undefined ? [] : [`it existed by ${upper}: what became known later is not judged here`]),
    ...(lower === undefined ? [] : [`its evidence was made after ${lower}`]),
  ];
}
