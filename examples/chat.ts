import OpenAI from 'openai';
import type { Answer, Session } from '../src/client/index.ts';
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
  const { fetch, baseURL } = session;
  // Whoever sends a request again has it answered again: what is refused is not.
  const client = new OpenAI({ fetch, baseURL, apiKey: 'the session has its own', maxRetries: 0 });
  const answers: Answer[] = [];
  const replies: string[] = [];
  let text = '';
  for (const turn of turns) {
    text += turn;
    print(`you       ${turn}\nmodel    `);
    const { reply, response } = await complete(client, text, print);
    // The end of the reply came, so its receipt is accepted.
    const verified = await session.verificationOf(response);
    if (verified) answers.push(verified.answer);
    replies.push(reply);
    text += `${reply}\n`;
    print('\n');
  }
  await printReceipts(session, answers, print);
  return replies;
}

async function complete(
  client: OpenAI,
  prompt: string,
  print: Print,
): Promise<{ readonly reply: string; readonly response: Response }> {
  const settings = { model: MODEL, max_tokens: 24, temperature: 0.7, seed: 1, stream: true } as const;
  const { data, response } = await client.completions.create({ ...settings, prompt }).withResponse();
  let reply = '';
  for await (const { choices } of data) {
    const piece = choices[0]?.text ?? '';
    reply += piece;
    print(piece.replaceAll('\n', ' '));
  }
  return { reply, response };
}
