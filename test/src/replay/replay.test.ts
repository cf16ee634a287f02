import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, jest, test } from '@jest/globals';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import type { Engine } from '../../../src/engine/engine.ts';
import { openRecorded, type Recorded } from '../../../src/replay/recorded.ts';
import { replay } from '../../../src/replay/replay.ts';
import { startTestEngine } from '../../support/engine.ts';
import { startTestService, type TestService } from '../../support/service.ts';
import { copyShipped } from '../../support/store.ts';
import { alterWeights, keep, record } from './exchanges.ts';

// Each test starts processes.
jest.setTimeout(60_000);

const GPT = 'tinygpt-1m';
const GLOVE = 'glove-sif-100d';
const DRAWN = { model: GPT, prompt: 'Call me', max_tokens: 12, temperature: 0.9 };
const IDS = [5, 6, 7].flatMap((id) => [id & 0xff, 0, 0, 0, 0, 0, 0, 0]);
const MASK = [1, 1, 1].flatMap((bit) => [bit, 0, 0, 0, 0, 0, 0, 0]);

let serving: Engine;
let fresh: Engine;
let store: string;
beforeAll(async () => {
  store = await copyShipped();
  const template = '{% for m in messages %}{{ m.content }}{% endfor %}';
  await writeFile(join(store, GPT, 'chat_template.jinja'), template);
  [serving, fresh] = await Promise.all([startTestEngine(store), startTestEngine(store)]);
}, 60_000);
afterAll(() => Promise.all([serving.close(), fresh.close()]));

function service(): Promise<TestService> {
  return startTestService({}, { engine: serving });
}

/** An inference request with raw tensors behind its JSON. */
function framed(): { body: Uint8Array; headers: Record<string, string> } {
  const tensor = (name: string) => ({
    name,
    shape: [1, 3],
    datatype: 'INT64',
    parameters: { binary_data_size: 24 },
  });
  const inputs = [tensor('input_ids'), tensor('attention_mask')];
  const json = Buffer.from(JSON.stringify({ inputs, parameters: { binary_data_output: true } }));
  const headers = {
    'content-type': 'application/octet-stream',
    'inference-header-content-length': String(json.length),
  };
  return { body: new Uint8Array(Buffer.concat([json, Buffer.from(IDS), Buffer.from(MASK)])), headers };
}

type Asked = Parameters<typeof keep> extends [unknown, ...infer Rest] ? Rest : never;

const EXCHANGES: readonly (readonly [string, () => Asked])[] = [
  ['embeddings', () => ['/v1/embeddings', { model: GLOVE, input: ['a red car', 'hello'] }]],
  [
    'embeddings in base64',
    () => ['/v1/embeddings', { model: GLOVE, input: 'a red car', encoding_format: 'base64' }],
  ],
  ['a greedy completion', () => ['/v1/completions', { ...DRAWN, temperature: 0, logprobs: 3 }]],
  ['a completion whose seed the service drew', () => ['/v1/completions', DRAWN]],
  ['a completion with a seed', () => ['/v1/completions', { ...DRAWN, seed: 5, stop: ['zzz'] }]],
  ['a stream of several choices', () => ['/v1/completions', { ...DRAWN, n: 3, stream: true }]],
  [
    'a chat',
    () => [
      '/v1/chat/completions',
      { model: GPT, messages: [{ role: 'user', content: 'Call me' }], max_tokens: 8 },
    ],
  ],
  [
    'a stream of a chat',
    () => [
      '/v1/chat/completions',
      {
        model: GPT,
        messages: [{ role: 'user', content: 'Call' }],
        max_tokens: 8,
        temperature: 1,
        stream: true,
      },
    ],
  ],
  [
    'tensors in JSON',
    () => [
      `/v2/models/${GLOVE}/infer`,
      {
        inputs: [
          { name: 'input_ids', shape: [1, 2], datatype: 'INT64', data: [5, 6] },
          { name: 'attention_mask', shape: [1, 2], datatype: 'INT64', data: [1, 1] },
        ],
      },
    ],
  ],
  [
    'raw tensors',
    () => {
      const { body, headers } = framed();
      return [`/v2/models/${GLOVE}/versions/1/infer`, body, headers];
    },
  ],
  ['a refusal', () => ['/v1/embeddings', { model: GLOVE, input: 'hello', dimensions: 3 }]],
];

