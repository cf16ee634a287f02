import { describe, expect, test } from '@jest/globals';
import { utf8 } from '../../../attestation/bytes/bytes.ts';
import { compareAnswers } from '../../../src/replay/compareAnswers.ts';
import { recordedOptions } from '../../../src/replay/engine.ts';
import { compareJson } from '../../../src/replay/compareJson.ts';
import { compareManifests, parseManifest, settingsOf } from '../../../src/replay/manifest.ts';
import { matchRoute } from '../../../src/replay/route.ts';
import { encodeManifest, manifestDigest } from '../../../src/models/manifest.ts';
import type { ModelSource } from '../../../src/models/store.ts';
import { INFERENCE_ROUTES } from '../../../src/http/inferenceRoutes.ts';

const body = (text: string, jsonLength?: number) => ({
  answer: { kind: 'body' as const, bytes: utf8(text) },
  jsonLength,
});
const stream = (...chunks: readonly string[]) => ({
  answer: { kind: 'stream' as const, chunks: chunks.map(utf8) },
  jsonLength: undefined,
});

describe('bodies', () => {
  test('only the time may differ', () => {
    expect(compareAnswers(body('{"created":1,"x":2}'), body('{"created":22,"x":2}'))).toEqual([]);
    expect(compareAnswers(body('{"created":1,"x":2}'), body('{"created":1,"x":3}'))).toHaveLength(1);
  });

  test.each([
    ['{"id":"a","created":1,"x":2}', '{"id":"a","created":1234567890,"x":2}'],
    [' { "created_at" : 5 ,"completed_at":6}', ' { "created_at" : 7 ,"completed_at":61}'],
    [
      '{"response":{"id":"a","created_at":5,"completed_at":6}}',
      '{"response":{"id":"a","created_at":7,"completed_at":8}}',
    ],
    ['{"x":[{"a":"\\\\"}],"created":1}', '{"x":[{"a":"\\\\"}],"created":9}'],
  ])('of %s the time is no part', (recorded, replayed) => {
    expect(compareAnswers(body(recorded), body(replayed))).toEqual([]);
    expect(compareAnswers(stream(recorded), stream(replayed))).toEqual([]);
  });

  test.each([
    ['deeper', '{"top_logprobs":[{"created":7}]}', '{"top_logprobs":[{"created":0}]}'],
    ['of another object', '{"output":{"created_at":7}}', '{"output":{"created_at":8}}'],
    ['deeper in a response', '{"response":{"x":{"created_at":7}}}', '{"response":{"x":{"created_at":8}}}'],
    ['of a response, which has another name', '{"response":{"created":7}}', '{"response":{"created":8}}'],
    ['of an element', '[{"created":7}]', '[{"created":8}]'],
    ['that is a fraction', '{"created":99.5}', '{"created":1.5}'],
    ['with an exponent', '{"created":1e5}', '{"created":1e6}'],
    ['below 0', '{"created":-1}', '{"created":-2}'],
    ['that is a text', '{"created":"1"}', '{"created":"2"}'],
    ['whose name is escaped', '{"\\u0063reated":1}', '{"\\u0063reated":2}'],
    ['that is null', '{"created":1}', '{"created":null}'],
    ['in what is no JSON', '{"created":1', '{"created":2'],
    ['that comes twice', '{"created":1,"created":1}', '{"created":1}'],
    ['with other space', '{"created":1}', '{"created": 1}'],
  ])('a time %s is compared', (_name, recorded, replayed) => {
    expect(compareAnswers(body(recorded), body(replayed))).not.toEqual([]);
    expect(compareAnswers(stream(recorded), stream(replayed))).not.toEqual([]);
  });

  test('text that looks like the time is text', () => {
    const [a, b] = ['\\"created\\":1', '\\"created\\":2'].map((text) => body(`{"x":"${text}"}`));
    expect(compareAnswers(a!, b!)).toMatchObject([{ where: 'x', position: { index: 10 } }]);
  });

  test('what means the same and is written otherwise differs at a byte', () => {
    const found = compareAnswers(body('{"x":1}'), body('{"x":1.0}'));
    expect(found).toMatchObject([{ where: 'the answer', position: { unit: 'byte', index: 6 } }]);
  });

  test('what is no JSON differs at a byte', () => {
    expect(compareAnswers(body('abc'), body('abd'))).toMatchObject([
      { position: { unit: 'byte', index: 2 } },
    ]);
  });

  test('a body and a stream differ', () => {
    expect(compareAnswers(body('{}'), stream('{}'))).toHaveLength(1);
  });

  test('raw tensors differ element by element', () => {
    const head = JSON.stringify({
      outputs: [{ name: 'y', datatype: 'FP32', shape: [3], parameters: { binary_data_size: 12 } }],
    });
    const tensor = (...values: readonly number[]) => ({
      answer: {
        kind: 'body' as const,
        bytes: new Uint8Array(Buffer.concat([utf8(head), new Uint8Array(Float32Array.from(values).buffer)])),
      },
      jsonLength: head.length,
    });
    expect(compareAnswers(tensor(1, 2, 3), tensor(1, 2, 3))).toEqual([]);
    expect(compareAnswers(tensor(1, 2, 3), tensor(1, 2.5, 5))).toEqual([
      {
        where: 'outputs[0] (y)',
        position: { unit: 'element', index: 1 },
        recorded: '2',
        replayed: '2.5',
        differing: 2,
        total: 3,
        largest: 2,
      },
    ]);
  });
});

