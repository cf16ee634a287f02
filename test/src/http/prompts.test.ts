import { describe, expect, test } from '@jest/globals';
import { issuedClaims, startTestService, until } from '../../support/service.ts';

interface Completion {
  readonly choices: readonly { readonly index: number; readonly text: string }[];
  readonly usage: object | null;
}

async function complete(body: object): Promise<Completion> {
  const service = await startTestService();
  const answer = await service.post('/v1/completions', { model: 'fake', ...body });
  expect(answer.status).toBe(200);
  return (await answer.json()) as Completion;
}

const textsOf = ({ choices }: Completion): readonly string[] => choices.map(({ text }) => text);

describe('prompts of completions are', () => {
  test.each<[string, unknown, readonly string[], number]>([
    ['a text', 'one two', ['onetwo'], 2],
    ['a list of one text', ['one two'], ['onetwo'], 2],
    ['texts', ['one two', 'three'], ['onetwo', 'three'], 3],
    ['token ids', [3, 0, 7], ['#3#0#7'], 3],
    ['a list of token ids', [[3, 7]], ['#3#7'], 2],
    ['lists of token ids', [[3, 7], [5]], ['#3#7', '#5'], 3],
  ])('%s', async (_name, prompt, texts, tokens) => {
    const answer = await complete({ prompt });
    expect(textsOf(answer)).toEqual(texts);
    expect(answer.choices.map(({ index }) => index)).toEqual(texts.map((_text, i) => i));
    expect(answer.usage).toEqual({
      prompt_tokens: tokens,
      completion_tokens: tokens,
      total_tokens: 2 * tokens,
    });
  });

  test('answered n times each, prompt after prompt', async () => {
    const answer = await complete({ prompt: ['one two', 'three'], n: 2, echo: true });
    expect(textsOf(answer)).toEqual(['one twoonetwo', 'one twoonetwo', 'threethree', 'threethree']);
    // Each prompt counts once, each of its answers too.
    expect(answer.usage).toEqual({ prompt_tokens: 3, completion_tokens: 6, total_tokens: 9 });
  });

  test('streamed side by side, each under its index', async () => {
    const service = await startTestService();
    const body = { model: 'fake', prompt: ['one two', '3'], n: 2, echo: true, stream: true };
    const answer = await service.post('/v1/completions', {
      ...body,
      stream_options: { include_usage: true },
    });
    const events = [...(await answer.text()).matchAll(/^data: (\{"id":"cmpl.*\})$/gm)];
    const chunks = events.map(([, json]) => JSON.parse(json!) as Completion);
    const texts = ['', '', '', ''];
    for (const { index, text } of chunks.flatMap(({ choices }) => choices))
      texts[index] = texts[index]! + text;
    expect(texts).toEqual(['one twoonetwo', 'one twoonetwo', '33', '33']);
    expect(chunks.at(-1)!.usage).toEqual({ prompt_tokens: 3, completion_tokens: 6, total_tokens: 9 });
    const [claims] = issuedClaims(service);
    expect(Object.fromEntries(claims!.usage)).toEqual(chunks.at(-1)!.usage);
    expect(claims!.parameters.get('n')).toBe('2');
  });

  test('cancelled together when one fails', async () => {
    const service = await startTestService();
    service.engine.held = true;
    const generate = service.engine.generate.bind(service.engine);
    service.engine.generate = (model, prompt, ...rest) =>
      prompt === 'bad' ? Promise.reject(new Error('broken')) : generate(model, prompt, ...rest);
    const answer = await service.post('/v1/completions', {
      model: 'fake',
      prompt: ['a b', 'bad', 'c d'],
      n: 2,
    });
    expect(answer.status).toBe(500);
    await until(() => service.engine.aborted === 4);
    expect(issuedClaims(service)).toMatchObject([{ outcome: 'error' }]);
  });
});

describe('inputs of embeddings are', () => {
  test.each<[string, unknown, number, number]>([
    ['a text', 'one two', 1, 2],
    ['texts', ['one two', 'three'], 2, 3],
    ['token ids', [3, 0, 7], 1, 3],
    ['lists of token ids', [[3, 7], [5]], 2, 3],
  ])('%s', async (_name, input, count, tokens) => {
    const service = await startTestService();
    const answer = await service.post('/v1/embeddings', { model: 'fake', input });
    const { data, usage } = (await answer.json()) as { data: object[]; usage: object };
    expect(data).toHaveLength(count);
    expect(usage).toEqual({ prompt_tokens: tokens, total_tokens: tokens });
  });
});
