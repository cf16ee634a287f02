import { createHash } from 'node:crypto';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, jest, test } from '@jest/globals';
import { type Dc, decodeDc } from '../../../attestation/cbor/deterministic.ts';
import type { Engine, Tensor } from '../../../src/engine/engine.ts';
import { startEngine } from '../../../src/engine/host.ts';
import { libraryFolder, missingCudaLibrary } from '../../../src/engine/runtime.ts';
import { ModelError } from '../../../src/models/errors.ts';
import { readStore } from '../../../src/models/store.ts';
import { childEntry, startTestEngine } from '../../support/engine.ts';
import { craftOnnx } from '../../support/onnx.ts';
import { copyShipped, makeStore, SHIPPED_MODELS } from '../../support/store.ts';

// Each start of an engine loads two models; other suites may hold the cores meanwhile.
jest.setTimeout(120_000);

const EMBED = 'glove-sif-100d';
const open: Engine[] = [];
afterEach(async () => {
  await Promise.all(open.splice(0).map((engine) => engine.close()));
});

async function start(...options: Parameters<typeof startTestEngine>): Promise<Engine> {
  const engine = await startTestEngine(...options);
  open.push(engine);
  return engine;
}

const digestOf = (engine: Engine, model = EMBED): Uint8Array => engine.models.get(model)!.manifestDigest;
const sha256 = (bytes: Uint8Array): Uint8Array => new Uint8Array(createHash('sha256').update(bytes).digest());
const floats: Tensor = { name: 'x', datatype: 'FP32', shape: [4], data: new Float32Array(4) };

/** Flips a bit in the middle of a file: in the weights, where the model stays well-formed. */
async function flip(path: string): Promise<void> {
  const bytes = await readFile(path);
  bytes[bytes.length >> 1]! ^= 1;
  await writeFile(path, bytes);
}

describe('model manifest of a running model', () => {
  test('names the files, the runtime and its settings', async () => {
    const engine = await start();
    const [label, files, runtime, options] = decodeDc(engine.models.get(EMBED)!.manifest) as readonly Dc[];
    expect(label).toBe('vouchsafe/manifest/1');
    const weights = new Uint8Array(await readFile(join(SHIPPED_MODELS, EMBED, 'model.onnx')));
    expect((files as Dc[]).map((line) => (line as Dc[])[0])).toEqual([
      'model.onnx',
      'tokenizer.json',
      'tokenizer_config.json',
    ]);
    expect((files as Dc[])[0]).toEqual(['model.onnx', weights.length, sha256(weights)]);
    const library = new Uint8Array(await readFile(join(libraryFolder(), 'libonnxruntime.so.1')));
    expect(runtime).toEqual(['onnxruntime', '1.29.0', sha256(library)]);
    expect([...(options as ReadonlyMap<string, string>)]).toEqual(
      expect.arrayContaining([
        ['execution_provider', 'CPUExecutionProvider'],
        ['graph_optimization_level', 'all'],
        ['intra_op_threads', '1'],
      ]),
    );
    expect(digestOf(engine)).toEqual(sha256(engine.models.get(EMBED)!.manifest));
  });

  test('is the same at every start and another under other settings', async () => {
    const [first, again, threads] = await Promise.all([
      start(),
      start(),
      start(SHIPPED_MODELS, { threads: 2 }),
    ]);
    expect(digestOf(again)).toEqual(digestOf(first));
    expect(digestOf(threads)).not.toEqual(digestOf(first));
  });
});

describe('weights-swap', () => {
  test('a file that changes after it was hashed changes neither answers nor identity', async () => {
    const directory = await copyShipped();
    const engine = await start(directory);
    const before = await engine.embed(EMBED, ['an old house by the sea']);
    const digest = digestOf(engine);
    await flip(join(directory, EMBED, 'model.onnx'));
    await rm(join(directory, EMBED, 'tokenizer.json'));
    expect(await engine.embed(EMBED, ['an old house by the sea'])).toEqual(before);
    expect(digestOf(engine)).toEqual(digest);
  });

  test('a file that changes between discovery and load has another identity', async () => {
    const honest = await start();
    const directory = await copyShipped();
    const { models } = await readStore(directory);
    await flip(join(directory, EMBED, 'model.onnx'));
    const engine = await startEngine({ models, provider: 'cpu', threads: 1, childEntry: childEntry() });
    open.push(engine);
    expect(digestOf(engine)).not.toEqual(digestOf(honest));
    expect(digestOf(engine, 'tinygpt-1m')).toEqual(digestOf(honest, 'tinygpt-1m'));
  });

  test('external weights run from the buffer that was hashed', async () => {
    const directory = await makeStore({
      'sum/onnx/model.onnx': craftOnnx({ external: { location: 'parts/w.bin', offset: '16', length: '16' } }),
      'sum/onnx/parts/w.bin': new Uint8Array(Float32Array.of(0, 0, 0, 0, 5, 6, 7, 8).buffer),
    });
    const engine = await start(directory);
    await writeFile(join(directory, 'sum/onnx/parts/w.bin'), new Uint8Array(32));
    const [output] = await engine.infer('sum', [floats]);
    expect(output!.data).toEqual(Float32Array.of(5, 6, 7, 8));
    const files = (decodeDc(engine.models.get('sum')!.manifest) as Dc[])[1] as Dc[][];
    expect(files.map(([path]) => path)).toEqual(['onnx/model.onnx', 'onnx/parts/w.bin']);
  });
});

