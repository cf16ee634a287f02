import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { decode } from 'cborg';
import type { Engine, GenerateOptions, Generation, Tensor } from '../../../src/engine/engine.ts';
import { readStore } from '../../../src/models/store.ts';
import { startTestEngine } from '../../support/engine.ts';
import { SHIPPED_MODELS } from '../../support/store.ts';

// Each start of an engine loads two models; other suites may hold the cores meanwhile.
jest.setTimeout(120_000);

const EMBED = 'glove-sif-100d';
const GENERATE = 'tinygpt-1m';

let plain: Engine;
let sharing: Engine;
beforeAll(async () => {
  [plain, sharing] = await Promise.all([
    startTestEngine(),
    startTestEngine(SHIPPED_MODELS, { tuning: { tensorRows: 8, tensorDelayMs: 5, sequences: 6 } }),
  ]);
});
afterAll(() => Promise.all([plain.close(), sharing.close()]));

interface Said {
  readonly text: string;
  readonly ids: readonly number[];
  readonly end: Generation;
}

async function generate(engine: Engine, prompt: string, options: GenerateOptions): Promise<Said> {
  const pieces: string[] = [];
  const ids: number[] = [];
  const end = await engine.generate(GENERATE, prompt, options, ({ id, text }) => {
    pieces.push(text);
    ids.push(id);
  });
  return { text: pieces.join('') + (end.rest ?? ''), ids, end };
}

const words = 'It was a dark night upon the sea and the captain said to the crew'.split(' ');

/** A request that is like no other in prompt, seed and length. */
function request(i: number): readonly [string, GenerateOptions] {
  const prompt = Array.from({ length: 1 + ((i * 7) % 30) }, (_, j) => words[(i + j) % words.length]).join(
    ' ',
  );
  const draws = { temperature: i % 3 ? 0.9 : 0, topP: 0.95, topK: 40, choice: i % 2, seed: 1000 + i };
  const sampling = { ...draws, frequencyPenalty: i % 4 ? 0 : 0.3, presencePenalty: 0 };
  return [prompt, { maxTokens: 12 + 6 * i, sampling }];
}

describe('generations in company', () => {
  test('say what each says alone, whatever the others say', async () => {
    const requests = Array.from({ length: 12 }, (_, i) => request(i));
    const alone: Said[] = [];
    for (const [prompt, options] of requests)
      alone.push(await generate(plain, prompt, { ...options, scope: 'alone' }));
    expect(new Set(alone.map(({ text }) => text)).size).toBe(12);
    // Twelve at once, then so that half of them wait, then with what the prompts have left behind.
    for (const engine of [plain, sharing, plain]) {
      const together = requests.map(([prompt, options], i) =>
        generate(engine, prompt, { ...options, scope: `tenant ${i % 3}` }),
      );
      expect(await Promise.all(together)).toEqual(alone);
    }
  });

  test('give those that stay the same when others leave', async () => {
    const [prompt, options] = request(5);
    const wanted = await generate(plain, prompt, options);
    const leave = new AbortController();
    const leaving = Array.from({ length: 6 }, (_, i) =>
      generate(plain, request(i)[0], { maxTokens: 200, signal: leave.signal, scope: `leaving ${i}` }),
    );
    const staying = generate(plain, prompt, { ...options, scope: 'staying' });
    setTimeout(() => {
      leave.abort();
    }, 20);
    const left = await Promise.allSettled(leaving);
    expect(left.map(({ status }) => status)).toEqual(Array(6).fill('rejected'));
    expect(await staying).toEqual(wanted);
    expect(plain.health().pending).toBe(0);
  });

  test('refuse one with more tokens than the memory has room for, and that one alone', async () => {
    const tight = await startTestEngine(SHIPPED_MODELS, { tuning: { cacheBytes: 0x10_0000 } });
    const options = { maxTokens: 10 };
    const answers = await Promise.allSettled([
      generate(tight, 'The people', { maxTokens: 250 }),
      generate(tight, 'The people', options),
    ]);
    await tight.close();
    expect(answers[0]).toMatchObject({ status: 'rejected', reason: { code: 'INVALID_INPUT' } });
    expect(answers[1]).toEqual({ status: 'fulfilled', value: await generate(plain, 'The people', options) });
  });
});

describe('a constraint', () => {
  test('makes JSON of the babble of any seed', async () => {
    const schema = {
      type: 'object',
      properties: {
        name: { type: 'string', maxLength: 12 },
        size: { enum: ['small', 'large'] },
        count: { type: 'integer', minimum: 0, maximum: 99 },
        tags: { type: 'array', items: { type: 'boolean' }, maxItems: 3 },
      },
      required: ['name', 'size', 'count', 'tags'],
      additionalProperties: false,
    };
    const constraint = { kind: 'json-schema', schema } as const;
    const runs = Array.from({ length: 6 }, (_, i) =>
      generate(plain, 'The people', { ...request(i + 1)[1], maxTokens: 200, constraint }),
    );
    const said = await Promise.all(runs);
    expect(said.filter(({ end }) => end.finishReason === 'stop').length).toBeGreaterThan(3);
    for (const { text, end } of said) {
      if (end.finishReason !== 'stop') continue;
      const value = JSON.parse(text) as Record<string, unknown>;
      expect(Object.keys(value)).toEqual(['name', 'size', 'count', 'tags']);
      expect(['small', 'large']).toContain(value['size']);
    }
  });
});

