import { isWarning, NOT_JUDGED } from '../../../attestation/verdict/verdict.ts';
import type { Check, ShownVerdict } from './protocol.ts';

/** How a check, or a part made of several, stands. */
export type State = 'pass' | 'warning' | 'not-judged' | 'fail' | 'open';

export const SYMBOLS: Readonly<Record<State, string>> = {
  pass: '✓',
  warning: '!',
  'not-judged': '?',
  fail: '✗',
  open: '–',
};
export const STATE_NAMES: Readonly<Record<State, string>> = {
  pass: 'passed',
  warning: 'warning',
  'not-judged': 'not judged',
  fail: 'failed',
  open: 'not checked',
};

export function stateOf(check: Check): State {
  if (check.result === 'pass') return check.code === 'ACCEPTED_SIMULATED' ? 'warning' : 'pass';
  if (check.result === 'fail') return isMissing(check) ? 'not-judged' : 'fail';
  return isWarning(check) || check.code === 'NOT_EXCLUDED' ? 'warning' : 'open';
}

function isMissing({ code }: Check): boolean {
  return (NOT_JUDGED as readonly string[]).includes(code);
}

/** The gravest; a part without any check is open. What nobody asked for hides behind what passed. */
export function gravest(checks: readonly Check[]): State {
  const states = checks.map(stateOf);
  const order: readonly State[] = ['fail', 'not-judged', 'warning', 'pass', 'open'];
  return order.find((state) => states.includes(state)) ?? 'open';
}

export function isLimit({ code }: Check): boolean {
  return code === 'NOT_EXCLUDED';
}

/** Codes of what failed or warns, each once, in the order of the checks. */
export function graveCodes({ checks }: ShownVerdict): readonly string[] {
  const grave = checks.filter((check) => check.result === 'fail' || isWarning(check));
  return [...new Set(grave.map(({ code }) => code))];
}