describe('an answer of the same model', () => {
  test.each(EXCHANGES)('is equal: %s', async (_name, asked) => {
    const recorded = await record(await service(), ...asked());
    const result = await replay(recorded, fresh);
    expect(result.differences).toEqual([]);
    expect(result).toMatchObject({ equal: true, answerEqual: true, model: { equal: true } });
  });

  const RESPONSE = { model: GPT, input: 'Call me', max_output_tokens: 8, temperature: 0.9 };
  test.each([
    ['a completion', '/v1/completions', DRAWN],
    ['a stream of completions', '/v1/completions', { ...DRAWN, n: 2, stream: true }],
    ['a response', '/v1/responses', RESPONSE],
    ['a stream of a response', '/v1/responses', { ...RESPONSE, stream: true }],
  ])('is equal at another time: %s', async (_name, path, body) => {
    const recorded = await record(await service(), path, body);
    await new Promise((resolve) => setTimeout(resolve, 1100));
    expect(await replay(recorded, fresh)).toMatchObject({ equal: true });
  });

  test('says that the seed is that of the receipt, where the service drew it', async () => {
    const server = await service();
    const drawn = await replay(await record(server, '/v1/completions', DRAWN), fresh);
    expect(drawn.seed).toMatch(/^\d+$/);
    const stated = await replay(await record(server, '/v1/completions', { ...DRAWN, seed: 7 }), fresh);
    expect(stated.seed).toBeUndefined();
  });
});

describe('another seed', () => {
  function withSeed(recorded: Recorded, seed: string): Recorded {
    const parameters = new Map(recorded.claims.parameters).set('seed', seed);
    return { ...recorded, claims: { ...recorded.claims, parameters } };
  }

  test('gives another text, from the token that is named', async () => {
    const recorded = withSeed(await record(await service(), '/v1/completions', DRAWN), '1');
    const result = await replay(recorded, fresh);
    expect(result).toMatchObject({ equal: false, answerEqual: false, model: { equal: true } });
    const [text] = result.differences;
    expect(text).toMatchObject({ where: 'choices[0].text', position: { unit: 'character' } });
    expect(text!.token).toBeGreaterThanOrEqual(0);
  });

  test('of a stream differs at a chunk', async () => {
    const recorded = withSeed(
      await record(await service(), '/v1/completions', { ...DRAWN, stream: true }),
      '1',
    );
    const [first] = (await replay(recorded, fresh)).differences;
    expect(first).toMatchObject({
      position: { unit: 'chunk' },
      where: expect.stringMatching(/^choice 0, chunk \d+: choices\[0\]/),
    });
  });

  test('than the request asked for is told, although the answer may be of it', async () => {
    const recorded = withSeed(await record(await service(), '/v1/completions', { ...DRAWN, seed: 5 }), '6');
    const { equal, answerEqual, differences } = await replay(recorded, fresh);
    expect([equal, answerEqual]).toEqual([false, true]);
    expect(differences).toEqual([{ where: 'receipt: parameter seed', recorded: '"6"', replayed: '"5"' }]);
  });
});

describe('a service whose tensor requests share runs', () => {
  const inputs = [
    { name: 'input_ids', shape: [2, 2], datatype: 'INT64', data: [5, 6, 7, 8] },
    { name: 'attention_mask', shape: [2, 2], datatype: 'INT64', data: [1, 1, 1, 1] },
  ];
  let sharing: Engine;
  beforeAll(async () => {
    sharing = await startTestEngine(store, { tuning: { tensorRows: 8 } });
  }, 60_000);
  afterAll(() => sharing.close());

  /** What the receipt says of the run, changed where a test says so. */
  async function recorded(rows?: string): Promise<Recorded> {
    const server = await startTestService({}, { engine: sharing });
    const made = await record(server, `/v2/models/${GLOVE}/infer`, { inputs });
    expect(made.claims.parameters.get('batch_rows')).toBe('2');
    if (rows === undefined) return made;
    const parameters = new Map(made.claims.parameters).set('batch_rows', rows);
    return { ...made, claims: { ...made.claims, parameters } };
  }

  test('is replayed by an engine whose requests do not', async () => {
    const result = await replay(await recorded(), fresh);
    expect(result).toMatchObject({ equal: true, differences: [], sharedRun: undefined });
    expect(await replay(await recorded(), sharing)).toMatchObject({ equal: true, differences: [] });
  });

  test('has its company told, and the answer is compared', async () => {
    const result = await replay(await recorded('6'), fresh);
    expect(result).toMatchObject({ equal: true, differences: [], sharedRun: { rows: 6, own: 2 } });
  });

  test.each(['1', '0', 'many'])('cannot have answered two rows in %s', async (rows) => {
    const { equal, differences } = await replay(await recorded(rows), fresh);
    expect(equal).toBe(false);
    expect(differences).toMatchObject([{ where: 'receipt: parameter batch_rows', recorded: `"${rows}"` }]);
  });

  test('has none for embeddings', async () => {
    const made = await record(await service(), '/v1/embeddings', { model: GLOVE, input: 'x' });
    const parameters = new Map(made.claims.parameters).set('batch_rows', '4');
    const { equal } = await replay({ ...made, claims: { ...made.claims, parameters } }, fresh);
    expect(equal).toBe(false);
  });
});

