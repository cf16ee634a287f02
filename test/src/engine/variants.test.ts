import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, jest, test } from '@jest/globals';
import type { Engine } from '../../../src/engine/engine.ts';
import { startTestEngine } from '../../support/engine.ts';
import { craftEncoder } from '../../support/onnx.ts';
import { copyShipped, makeStore, SHIPPED_MODELS } from '../../support/store.ts';

// Each start of an engine loads two models; other suites may hold the cores meanwhile.
jest.setTimeout(120_000);

const EMBED = 'glove-sif-100d';
const GENERATE = 'tinygpt-1m';

let engine: Engine | undefined;
afterEach(async () => {
  await engine?.close();
  engine = undefined;
});

async function start(directory: string): Promise<Engine> {
  engine = await startTestEngine(directory);
  return engine;
}

describe('models of another form', () => {
  test('token states are averaged over the tokens of each text, not over its padding', async () => {
    const tokenizer = await readFile(join(SHIPPED_MODELS, EMBED, 'tokenizer.json'));
    const running = await start(
      await makeStore({
        'encoder/model.onnx': craftEncoder(30_002),
        'encoder/tokenizer.json': tokenizer,
        'encoder/config.json': '{"hidden_size":3,"max_position_embeddings":16}',
      }),
    );
    expect(running.models.get('encoder')).toMatchObject({
      tasks: ['infer', 'embed'],
      dimensions: 3,
      maxTokens: 16,
    });
    // «the» is token 2, «of» 5, «to» 6 and «and» 7.
    const { vectors } = await running.embed('encoder', ['the', 'of to and', 'the and']);
    expect(vectors).toEqual([
      Float32Array.of(2, -2, 1),
      Float32Array.of(6, -6, 1),
      Float32Array.of(4.5, -4.5, 1),
    ]);
  });

  test('a generation stops at each end token and does not count it', async () => {
    const directory = await copyShipped();
    const ids: number[] = [];
    const first = await start(directory);
    await first.generate(GENERATE, 'The people', { maxTokens: 6 }, ({ id }) => ids.push(id));
    await first.close();
    const end = ids.find((id, i) => i > 0 && !ids.slice(0, i).includes(id))!;
    await writeFile(join(directory, GENERATE, 'generation_config.json'), `{"eos_token_id":[0,${end}]}`);
    const running = await start(directory);
    const given: number[] = [];
    const ended = await running.generate(GENERATE, 'The people', { maxTokens: 6 }, ({ id }) =>
      given.push(id),
    );
    expect(given).toEqual(ids.slice(0, ids.indexOf(end)));
    expect(ended).toMatchObject({ finishReason: 'stop', completionTokens: given.length });
  });

  test('a text that the runtime fails on takes no other request with it', async () => {
    const directory = await copyShipped();
    const path = join(directory, EMBED, 'tokenizer.json');
    const json = await readFile(path, 'utf8');
    await writeFile(path, json.replace('"codenamed":30001', '"codenamed":99999'));
    const running = await start(directory);
    const expected = await running.embed(EMBED, ['a house']);
    const [bad, good] = await Promise.allSettled([
      running.embed(EMBED, ['of codenamed', 'fine']),
      running.embed(EMBED, ['a house']),
    ]);
    expect(bad).toMatchObject({ status: 'rejected', reason: { code: 'ENGINE_FAILED' } });
    expect(good).toMatchObject({ status: 'fulfilled', value: expected });
  });
});
