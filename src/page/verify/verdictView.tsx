import { CHECKS } from '../../../attestation/checks.ts';
import { REFUSALS, type RefusalCode } from '../../../attestation/errors.ts';
import type { Ref } from 'preact';
import { useState } from 'preact/hooks';
import type { Check, Report, ShownVerdict } from './protocol.ts';
import { graveCodes, gravest, isLimit, STATE_NAMES, stateOf, SYMBOLS } from './states.ts';

const DECISIONS = { accepted: 'Accepted', refused: 'Refused', 'not-judged': 'Not judged' } as const;

/** What a screen reader says when a verdict is out. */
export function spokenVerdict({ verdict, what }: Report): string {
  const simulated = verdict.simulated.length > 0 ? ' Simulated hardware, which proves nothing.' : '';
  const codes = graveCodes(verdict);
  const why = codes.length > 0 ? ` ${codes.join(', ')}.` : '';
  return `${decisionText(verdict)}: ${what}.${simulated}${why}`;
}

export function decisionText({ decision, tier }: ShownVerdict): string {
  return `${DECISIONS[decision]}${decision === 'accepted' && tier === 'warning' ? ' with a warning' : ''}`;
}

/** The decision, why, and what to do about it. */
export function Banner({ report, heading }: { report: Report; heading: Ref<HTMLHeadingElement> }) {
  const { verdict } = report;
  const tone = verdict.decision === 'accepted' && verdict.tier === 'warning' ? 'warning' : verdict.decision;
  const codes = graveCodes(verdict);
  const count = (result: Check['result']) => verdict.checks.filter((check) => check.result === result).length;
  return (
    <section class={`banner ${tone}`} aria-labelledby="verdict">
      <p class="eyebrow">{report.what}</p>
      <h2 id="verdict" tabIndex={-1} ref={heading}>
        {decisionText(verdict)}
      </h2>
      <Badges verdict={verdict} />
      {codes.map((code) => (
        <p class="code" key={code}>
          <code>{code}</code> {REFUSALS[code as RefusalCode]}
        </p>
      ))}
      <p class="small">
        {count('pass')} checks passed, {count('fail')} failed, {count('skip')} were not made. Judged for{' '}
        <time dateTime={verdict.judgedAt}>{verdict.judgedAt}</time> under {report.policy} (
        <code title={verdict.policyDigest}>{verdict.policyDigest.slice(0, 16)}…</code>).
      </p>
      <p class="small again">
        <a href="#input">Check something else, or under another policy</a>
      </p>
      {report.hints.map((hint) => (
        <p class="small" key={hint}>
          {hint}
        </p>
      ))}
    </section>
  );
}

function Badges({ verdict: { simulated, extraAnchors = [] } }: { readonly verdict: ShownVerdict }) {
  return (
    <>
      {simulated.length > 0 && (
        <p class="badge-line">
          <strong class="badge">SIMULATED</strong> {simulated.join(' and ')}: this hardware is simulated and
          proves nothing.
        </p>
      )}
      {extraAnchors.map((anchor) => (
        <p class="badge-line" key={anchor}>
          <strong class="badge">EXTRA ANCHOR</strong> <code>{anchor}</code>: you named this key; it is not one
          of the published roots.
        </p>
      ))}
    </>
  );
}

/** What no verdict excludes, said plainly. */
export function Limits({ verdict }: Report) {
  const limits = verdict.checks.filter(isLimit);
  if (limits.length === 0) return null;
  return (
    <section class="limits" aria-labelledby="limits">
      <h2 id="limits">Not excluded by any check here</h2>
      <ul>
        {limits.map(({ id, reason }) => (
          <li key={id}>
            {CHECKS[id]} <span class="small">{reason}.</span>
          </li>
        ))}
      </ul>
    </section>
  );
}

/** All checks by subject, each with what its pass proves. */
export function CheckList({ verdict }: Report) {
  const [isVerbose, setVerbose] = useState(false);
  const groups = new Map<string, Check[]>();
  for (const check of verdict.checks.filter((each) => !isLimit(each))) {
    groups.set(check.subject, [...(groups.get(check.subject) ?? []), check]);
  }
  return (
    <section class={`checks ${isVerbose ? 'verbose' : ''}`} aria-labelledby="checks">
      <h2 id="checks">Checks, and what each proves</h2>
      <label class="toggle">
        <input
          type="checkbox"
          checked={isVerbose}
          onChange={({ currentTarget }) => setVerbose(currentTarget.checked)}
        />
        Show the values compared, also where a check passed
      </label>
      <div class="groups">
        {[...groups].map(([subject, checks]) => (
          <section
            class={`group ${isRepeated(subject, checks) ? 'repeated' : ''}`}
            key={subject}
            aria-label={`Checks of ${subject}`}
          >
            <h3>{subject}</h3>
            <p class="sum" aria-hidden="true">
              {countText(checks)}
            </p>
            <ul>
              {checks.map((check, i) => (
                <CheckLine key={`${check.id} ${i}`} check={check} />
              ))}
            </ul>
          </section>
        ))}
      </div>
    </section>
  );
}

/** Of devices that are like the first of their kind, paper has the count alone. */
function isRepeated(subject: string, checks: readonly Check[]): boolean {
  return /(?:gpu|switch) [1-9]\d*$/.test(subject) && gravest(checks) === 'pass';
}

function countText(checks: readonly Check[]): string {
  const passed = checks.filter(({ result }) => result === 'pass').length;
  return `${passed} passed, ${checks.length - passed} not made`;
}

/** Checks that prove nothing to a reader who does not see their reason: a time, and who vouches for it. */
const SAYS_WHEN: readonly string[] = ['document.lower', 'log.timestamp', 'log.upper'];

function CheckLine({ check }: { readonly check: Check }) {
  const { id, code, reason, proves, result } = check;
  const state = stateOf(check);
  const isPlain = code === 'OK' && !SAYS_WHEN.includes(id);
  return (
    <li class={`check ${state} ${isPlain ? 'plain' : ''}`} data-check={id} data-code={code}>
      <span class="symbol" role="img" aria-label={STATE_NAMES[state]}>
        {SYMBOLS[state]}
      </span>
      <div>
        <code class="id">{id}</code>
        {code !== 'OK' && <code class="chip">{code}</code>}
        {result === 'pass' && <span class="proves">{proves}</span>}
        <span class="reason">{reason}</span>
        {result === 'fail' && <span class="advice">{REFUSALS[code as RefusalCode]}</span>}
      </div>
    </li>
  );
}
