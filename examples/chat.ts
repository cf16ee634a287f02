import OpenAI from 'openai';
import type { Answer, Session } from '../src/client/index.ts';
import { sealedFetch } from './sealedFetch.ts';
import { printReceipts, type Print } from './verdict.ts';

const MODEL = 'tinygpt-1m';

/**
 * A conversation with npm `openai`, streamed. `tinygpt-1m` has no chat template, so each turn continues the text so
 * far through `/v1/completions`; with a model that has one, call `client.chat.completions.create` instead.
 */
export async function chat(
  session: Session,
  print: Print,
  turns: readonly string[] = ['Call me', 'The white whale'],
): Promise<readonly string[]> {
  const answers: Answer[] = [];
  const client = new OpenAI({
    baseURL: 'http://sealed.invalid/v1',
    apiKey: 'the session has its own',
    maxRetries: 0,
    fetch: sealedFetch(session, (answer) => answers.push(answer)),
  });
  const replies: string[] = [];
  let text = '';
  for (const turn of turns) {
    text += turn;
    print(`you       ${turn}\nmodel    `);
    const reply = await complete(client, text, print);
    replies.push(reply);
    text += `${reply}\n`;
    print('\n');
  }
  await printReceipts(session, answers, print);
  return replies;
}

async function complete(client: OpenAI, prompt: string, print: Print): Promise<string> {
  const settings = { model: MODEL, max_tokens: 24, temperature: 0.7, seed: 1, stream: true } as const;
  let reply = '';
  for await (const { choices } of await client.completions.create({ ...settings, prompt })) {
    const piece = choices[0]?.text ?? '';
    reply += piece;
    print(piece.replaceAll('\n', ' '));
  }
  return reply;
}
