import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { checkRequest, checkResponse } from '../../../attestation/receipt/opening.ts';
import type { Datatype, Engine } from '../../../src/engine/engine.ts';
import { startTestEngine } from '../../support/engine.ts';
import { craftIdentity } from '../../support/onnx.ts';
import { issuedClaims, startTestService, type TestService } from '../../support/service.ts';
import { makeStore } from '../../support/store.ts';
import { framed, type RawInput, readFramed, sendRaw, texts } from '../../support/tensors.ts';

/** Values of each datatype at its bounds: as JSON, and as the bytes of the binary extension. */
const VALUES: Readonly<Record<Datatype, readonly [readonly unknown[], Uint8Array]>> = {
  BOOL: [[true, false], Uint8Array.of(1, 0)],
  UINT8: [[0, 255], Uint8Array.of(0, 255)],
  UINT16: [[1, 65_535], bytesOf(Uint16Array.of(1, 65_535))],
  UINT32: [[1, 4_294_967_295], bytesOf(Uint32Array.of(1, 4_294_967_295))],
  UINT64: [[1, 9_007_199_254_740_991], bytesOf(BigUint64Array.of(1n, 9_007_199_254_740_991n))],
  INT8: [[-128, 127], bytesOf(Int8Array.of(-128, 127))],
  INT16: [[-32_768, 32_767], bytesOf(Int16Array.of(-32_768, 32_767))],
  INT32: [[-2_147_483_648, 7], bytesOf(Int32Array.of(-2_147_483_648, 7))],
  INT64: [[-9_007_199_254_740_991, 7], bytesOf(BigInt64Array.of(-9_007_199_254_740_991n, 7n))],
  FP16: [[1.5, -2], Uint8Array.of(0x00, 0x3e, 0x00, 0xc0)],
  FP32: [[0.25, -1e30].map(Math.fround), bytesOf(Float32Array.of(0.25, -1e30))],
  FP64: [[0.1, -1e300], bytesOf(Float64Array.of(0.1, -1e300))],
  BYTES: [['', 'é𝄞\u{feff}'], texts('', 'é𝄞\u{feff}')],
};
const DATATYPES = Object.keys(VALUES) as Datatype[];

function bytesOf(values: ArrayBufferView): Uint8Array {
  return new Uint8Array(values.buffer);
}

let engine: Engine;
beforeAll(async () => {
  const models = DATATYPES.map((datatype) => [`${datatype}.onnx`, craftIdentity([datatype, [-1]])] as const);
  const store = await makeStore({
    ...Object.fromEntries(models),
    'two.onnx': craftIdentity(['FP32', [-1]], ['BYTES', [-1]]),
    'fixed.onnx': craftIdentity(['INT16', [2, -1]]),
    'free.onnx': craftIdentity(['INT16', [-1, -1]]),
  });
  engine = await startTestEngine(store);
});
afterAll(() => engine.close());

const start = (): Promise<TestService> => startTestService({}, { engine });
const infer = (model: string): string => `/v2/models/${model}/infer`;

