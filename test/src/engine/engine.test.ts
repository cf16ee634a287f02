import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import type { Engine, GeneratedToken, Tensor } from '../../../src/engine/engine.ts';
import { cosine, startTestEngine } from '../../support/engine.ts';

// Each start of an engine loads two models; other suites may hold the cores meanwhile.
jest.setTimeout(120_000);

const EMBED = 'glove-sif-100d';
const GENERATE = 'tinygpt-1m';

let engine: Engine;
beforeAll(async () => {
  engine = await startTestEngine();
});
afterAll(() => engine.close());

const int64 = (name: string, shape: readonly number[], values: readonly number[]): Tensor => ({
  name,
  datatype: 'INT64',
  shape,
  data: BigInt64Array.from(values, BigInt),
});

const sentence = (ids: readonly number[]): readonly Tensor[] => [
  int64('input_ids', [1, ids.length], ids),
  int64(
    'attention_mask',
    [1, ids.length],
    ids.map(() => 1),
  ),
];

async function generate(
  prompt: string,
  maxTokens: number,
): Promise<{ readonly tokens: readonly GeneratedToken[]; readonly text: string }> {
  const tokens: GeneratedToken[] = [];
  await engine.generate(GENERATE, prompt, { maxTokens }, (token) => tokens.push(token));
  return { tokens, text: tokens.map((token) => token.text).join('') };
}

describe('loaded models', () => {
  test('state tasks, tensors, provider and identity', () => {
    const embed = engine.models.get(EMBED)!;
    expect(embed.tasks).toEqual(['infer', 'embed']);
    expect(embed.inputs).toEqual([
      { name: 'input_ids', datatype: 'INT64', shape: [-1, -1] },
      { name: 'attention_mask', datatype: 'INT64', shape: [-1, -1] },
    ]);
    expect(embed).toMatchObject({ maxTokens: 512, dimensions: 100, providers: ['CPUExecutionProvider'] });
    expect(embed.manifestDigest).toHaveLength(32);
    expect(engine.models.get(GENERATE)).toMatchObject({ tasks: ['infer', 'generate'], maxTokens: 256 });
    expect(engine.health()).toMatchObject({ state: 'ready', restarts: 0, pending: 0, refused: [] });
  });
});