describe('values', () => {
  test('numbers are counted, with the largest difference', () => {
    expect(compareJson({ data: [{ embedding: [1, 2, 3] }] }, { data: [{ embedding: [1, 4, 3.5] }] })).toEqual(
      [
        {
          where: 'data[0].embedding',
          position: { unit: 'element', index: 1 },
          recorded: '2',
          replayed: '4',
          differing: 2,
          total: 3,
          largest: 2,
        },
      ],
    );
  });

  test('embeddings in base64 are numbers', () => {
    const base64 = (...values: readonly number[]) =>
      Buffer.from(Float32Array.from(values).buffer).toString('base64');
    const nested = compareJson(
      { data: [{ embedding: base64(1, 2) }] },
      { data: [{ embedding: base64(1, 3) }] },
    );
    expect(nested).toMatchObject([{ position: { unit: 'element', index: 1 }, largest: 1 }]);
  });

  test('texts differ at a character, whole ones beyond 16 bits', () => {
    const [found] = compareJson({ text: '😀ab' }, { text: '😀cb' });
    expect(found).toMatchObject({
      position: { unit: 'character', index: 1 },
      recorded: '"ab"',
      replayed: '"cb"',
    });
  });
});

describe('streams', () => {
  const chunk = (index: number, text: string) => JSON.stringify({ created: 5, choices: [{ index, text }] });

  test('choices may be interleaved otherwise', () => {
    const [a, b, c] = [chunk(0, 'a'), chunk(1, 'b'), chunk(0, 'c')];
    expect(compareAnswers(stream(a, b, c, '[DONE]'), stream(a, c, b, '[DONE]'))).toEqual([]);
  });

  test('the usage and the end come behind the choices', () => {
    const [a, b, usage] = [chunk(0, 'a'), chunk(1, 'b'), '{"created":5,"choices":[],"usage":{"total":2}}'];
    const right = stream(a, b, usage, '[DONE]');
    expect(compareAnswers(right, stream(b, a, usage, '[DONE]'))).toEqual([]);
    expect(compareAnswers(right, stream(usage, '[DONE]', a, b))).toEqual([
      {
        where: 'chunk 0',
        recorded: 'behind 2 chunks of choices',
        replayed: 'behind 0 chunks of choices',
        position: { unit: 'chunk', index: 0 },
        differing: 2,
        total: 2,
      },
    ]);
    expect(compareAnswers(right, stream(a, usage, b, '[DONE]'))).toMatchObject([{ differing: 1, total: 2 }]);
  });

  test('an empty chunk more is a difference', () => {
    const found = compareAnswers(stream('', '[DONE]'), stream('[DONE]'));
    expect(found).toMatchObject([{ where: 'chunk 0', differing: 2 }]);
    expect(compareAnswers(stream('[DONE]', ''), stream('[DONE]'))).toMatchObject([
      { where: 'chunk 1', recorded: '""', replayed: '(nothing)' },
    ]);
  });

  test('the first other chunk of a choice is told', () => {
    const found = compareAnswers(stream(chunk(0, 'a'), chunk(0, 'b')), stream(chunk(0, 'a'), chunk(0, 'x')));
    expect(found).toMatchObject([
      {
        where: 'choice 0, chunk 1: choices[0].text',
        recorded: '"b"',
        replayed: '"x"',
        differing: 1,
        total: 2,
      },
    ]);
  });

  test('a missing chunk is a difference', () => {
    expect(compareAnswers(stream(chunk(0, 'a'), '[DONE]'), stream(chunk(0, 'a')))).toMatchObject([
      { where: 'chunk 0', differing: 1 },
    ]);
  });
});

