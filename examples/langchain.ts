import { readFile } from 'node:fs/promises';
import { OpenAI, OpenAIEmbeddings } from '@langchain/openai';
import type { Session, VerifiedAnswer } from '../src/client/index.ts';
import { printReceipts, type Print } from './verdict.ts';

const PASSAGES = new URL('passages.txt', import.meta.url);

export interface Continued {
  /** The passage nearest to the question. */
  readonly passage: string;
  readonly text: string;
}

/**
 * LangChain over the session: it finds the passage nearest to a question, and has the model continue it, streamed.
 * `receipts` holds what the session's `onReceipt` was told.
 */
export async function langchain(
  session: Session,
  print: Print,
  receipts: readonly VerifiedAnswer[],
  question = 'musicians perform a melody',
): Promise<Continued> {
  const { fetch, baseURL } = session;
  const settings = { apiKey: 'the session has its own', maxRetries: 0, configuration: { fetch, baseURL } };
  const passages = (await readFile(PASSAGES, 'utf8')).trim().split('\n');
  const embeddings = new OpenAIEmbeddings({ ...settings, model: 'glove-sif-100d' });
  const [asked, vectors] = await Promise.all([
    embeddings.embedQuery(question),
    embeddings.embedDocuments(passages),
  ]);
  const scores = vectors.map((vector) => cosine(asked, vector));
  const passage = passages[scores.indexOf(Math.max(...scores))] ?? '';
  print(`question  ${question}\npassage   ${passage}\nmodel    `);
  const model = new OpenAI({ ...settings, model: 'tinygpt-1m', maxTokens: 24, temperature: 0 });
  let text = '';
  for await (const piece of await model.stream(passage)) {
    text += piece;
    print(piece.replaceAll('\n', ' '));
  }
  print('\n');
  await printReceipts(
    session,
    receipts.map(({ answer }) => answer),
    print,
  );
  return { passage, text };
}

function cosine(one: readonly number[], other: readonly number[]): number {
  const dot = (a: readonly number[], b: readonly number[]) =>
    a.reduce((total, value, i) => total + value * (b[i] ?? 0), 0);
  return dot(one, other) / Math.sqrt(dot(one, one) * dot(other, other));
}
