import type { GpuJudgement } from './judge.ts';

/** One line of the answer: a case of the GPU corpus or one of its variants. */
export interface GpuRow {
  readonly id: string;
  /** Null for the case itself. */
  readonly variant: string | null;
  readonly expected: GpuJudgement['expected'];
  readonly got: GpuJudgement['got'];
  /** Our checks that failed, each with its code. */
  readonly checks: readonly string[];
  readonly notes: readonly string[];
  readonly reason: string | null;
  readonly agrees: boolean;
}

export function gpuRowOf({ failures, disagreement, ...judgement }: GpuJudgement): GpuRow {
  const { id, variant, expected, got, notes, agrees } = judgement;
  const checks = failures.map(({ check, subject, code }) =>
    check === 'manifest' ? `${subject} ${code}` : `${check} ${code}`,
  );
  return {
    id,
    variant: variant ?? null,
    expected,
    got,
    checks: [...new Set(checks)],
    notes,
    reason: disagreement ?? null,
    agrees,
  };
}

/** The line of a row, and why it disagrees. */
export function gpuLines(row: GpuRow): readonly string[] {
  const { id, variant, expected, got, checks, notes, reason, agrees } = row;
  if (got === 'not evidence') return [`–         ${id}: not evidence`];
  const name = variant === null ? id : `${id} ${variant}`;
  const wanted = [expected.verdict, expected.failing.join(' or ')].filter(Boolean).join(' ');
  const found = [got, checks.join(', ')].filter(Boolean).join(' ');
  const more = notes.length > 0 ? ` (${notes.join('; ')})` : '';
  const line = `${agrees ? 'agree    ' : 'DISAGREE '} ${name}: expected ${wanted}; got ${found}${more}`;
  return agrees || reason === null ? [line] : [line, `          ${reason}`];
}