describe('manifests', () => {
  const manifest = {
    files: [{ path: 'model.onnx', size: 3, sha256: new Uint8Array(32).fill(1) }],
    engine: { name: 'onnxruntime', version: '1', build: new Uint8Array(32) },
    options: new Map([['intra_op_threads', '2']]),
  };

  test('are read as they were written, and their lines compared', () => {
    const again = parseManifest(encodeManifest(manifest));
    expect(compareManifests(manifest, again)).toEqual([]);
    const other = { ...manifest, engine: { ...manifest.engine, version: '2' }, files: [] };
    expect(compareManifests(manifest, other).map(({ name, loaded }) => [name, loaded])).toEqual([
      ['file model.onnx', undefined],
      ['engine version', '2'],
    ]);
  });

  const digestWith = (...changes: readonly (readonly [string, string])[]): Uint8Array =>
    manifestDigest(encodeManifest({ ...manifest, options: new Map([...manifest.options, ...changes]) }));

  test('the number of threads is found in the digest, and nothing else is', () => {
    const digest = digestWith(['intra_op_threads', '48']);
    expect(settingsOf(manifest, digest)).toEqual({ threads: 48, sequences: undefined });
    expect(settingsOf(manifest, digest, { threads: 2 })).toBeUndefined();
    expect(settingsOf({ ...manifest, files: [] }, digest)).toBeUndefined();
  });

  test('the rows of a step are found in the digest, with the threads where they are usual', () => {
    const rows = { ...manifest, options: new Map([...manifest.options, ['decoder_batching', 'rows-of-16']]) };
    const odd = digestWith(['decoder_batching', 'rows-of-37']);
    expect(settingsOf(rows, odd)).toEqual({ threads: 2, sequences: 37 });
    expect(settingsOf(rows, odd, { sequences: 16 })).toBeUndefined();
    const both = digestWith(['decoder_batching', 'rows-of-32'], ['intra_op_threads', '96']);
    expect(settingsOf(rows, both)).toEqual({ threads: 96, sequences: 32 });
    // Whether rows may share a step at all is what the model does here, and no setting.
    expect(settingsOf(manifest, odd)).toBeUndefined();
  });
});

describe('the engine of a replay', () => {
  const source = { id: 'm', root: '/models', files: [] } as unknown as ModelSource;
  const claims = { providers: ['CPUExecutionProvider'] };

  test('has the sequences and rows of the service', () => {
    const options = recordedOptions(claims, source, { models: '/models', sequences: 32, batchRows: 8 });
    expect(options).toMatchObject({ provider: 'cpu', tuning: { sequences: 32, tensorRows: 8 } });
  });

  test('has those by default where none are given', () => {
    expect(recordedOptions(claims, source, { models: '/models' }).tuning).toEqual({});
  });
});

describe('routes', () => {
  test.each([
    ['/v1/embeddings?x=1', 'embeddings', {}],
    ['/V1/Embeddings/', 'embeddings', {}],
    ['/v2/models/a%2Fb/infer', 'infer', { model: 'a/b' }],
    ['/v2/models/m/versions/1/infer', 'infer', { model: 'm', version: '1' }],
  ])('%s', (path, name, params) => {
    expect(matchRoute(INFERENCE_ROUTES, path)).toMatchObject({ name, params });
  });

  test.each(['/v1/models', '/v2/models//infer', '/v2/models/%E0/infer', ''])('not %s', (path) => {
    expect(matchRoute(INFERENCE_ROUTES, path)).toBeUndefined();
  });
});
