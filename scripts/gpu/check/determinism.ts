import { serialize } from 'node:v8';
import type { Engine } from '../../../src/engine/engine.ts';
import { type Answer, type Answers, answersInCompany, answersOf, type Workload } from './answers.ts';
import type { Finding } from './result.ts';

/** Asks the same again, alone and in company: every byte must be as before. */
export async function determinismOf(
  engine: Engine,
  model: string,
  workload: Workload,
  before: Answers,
): Promise<readonly Finding[]> {
  const again = await answersOf(engine, model, workload);
  const company = await answersInCompany(engine, model, workload);
  return [
    equality(model, 'the same again', before, [again]),
    equality(model, 'the same in company', before, company),
  ];
}

/** One line for answers that must all equal the first. */
export function equality(model: string, check: string, before: Answers, after: readonly Answers[]): Finding {
  const wanted = listed(before);
  const answered = wanted.filter(([, answer]) => 'value' in answer).length;
  const unequal = wanted
    .filter(([, answer], i) => after.some((other) => !isSame(answer, listed(other)[i]?.[1])))
    .map(([name]) => name);
  const detail = unequal.length === 0 ? `${answered} answers, equal bytes` : `differ: ${unequal.join(', ')}`;
  const outcome = unequal.length > 0 ? 'fail' : answered === 0 ? 'skip' : 'pass';
  return { model, check, outcome, detail };
}

function listed({
  embeddings,
  generations,
  tensors,
}: Answers): readonly (readonly [name: string, answer: Answer<unknown>])[] {
  return [
    ...embeddings.map((answer, i) => [`embedding ${i + 1}`, answer] as const),
    ...generations.map((answer, i) => [`generation ${i + 1}`, answer] as const),
    ...(tensors ? [['tensors', tensors] as const] : []),
  ];
}

/** Numbers by their bits: 0 and -0 differ, and a NaN equals itself. */
function isSame(a: Answer<unknown>, b: Answer<unknown> | undefined): boolean {
  return b !== undefined && serialize(a).equals(serialize(b));
}
