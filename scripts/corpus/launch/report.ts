import type { LaunchJudgement } from './judge.ts';

/** One line of the answer, in members that all corpora share. */
export interface LaunchRow extends Omit<LaunchJudgement, 'reason'> {
  readonly reason: string | null;
}

export function launchRowOf({ reason, ...judgement }: LaunchJudgement): LaunchRow {
  return { ...judgement, reason: reason ?? null };
}

/** What is said of a case: that it agrees, or why not; and what no image says. */
export function launchLines(row: LaunchRow): readonly string[] {
  const { id, expected, got, codes, compared, reason, agrees, left } = row;
  if (got === 'not computable') return [`left out  ${id}: ${reason ?? ''}`];
  const verdict = agrees ? 'agree    ' : 'DISAGREE ';
  const values = got === 'computed' ? `${compared} values` : ['refuse', ...codes].join(' ');
  return [
    `${verdict} ${id}: expected ${expected}; got ${values}`,
    ...(agrees || reason === null ? [] : [`          ${reason}`]),
    ...left.map((text) => `          not predicted: ${text}`),
  ];
}