describe('every datatype', () => {
  test.each(DATATYPES)('%s: JSON in, JSON out', async (datatype) => {
    const service = await start();
    const [data] = VALUES[datatype];
    const answer = await service.post(infer(datatype), {
      id: 'q',
      inputs: [{ name: 'x', datatype, shape: [2], data }],
    });
    expect(answer.headers.get('inference-header-content-length')).toBeNull();
    expect([answer.status, await answer.json()]).toEqual([
      200,
      {
        model_name: datatype,
        model_version: '1',
        id: 'q',
        outputs: [{ name: 'y', datatype, shape: [2], data }],
      },
    ]);
  });

  test.each(DATATYPES)('%s: bytes in, bytes out, and the receipt commits to both', async (datatype) => {
    const service = await start();
    const [, bytes] = VALUES[datatype];
    const inputs: RawInput[] = [{ name: 'x', datatype, shape: [2], bytes }];
    const request = framed(inputs, { id: '', parameters: { binary_data_output: true } });
    const answer = await sendRaw(service, infer(datatype), request);
    const body = Buffer.from(await answer.arrayBuffer());
    expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'application/octet-stream']);
    const { json, tensors } = readFramed(answer, body);
    expect(json).toEqual({
      model_name: datatype,
      model_version: '1',
      id: '',
      outputs: [{ name: 'y', datatype, shape: [2], parameters: { binary_data_size: bytes.length } }],
    });
    expect(tensors).toEqual(Buffer.from(bytes));
    const [claims] = issuedClaims(service);
    const k = Buffer.from(answer.headers.get('vouchsafe-commitment-key')!, 'base64url');
    checkRequest(claims!, { k, request: request.body, response: body }, nodeCrypto);
    checkResponse(claims!, { k, request: request.body, response: body }, nodeCrypto);
    expect(claims!.parameters).toEqual(
      new Map([
        ['inference-header-content-length', String(request.jsonLength)],
        ['response-inference-header-content-length', answer.headers.get('inference-header-content-length')],
      ]),
    );
  });

  test.each(DATATYPES)('%s: bytes in, JSON out; JSON in, bytes out', async (datatype) => {
    const service = await start();
    const [data, bytes] = VALUES[datatype];
    const path = `/v2/models/${datatype}/versions/1/infer`;
    const plain = await sendRaw(service, path, framed([{ name: 'x', datatype, shape: [2], bytes }]));
    expect(await plain.json()).toMatchObject({ outputs: [{ data }] });
    const raw = await service.post(path, {
      inputs: [{ name: 'x', datatype, shape: [2], data }],
      outputs: [{ name: 'y', parameters: { binary_data: true } }],
    });
    expect(readFramed(raw, Buffer.from(await raw.arrayBuffer())).tensors).toEqual(Buffer.from(bytes));
  });

  test('BF16 is refused by its name, in a request and in a model', async () => {
    const service = await start();
    const tensor = { name: 'x', datatype: 'BF16', shape: [1], data: [1] };
    const answer = await service.post(infer('FP32'), { inputs: [tensor] });
    expect([answer.status, await answer.json()]).toEqual([
      400,
      { error: expect.stringMatching(/^DATATYPE_UNSUPPORTED: input x: BF16 /) },
    ]);
    const store = await makeStore({ 'b.onnx': craftIdentity(['BF16', [1]]) });
    await expect(startTestEngine(store)).rejects.toMatchObject({
      code: 'UNSUPPORTED_MODEL',
      detail: expect.stringContaining('BF16'),
    });
  });

  test('what JSON lacks travels as bytes', async () => {
    const service = await start();
    const bytes = bytesOf(Float32Array.of(NaN, -Infinity));
    const input = { name: 'x', datatype: 'FP32', shape: [2], bytes };
    const json = await sendRaw(service, infer('FP32'), framed([input]));
    expect([json.status, await json.text()]).toEqual([500, expect.stringContaining('binary_data')]);
    const raw = await sendRaw(
      service,
      infer('FP32'),
      framed([input], { parameters: { binary_data_output: true } }),
    );
    expect(readFramed(raw, Buffer.from(await raw.arrayBuffer())).tensors).toEqual(Buffer.from(bytes));
  });

  test('64-bit integers beyond 2^53 are decimal text in JSON', async () => {
    const service = await start();
    const answer = await service.post(infer('UINT64'), {
      inputs: [{ name: 'x', datatype: 'UINT64', shape: [1], data: ['18446744073709551615'] }],
    });
    expect(await answer.text()).toContain('"data":[18446744073709551615]');
  });
});