describe('embed', () => {
  test('puts paraphrases nearer than unrelated texts', async () => {
    const { vectors, tokens } = await engine.embed(EMBED, [
      'The cat sat on the mat.',
      'A cat was sitting on a rug.',
      'Stock markets fell sharply on Monday.',
    ]);
    expect(tokens).toEqual([7, 8, 7]);
    expect(cosine(vectors[0]!, vectors[1]!)).toBeGreaterThan(cosine(vectors[0]!, vectors[2]!) + 0.3);
  });

  test('gives each text the same vector alone and in any company', async () => {
    const texts = Array.from({ length: 150 }, (_, i) => `the ${'old '.repeat(i % 40)}house number ${i}`);
    const together = (await engine.embed(EMBED, texts)).vectors;
    const concurrent = await Promise.all(texts.map((text) => engine.embed(EMBED, [text])));
    expect(concurrent.map(({ vectors }) => vectors[0])).toEqual(together);
    const alone = await engine.embed(EMBED, [texts[77]!]);
    expect(alone.vectors[0]).toEqual(together[77]);
  });

  test('refuses what it would have to cut, and texts without tokens', async () => {
    await expect(engine.embed(EMBED, ['word '.repeat(513)])).rejects.toMatchObject({ code: 'INVALID_INPUT' });
    await expect(engine.embed(EMBED, ['x'.repeat(100_000)])).rejects.toMatchObject({ code: 'INVALID_INPUT' });
    await expect(engine.embed(EMBED, ['fine', '  '])).rejects.toMatchObject({ code: 'INVALID_INPUT' });
    await expect(engine.embed(EMBED, [])).rejects.toMatchObject({ code: 'INVALID_INPUT' });
    expect((await engine.embed(EMBED, ['word '.repeat(512)])).tokens).toEqual([512]);
  });

  test('a refused text fails only its own request', async () => {
    const answers = await Promise.allSettled([
      engine.embed(EMBED, ['a house']),
      engine.embed(EMBED, ['']),
      engine.embed(EMBED, ['a garden']),
    ]);
    expect(answers.map((answer) => answer.status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  });
});

describe('infer', () => {
  test('runs any model on tensors', async () => {
    const [vector] = await engine.infer(EMBED, sentence([40, 41]));
    expect(vector).toMatchObject({ name: 'sentence_embedding', datatype: 'FP32', shape: [1, 100] });

    const cache = engine.models
      .get(GENERATE)!
      .inputs.filter((input) => input.name.startsWith('past'))
      .map(({ name, datatype }) => ({ name, datatype, shape: [1, 4, 0, 32], data: new Float32Array() }));
    const inputs = [...sentence([7, 8, 9]), int64('position_ids', [1, 3], [0, 1, 2]), ...cache];
    const outputs = await engine.infer(GENERATE, inputs);
    expect(outputs).toHaveLength(9);
    expect(outputs[0]).toMatchObject({ name: 'logits', shape: [1, 3, 1024] });
  });

  test.each<readonly [string, readonly Tensor[], RegExp]>([
    ['a missing input', [int64('input_ids', [1, 1], [5])], /attention_mask/],
    ['an input twice', [...sentence([5]), ...sentence([5])], /inputs/],
    ['another name', [int64('input_ids', [1, 1], [5]), int64('secret', [1, 1], [5])], /attention_mask/],
    [
      'another datatype',
      [{ ...sentence([5])[0]!, datatype: 'INT32', data: Int32Array.of(5) }, sentence([5])[1]!],
      /INT64.*INT32/,
    ],
    [
      'data of another type',
      [{ ...sentence([5])[0]!, data: Int32Array.of(5) }, sentence([5])[1]!],
      /input_ids/,
    ],
    [
      'another rank',
      [int64('input_ids', [1], [5]), int64('attention_mask', [1], [1])],
      /\[-1, -1\], given \[1\]/,
    ],
    [
      'too little data',
      [int64('input_ids', [1, 2], [5]), int64('attention_mask', [1, 1], [1])],
      /2 elements/,
    ],
    ['a negative size', [int64('input_ids', [-1, -1], [5]), int64('attention_mask', [1, 1], [1])], /shape/],
    [
      'sizes that disagree',
      [int64('input_ids', [1, 3], [5, 6, 7]), int64('attention_mask', [1, 2], [1, 1])],
      /./,
    ],
    ['a token that does not exist', sentence([987_654_321]), /./],
  ])('refuses %s, naming input and types but no value', async (_name, inputs, message) => {
    const error = await engine.infer(EMBED, inputs).catch((reason: unknown) => reason);
    expect(error).toMatchObject({ name: 'EngineError', code: 'INVALID_INPUT' });
    expect((error as Error).message).toMatch(message);
    expect((error as Error).message).not.toMatch(/987|secret/);
  });

  test('refuses more elements than a request may have', async () => {
    const data = new BigInt64Array(0x80_0001);
    const shape = [1, data.length];
    const inputs = ['input_ids', 'attention_mask'].map(
      (name) => ({ name, datatype: 'INT64', shape, data }) as const,
    );
    await expect(engine.infer(EMBED, inputs)).rejects.toMatchObject({ code: 'INVALID_INPUT' });
  });
});

describe('generate', () => {
  test('is deterministic, also in company', async () => {
    const first = await generate('The people of', 40);
    const [again, other] = await Promise.all([generate('The people of', 40), generate('Call me', 40)]);
    expect(again).toEqual(first);
    expect(first.tokens).toHaveLength(40);
    expect(other.text).not.toBe(first.text);
    expect(first.text.length).toBeGreaterThan(40);
  });

  test('counts tokens and says why it ended', async () => {
    const ended = await engine.generate(GENERATE, 'The people of', { maxTokens: 3 }, () => undefined);
    expect(ended).toEqual({ promptTokens: 4, completionTokens: 3, finishReason: 'length' });
    let calls = 0;
    const full = await engine.generate(GENERATE, 'the '.repeat(200), { maxTokens: 1000 }, () => (calls += 1));
    expect(full.finishReason).toBe('length');
    expect(full.promptTokens + full.completionTokens).toBe(256);
    expect(calls).toBe(full.completionTokens);
  });

  test('continues alike from a prompt in one piece and from prompt and tokens so far', async () => {
    const whole = await generate('We the', 20);
    const { text } = await generate('We the', 8);
    const rest = await generate(`We the${text}`, 12);
    expect(text + rest.text).toBe(whole.text);
  });

  test('refuses prompts that leave no room, are empty or count badly', async () => {
    const none = (): undefined => undefined;
    for (const [prompt, maxTokens] of [
      ['the '.repeat(600), 1],
      ['', 1],
      ['fine', 0],
      ['fine', 1.5],
    ] as const) {
      await expect(engine.generate(GENERATE, prompt, { maxTokens }, none)).rejects.toMatchObject({
        code: 'INVALID_INPUT',
      });
    }
  });

  test('a listener that throws ends only its own call', async () => {
    const failing = engine.generate(GENERATE, 'The', { maxTokens: 50 }, () => {
      throw new Error('listener');
    });
    await expect(failing).rejects.toThrow('listener');
    expect((await generate('The', 2)).tokens).toHaveLength(2);
  });
});

describe('requests that do not fit', () => {
  test('name the reason by code', async () => {
    await expect(engine.embed('missing', ['x'])).rejects.toMatchObject({ code: 'UNKNOWN_MODEL' });
    await expect(engine.embed(GENERATE, ['x'])).rejects.toMatchObject({ code: 'UNSUPPORTED_TASK' });
    const generation = engine.generate(EMBED, 'x', { maxTokens: 1 }, () => undefined);
    await expect(generation).rejects.toMatchObject({ code: 'UNSUPPORTED_TASK' });
  });

  test('a caller that leaves is answered at once and holds nothing', async () => {
    await expect(engine.embed(EMBED, ['x'], { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'CANCELLED',
    });
    const controller = new AbortController();
    const long = engine.generate(GENERATE, 'The', { maxTokens: 250, signal: controller.signal }, () => {
      controller.abort();
    });
    await expect(long).rejects.toMatchObject({ code: 'CANCELLED' });
    await engine.embed(EMBED, ['after']);
    expect(engine.health().pending).toBe(0);
  });
});