const sentence = (ids: readonly number[], rows = 1): readonly Tensor[] => {
  const all = Array.from({ length: rows }, () => ids).flat();
  const int64 = (name: string, values: readonly number[]): Tensor => ({
    name,
    datatype: 'INT64',
    shape: [rows, ids.length],
    data: BigInt64Array.from(values, BigInt),
  });
  return [
    int64('input_ids', all),
    int64(
      'attention_mask',
      all.map(() => 1),
    ),
  ];
};

async function infer(engine: Engine, inputs: readonly Tensor[]): Promise<readonly [Tensor, number[]]> {
  const told: number[] = [];
  const [output] = await engine.infer(EMBED, inputs, { onRows: (rows) => told.push(rows) });
  return [output!, told];
}

describe('requests for tensors', () => {
  test('that share a run each get their own rows, and are told how many it had', async () => {
    const inputs = Array.from({ length: 12 }, (_, i) => sentence([40 + i, 50 + 3 * i], 1 + (i % 2)));
    const alone = [];
    for (const one of inputs) alone.push(await infer(plain, one));
    expect(alone.map(([, told]) => told)).toEqual(inputs.map(() => []));
    const together = await Promise.all(inputs.map((one) => infer(sharing, one)));
    expect(together.map(([output]) => output)).toEqual(alone.map(([output]) => output));
    const rows = together.map(([, told]) => told);
    expect(rows.every(([count], i) => rows[i]!.length === 1 && count! >= 1 && count! <= 8)).toBe(true);
    expect(Math.max(...rows.flat())).toBeGreaterThan(2);
  });

  test('share no run where their shapes differ', async () => {
    const [a, b] = await Promise.all([
      infer(sharing, sentence([40, 41])),
      infer(sharing, sentence([40, 41, 42])),
    ]);
    expect([a[1], b[1]]).toEqual([[1], [1]]);
  });

  test('fail alone where one makes the shared run fail', async () => {
    const inputs = [sentence([40, 41]), sentence([40, 987_654_321]), sentence([42, 43])];
    const answers = await Promise.allSettled(inputs.map((one) => infer(sharing, one)));
    expect(answers.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    expect(answers[1]).toMatchObject({ reason: { code: 'INVALID_INPUT' } });
    const [wanted] = await infer(plain, sentence([42, 43]));
    expect(answers[2]).toMatchObject({ value: [wanted, [1]] });
  });
});

describe('embeddings', () => {
  test('have the same bits in company as alone, from texts and from their tokens', async () => {
    const texts = Array.from(
      { length: 40 },
      (_, i) => words.slice(0, 1 + (i % 14)).join(' ') + ' '.repeat(i),
    );
    const alone = [];
    for (const text of texts) alone.push(...(await plain.embed(EMBED, [text])).vectors);
    const together = await Promise.all(
      texts.map((text, i) => plain.embed(EMBED, [text], { scope: `${i % 4}` })),
    );
    expect(together.map(({ vectors }) => vectors[0])).toEqual(alone);
    expect((await sharing.embed(EMBED, texts)).vectors).toEqual(alone);
  });
});

describe('a loaded model', () => {
  test('names in its manifest how it is driven and batched', () => {
    const options = (id: string): ReadonlyMap<string, string> => {
      const manifest = decode(plain.models.get(id)!.manifest, { useMaps: true }) as readonly unknown[];
      return manifest[3] as ReadonlyMap<string, string>;
    };
    const generates = Object.fromEntries(options(GENERATE));
    expect(generates).toMatchObject({
      decoder: 'native-in-place',
      decoder_batching: 'rows',
      disabled_optimizers: 'MatMulScaleFusion',
    });
    expect(Object.fromEntries(options(EMBED))).toMatchObject({ embedding_batching: 'rows' });
    expect(options(EMBED).has('decoder') || options(EMBED).has('disabled_optimizers')).toBe(false);
  });

  test('is freed after generations, cancelled ones too, and loads anew', async () => {
    const wanted = await generate(plain, 'The people of', { maxTokens: 30 });
    for (let round = 0; round < 3; round++) {
      const leave = new AbortController();
      const cancelled = generate(plain, 'the '.repeat(200), { maxTokens: 50, signal: leave.signal });
      const whole = generate(plain, 'The people of', { maxTokens: 30 });
      leave.abort();
      await expect(cancelled).rejects.toMatchObject({ code: 'CANCELLED' });
      expect(await whole).toEqual(wanted);
      await plain.unload(GENERATE);
      expect(plain.models.has(GENERATE)).toBe(false);
      const { models } = await readStore(SHIPPED_MODELS);
      await plain.load(models.find(({ id }) => id === GENERATE)!);
      expect(await generate(plain, 'The people of', { maxTokens: 30 })).toEqual(wanted);
    }
    expect(plain.health()).toMatchObject({ state: 'ready', restarts: 0, pending: 0 });
  });
});