describe('altered weights', () => {
  /** An engine whose weights differ by one byte. */
  async function altered(): Promise<Engine> {
    const directory = await copyShipped();
    await alterWeights(directory);
    return startTestEngine(directory);
  }

  test('of a generator are named, and the answer differs', async () => {
    const [original, other] = await Promise.all([startTestEngine(), altered()]);
    try {
      const server = await startTestService({}, { engine: original });
      const asked = { model: GPT, prompt: 'Call me', max_tokens: 8, logprobs: 5, temperature: 0 };
      const recorded = await record(server, '/v1/completions', asked);
      const result = await replay(recorded, other, original.models.get(GPT)!.manifest);
      expect(result).toMatchObject({ equal: false, answerEqual: false, model: { equal: false } });
      expect(result.model.differences?.map(({ name }) => name)).toEqual(['file onnx/model.onnx']);
      const numbers = result.differences.find(({ where }) => where.endsWith('token_logprobs'));
      expect(numbers?.largest).toBeGreaterThan(0);
    } finally {
      await Promise.all([original.close(), other.close()]);
    }
  }, 60_000);
});

describe('what is not what the receipt vouches for', () => {
  test.each(['request', 'response'] as const)('another %s is refused', async (part) => {
    const { bundle, opening } = await keep(await service(), '/v1/embeddings', { model: GLOVE, input: 'x y' });
    const changed = opening[part].slice();
    changed[3]! ^= 1;
    const opened = openRecorded(bundle, { ...opening, [part]: changed }, nodeCrypto);
    await expect(opened).rejects.toMatchObject({ code: 'COMMITMENT_MISMATCH' });
  });

  test('a receipt of another log is refused', async () => {
    const asked = ['/v1/embeddings', { model: GLOVE, input: 'x y' }] as const;
    const [first, second] = [await keep(await service(), ...asked), await keep(await service(), ...asked)];
    const opened = openRecorded(first.bundle, second.opening, nodeCrypto);
    await expect(opened).rejects.toMatchObject({ code: 'COMMITMENT_MISMATCH' });
  });

  test('a receipt with another signature is refused', async () => {
    const { bundle, opening } = await keep(await service(), '/v1/embeddings', { model: GLOVE, input: 'x y' });
    const bytes = bundle.slice();
    const at = Buffer.from(bytes).indexOf(Buffer.from('application/vouchsafe-receipt+cose'));
    bytes[at + 200]! ^= 1;
    await expect(openRecorded(bytes, opening, nodeCrypto)).rejects.toMatchObject({ name: 'Refusal' });
  });

  test('without the content nothing is replayed', async () => {
    const { bundle } = await keep(await service(), '/v1/embeddings', { model: GLOVE, input: 'x y' });
    await expect(openRecorded(bundle, undefined, nodeCrypto)).rejects.toMatchObject({
      code: 'CONTENT_MISSING',
    });
  });

  test('another manifest than that of the receipt is refused', async () => {
    const recorded = await record(await service(), '/v1/embeddings', { model: GLOVE, input: 'x y' });
    const refused = replay(recorded, fresh, fresh.models.get(GPT)!.manifest);
    await expect(refused).rejects.toMatchObject({ code: 'MANIFEST_MISMATCH' });
  });

  test('an API that is not served here is not replayed', async () => {
    const recorded = await record(await service(), '/v1/embeddings', { model: GLOVE, input: 'x y' });
    await expect(replay(recorded, fresh, undefined, [])).rejects.toMatchObject({ code: 'ROUTE_UNKNOWN' });
  });

  test('an answer that ended early is not replayed', async () => {
    const server = await startTestService();
    server.engine.failure = 'ENGINE_FAILED';
    const { bundle, opening } = await keep(server, '/v1/embeddings', { model: 'fake', input: 'x' });
    const opened = openRecorded(bundle, opening, nodeCrypto);
    await expect(opened).rejects.toMatchObject({ code: 'NOT_REPEATABLE' });
  });

  test('an engine that fails is no difference', async () => {
    const server = await startTestService();
    const recorded = await record(server, '/v1/embeddings', { model: 'fake', input: 'x' });
    server.engine.failure = 'ENGINE_FAILED';
    await expect(replay(recorded, server.engine)).rejects.toMatchObject({ code: 'RUN_FAILED' });
  });
});
