import { readFile } from 'node:fs/promises';
import type { Session } from '../src/client/index.ts';
import { printReceipts, type Print } from './verdict.ts';

const MODEL = 'glove-sif-100d';
const SHOWN = 3;

export interface Hit {
  readonly line: string;
  /** Cosine of the angle between line and query: 1 for equal directions. */
  readonly score: number;
}

interface Embeddings {
  readonly data: readonly { readonly embedding: readonly number[] }[];
}

/** Finds the lines of a text file that are nearest in meaning to a query. */
export async function search(
  session: Session,
  print: Print,
  query = 'musicians perform a melody',
): Promise<readonly Hit[]> {
  const text = await readFile(new URL('passages.txt', import.meta.url), 'utf8');
  const lines = text.trim().split('\n');
  const answer = await session.send({
    path: '/v1/embeddings',
    body: JSON.stringify({ model: MODEL, input: [query, ...lines] }),
  });
  if (answer.status !== 200) throw new Error(Buffer.from(answer.body).toString());
  const { data } = JSON.parse(Buffer.from(answer.body).toString()) as Embeddings;
  const [target = [], ...vectors] = data.map(({ embedding }) => embedding);
  const hits = lines
    .map((line, i) => ({ line, score: cosine(target, vectors[i] ?? []) }))
    .sort((a, b) => b.score - a.score);
  print(`query     ${query}\n`);
  for (const { line, score } of hits.slice(0, SHOWN)) print(`${score.toFixed(3).padStart(8)}  ${line}\n`);
  await printReceipts(session, [answer], print);
  return hits;
}

function cosine(a: readonly number[], b: readonly number[]): number {
  const dot = (x: readonly number[], y: readonly number[]) =>
    x.reduce((sum, value, i) => sum + value * (y[i] ?? 0), 0);
  return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
}