describe('a model that is refused at load', () => {
  async function refusal(files: Readonly<Record<string, string | Uint8Array>>): Promise<string> {
    const error = await start(await makeStore(files)).catch((reason: unknown) => reason);
    if (!(error instanceof ModelError)) throw error;
    return `${error.code} ${error.model} ${error.file}`;
  }

  test('names the file', async () => {
    const model = { 'm/model.onnx': craftOnnx() };
    const tokenizer = { 'm/tokenizer.json': '{"model":{"type":"Unheard"},"added_tokens":[]}' };
    expect(await refusal({ ...model, 'm/config.json': '{' })).toBe('FILE_MALFORMED m config.json');
    expect(await refusal({ ...model, 'm/config.json': '{"n_positions":"many"}' })).toBe(
      'FILE_MALFORMED m config.json',
    );
    expect(await refusal({ ...model, 'm/generation_config.json': '{"eos_token_id":-1}' })).toBe(
      'FILE_MALFORMED m generation_config.json',
    );
    expect(await refusal({ ...model, ...tokenizer })).toBe('FILE_MALFORMED m tokenizer.json');
    const bare = Uint8Array.of(0x08, 0x08, 0x3a, 0x02, 0x12, 0x00);
    expect(await refusal({ 'm/model.onnx': bare })).toMatch(/^UNSUPPORTED_MODEL m model.onnx$/);
  });

  test('external data that came after discovery is not read', async () => {
    const directory = await makeStore({ 'm/model.onnx': craftOnnx(), 'm/w.bin': new Uint8Array(16) });
    const { models } = await readStore(directory);
    await writeFile(join(directory, 'm/model.onnx'), craftOnnx({ external: { location: 'w.bin' } }));
    const started = startEngine({ models, provider: 'cpu', childEntry: childEntry() });
    await expect(started).rejects.toMatchObject({ code: 'EXTERNAL_DATA_MISSING', file: 'w.bin' });
  });

  test('a chat template is handed on from the files that were hashed', async () => {
    const directory = await copyShipped();
    await writeFile(join(directory, 'tinygpt-1m', 'chat_template.jinja'), '{{ messages[0].content }}');
    const engine = await start(directory);
    expect(engine.models.get('tinygpt-1m')!.chatTemplate).toEqual({
      template: '{{ messages[0].content }}',
      bosToken: '<|endoftext|>',
      eosToken: '<|endoftext|>',
    });
    expect(engine.models.get(EMBED)!.chatTemplate).toBeUndefined();
  });
});

describe('execution provider', () => {
  test('cuda without its library refuses to start and names it; auto runs on the CPU and says so', async () => {
    const missing = missingCudaLibrary(libraryFolder());
    if (!missing) return;
    await expect(start(SHIPPED_MODELS, { provider: 'cuda' })).rejects.toMatchObject({
      code: 'PROVIDER_MISSING',
      file: missing.file,
    });
    const fallbacks: string[] = [];
    const engine = await start(SHIPPED_MODELS, {
      provider: 'auto',
      onEvent: (event) => {
        if (event.kind === 'fallback') fallbacks.push(event.detail);
      },
    });
    expect(engine.models.get(EMBED)!.providers).toEqual(['CPUExecutionProvider']);
    expect(fallbacks).toHaveLength(1);
    expect(fallbacks[0]).toContain(missing.file);
  });

  test('a CUDA library that is there but does not load is named', async () => {
    expect(missingCudaLibrary(await makeStore())).toMatchObject({
      file: 'libonnxruntime_providers_cuda.so',
    });
    const broken = await makeStore({
      'libonnxruntime_providers_cuda.so': 'no library',
      'libonnxruntime_providers_shared.so': 'no library',
    });
    expect(missingCudaLibrary(broken)).toMatchObject({ file: 'libonnxruntime_providers_shared.so' });
  });
});