describe('the binary extension', () => {
  const FLOATS = { name: 'x', datatype: 'FP32', shape: [2], bytes: bytesOf(Float32Array.of(1, 2)) };
  const WORDS = { name: 'x2', datatype: 'BYTES', shape: [1], bytes: texts('word') };

  test('has tensors in the order of the inputs and outputs, raw and JSON mixed', async () => {
    const service = await start();
    const request = framed([WORDS, FLOATS], {
      model_name: 'two',
      parameters: { binary_data_output: true },
      outputs: [{ name: 'y2' }, { name: 'y', parameters: { binary_data: false } }],
    });
    const answer = await sendRaw(service, infer('two'), request);
    const { json, tensors } = readFramed(answer, Buffer.from(await answer.arrayBuffer()));
    expect(json).toMatchObject({
      outputs: [
        { name: 'y2', parameters: { binary_data_size: 8 } },
        { name: 'y', data: [1, 2] },
      ],
    });
    expect(tensors).toEqual(Buffer.from(WORDS.bytes));
  });

  test('takes the length from the content type, too, and JSON without a tail', async () => {
    const service = await start();
    const { body, jsonLength } = framed([FLOATS]);
    const type = `application/octet-stream; Inference-Header-Content-Length=${jsonLength}`;
    const send = (headers: Record<string, string>, content = body): Promise<Response> =>
      fetch(service.url + infer('FP32'), { method: 'POST', headers, body: content });
    expect((await send({ 'content-type': type })).status).toBe(200);
    expect(
      (await send({ 'content-type': 'application/json', 'inference-header-content-length': `${jsonLength}` }))
        .status,
    ).toBe(200);
    const json = Buffer.from(JSON.stringify({ inputs: [{ ...FLOATS, bytes: undefined, data: [1, 2] }] }));
    const whole = { 'content-type': 'application/json', 'inference-header-content-length': `${json.length}` };
    expect((await send(whole, json)).status).toBe(200);
  });

  test('may be one raw tensor, whose shape follows from its size', async () => {
    const service = await start();
    const raw = (model: string, bytes: Uint8Array): Promise<Response> =>
      sendRaw(service, infer(model), { body: Buffer.from(bytes), jsonLength: 0 });
    const numbers = await raw('fixed', bytesOf(Int16Array.of(1, 2, 3, 4)));
    const read = readFramed(numbers, Buffer.from(await numbers.arrayBuffer()));
    expect(read.json).toMatchObject({ outputs: [{ shape: [2, 2] }] });
    expect(read.tensors).toEqual(Buffer.from(bytesOf(Int16Array.of(1, 2, 3, 4))));
    const text = await raw('BYTES', Buffer.from('no length before'));
    expect(readFramed(text, Buffer.from(await text.arrayBuffer())).tensors).toEqual(
      Buffer.from(texts('no length before')),
    );
    for (const [model, bytes, code] of [
      ['two', FLOATS.bytes, 'FRAMING_INVALID'],
      ['free', FLOATS.bytes, 'FRAMING_INVALID'],
      ['fixed', Uint8Array.of(1, 2, 3), 'SHAPE_MISMATCH'],
      ['BYTES', Uint8Array.of(0xff), 'INVALID_INPUT'],
      ['BOOL', Uint8Array.of(2), 'INVALID_INPUT'],
    ] as const) {
      const refused = await raw(model, bytes);
      expect([model, refused.status, await refused.text()]).toEqual([
        model,
        400,
        expect.stringContaining(code),
      ]);
    }
  });

  test.each<[string, string, RawInput[], object, Uint8Array?]>([
    ['too few bytes', 'SHAPE_MISMATCH', [{ ...FLOATS, bytes: new Uint8Array(7) }], {}],
    ['too many bytes', 'SHAPE_MISMATCH', [{ ...FLOATS, bytes: new Uint8Array(12) }], {}],
    ['a shape beyond the bytes', 'SHAPE_MISMATCH', [{ ...FLOATS, shape: [2 ** 50, 2 ** 50] }], {}],
    ['bytes that follow', 'FRAMING_INVALID', [FLOATS], {}, Uint8Array.of(1)],
    ['bytes that lack', 'FRAMING_INVALID', [FLOATS, { ...WORDS, size: 9 }], {}],
    ['a negative size', 'INVALID_INPUT', [{ ...FLOATS, size: -8 }], {}],
    ['a size that is no number', 'INVALID_INPUT', [{ ...FLOATS, size: '8' }], {}],
    ['data beside bytes', 'INVALID_INPUT', [{ ...FLOATS, data: [1, 2] }], {}],
    ['a truth of 2', 'INVALID_INPUT', [{ ...FLOATS, datatype: 'BOOL', bytes: Uint8Array.of(1, 2) }], {}],
    ['an element past the end', 'INVALID_INPUT', [{ ...WORDS, bytes: Uint8Array.of(2, 0, 0, 0, 65) }], {}],
    ['a length past the end', 'INVALID_INPUT', [{ ...WORDS, bytes: Uint8Array.of(0, 0, 0) }], {}],
    ['a length of 2^32 - 1', 'INVALID_INPUT', [{ ...WORDS, bytes: new Uint8Array(4).fill(255) }], {}],
    ['too many elements', 'SHAPE_MISMATCH', [{ ...WORDS, bytes: texts('a', 'b') }], {}],
    ['no elements', 'SHAPE_MISMATCH', [{ ...WORDS, bytes: new Uint8Array(0) }], {}],
    ['bytes that are no text', 'INVALID_INPUT', [{ ...WORDS, bytes: Uint8Array.of(1, 0, 0, 0, 0xff) }], {}],
    ['a NUL in a text', 'INVALID_INPUT', [FLOATS, { ...WORDS, bytes: texts('a\0b') }], {}],
    [
      'an unknown parameter',
      'PARAMETER_UNSUPPORTED: .*sequence_id',
      [FLOATS],
      { parameters: { sequence_id: 1 } },
    ],
    [
      'an unknown parameter of an output',
      'PARAMETER_UNSUPPORTED: .*classification',
      [FLOATS],
      { outputs: [{ name: 'y', parameters: { classification: 1 } }] },
    ],
    [
      'a parameter of another type',
      'INVALID_INPUT: parameters.binary_data_output',
      [FLOATS],
      { parameters: { binary_data_output: 1 } },
    ],
    ['another model', 'INVALID_INPUT: model_name', [FLOATS], { model_name: 'FP64' }],
    ['an unknown member', 'INVALID_INPUT: .*surprise', [FLOATS], { surprise: 1 }],
    ['an input missing', 'INVALID_INPUT: input x2', [FLOATS], {}],
    ['an input twice', 'INVALID_INPUT', [FLOATS, FLOATS], {}],
    ['another datatype', 'INVALID_INPUT', [{ ...FLOATS, datatype: 'INT32' }, WORDS], {}],
    ['another rank', 'INVALID_INPUT', [{ ...FLOATS, shape: [1, 2] }, WORDS], {}],
  ])('refuses %s, with a receipt', async (_name, code, inputs, members, tail = new Uint8Array(0)) => {
    const service = await start();
    const answer = await sendRaw(service, infer('two'), framed(inputs, members, tail));
    const body = Buffer.from(await answer.arrayBuffer());
    expect([answer.status, body.toString()]).toEqual([400, expect.stringMatching(`^{"error":"${code}`)]);
    const [claims] = issuedClaims(service);
    expect(claims).toMatchObject({ outcome: 'refused', reason: 'INVALID_INPUT' });
    const k = Buffer.from(answer.headers.get('vouchsafe-commitment-key')!, 'base64url');
    checkResponse(claims!, { k, response: body }, nodeCrypto);
  });

  test.each<[string, Record<string, string>, number, string]>([
    ['no length', { 'content-type': 'application/octet-stream' }, 400, 'FRAMING_INVALID'],
    ['a length that is no number', { 'inference-header-content-length': '1e1' }, 400, 'FRAMING_INVALID'],
    ['a negative length', { 'inference-header-content-length': '-1' }, 400, 'FRAMING_INVALID'],
    ['a leading zero', { 'inference-header-content-length': '010' }, 400, 'FRAMING_INVALID'],
    ['two lengths', { 'inference-header-content-length': '1, 2' }, 400, 'FRAMING_INVALID'],
    [
      'lengths that differ',
      {
        'inference-header-content-length': '1',
        'content-type': 'application/octet-stream; inference-header-content-length=2',
      },
      400,
      'FRAMING_INVALID',
    ],
    [
      'another type',
      { 'content-type': 'text/plain', 'inference-header-content-length': '2' },
      415,
      'CONTENT_TYPE_UNSUPPORTED',
    ],
    ['a length beyond the body', { 'inference-header-content-length': '999' }, 400, 'FRAMING_INVALID'],
    ['a length within the JSON', { 'inference-header-content-length': '1' }, 400, 'BODY_INVALID'],
  ])('refuses %s', async (_name, headers, status, code) => {
    const service = await start();
    const answer = await service.post(infer('FP32'), '{}', headers);
    expect([answer.status, await answer.text()]).toEqual([status, expect.stringContaining(code)]);
  });

  test('is not for other APIs', async () => {
    const service = await start();
    const headers = { 'content-type': 'application/octet-stream', 'inference-header-content-length': '2' };
    expect((await service.post('/v1/embeddings', '{}', headers)).status).toBe(415);
  });
});

describe('model versions', () => {
  test('are one, and others are no models', async () => {
    const service = await start();
    const statusOf = async (path: string): Promise<unknown> => {
      const answer = await fetch(`${service.url}/v2/models/FP32${path}`);
      return [answer.status, JSON.stringify(await answer.json()).slice(0, 40)];
    };
    for (const path of ['', '/versions/1', '/ready', '/versions/1/ready']) {
      expect(await statusOf(path)).toEqual([200, expect.stringContaining('FP32')]);
    }
    for (const path of ['/versions/2', '/versions/01/ready', '/versions/latest']) {
      expect(await statusOf(path)).toEqual([404, expect.stringContaining('VERSION_NOT_FOUND')]);
    }
    const answer = await service.post('/v2/models/none/versions/1/infer', {});
    expect([answer.status, await answer.text()]).toEqual([404, expect.stringContaining('MODEL_NOT_FOUND')]);
  });
});
