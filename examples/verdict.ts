import type { Answer, Session, Verdict } from '../src/client/index.ts';

/** What an example prints to. */
export type Print = (text: string) => void;

/** The decision with what must not be left out beside it. */
export function verdictLine({ decision, simulated, checks }: Verdict): string {
  const count = (result: string) => checks.filter((check) => check.result === result).length;
  const warning =
    simulated.length > 0 ? `, but the ${simulated.join(' and ')} are SIMULATED: proves nothing` : '';
  return `${decision.toUpperCase()}${warning} · ${count('pass')} passed, ${count('fail')} failed, ${count('skip')} skipped`;
}

/** Fetches and judges the receipt of each answer; throws unless all are accepted. Prints the verdict on the last. */
export async function printReceipts(
  session: Session,
  answers: readonly Answer[],
  print: Print,
): Promise<Verdict> {
  const last = answers.at(-1);
  if (!last) throw new Error('there is no answer to verify');
  // Waits for the hardware report that covers the last receipt, and with it all before.
  const { verdict } = await session.verify(last, { fresh: true });
  for (const answer of answers.slice(0, -1)) await session.verify(answer);
  print(`receipts  accepted: ${answers.length} of ${answers.length}\n`);
  print(`verdict   ${verdictLine(verdict)}\n`);
  return verdict;
}
