import { describe, expect, test } from '@jest/globals';
import { startTestService, type TestService } from '../../support/service.ts';
import { TensorEngine } from '../../support/tensorEngine.ts';

/** A service with a model as the examples of the Open Inference Protocol have it: UINT32 [2, 2] and BOOL [3]. */
async function start(): Promise<TestService & { readonly engine: TensorEngine }> {
  const engine = new TensorEngine();
  engine.addModel('mymodel', ['UINT32', [2, 2]], ['BOOL', [3]]);
  engine.addModel('free', ['FP32', [-1, -1, -1]]);
  return { ...(await startTestService({}, { engine })), engine };
}

const UINT32 = { name: 'x', shape: [2, 2], datatype: 'UINT32', data: [1, 2, 3, 4] };
const BOOL = { name: 'x2', shape: [3], datatype: 'BOOL', data: [true, false, true] };

async function get(service: TestService, path: string): Promise<readonly [number, unknown]> {
  const answer = await fetch(service.url + path);
  return [answer.status, await answer.json()];
}

async function infer(service: TestService, model: string, body: object): Promise<readonly [number, unknown]> {
  const answer = await service.post(`/v2/models/${model}/infer`, body);
  expect(answer.headers.get('content-type')).toBe('application/json');
  return [answer.status, await answer.json()];
}

describe('the Open Inference Protocol v2 over REST', () => {
  test('health, server and model calls have the members that the protocol requires', async () => {
    const service = await start();
    expect(await get(service, '/v2/health/live')).toEqual([200, expect.objectContaining({ live: true })]);
    expect(await get(service, '/v2/health/ready')).toEqual([200, expect.objectContaining({ ready: true })]);
    expect(await get(service, '/v2')).toEqual([
      200,
      { name: expect.any(String), version: expect.any(String), extensions: expect.any(Array) },
    ]);
    const metadata = {
      name: 'mymodel',
      versions: ['1'],
      platform: 'onnxruntime_onnx',
      inputs: [
        { name: 'x', datatype: 'UINT32', shape: [2, 2] },
        { name: 'x2', datatype: 'BOOL', shape: [3] },
      ],
      outputs: [
        { name: 'y', datatype: 'UINT32', shape: [2, 2] },
        { name: 'y2', datatype: 'BOOL', shape: [3] },
      ],
    };
    for (const path of ['', '/versions/1']) {
      expect(await get(service, `/v2/models/mymodel${path}`)).toEqual([200, metadata]);
      const ready = [200, { name: 'mymodel', ready: true }];
      expect(await get(service, `/v2/models/mymodel${path}/ready`)).toEqual(ready);
    }
  });

  test('a server that is not ready says so by its status', async () => {
    const service = await start();
    service.engine.state = 'restarting';
    expect(await get(service, '/v2/health/live')).toEqual([200, expect.objectContaining({ live: true })]);
    expect((await get(service, '/v2/health/ready'))[0]).toBe(503);
    expect((await get(service, '/v2/models/mymodel/ready'))[0]).toBe(503);
  });

  test('the example of two inputs and one output of several', async () => {
    const service = await start();
    const request = { id: '42', inputs: [UINT32, BOOL], outputs: [{ name: 'y' }] };
    expect(await infer(service, 'mymodel', request)).toEqual([
      200,
      {
        id: '42',
        model_name: 'mymodel',
        model_version: '1',
        outputs: [{ name: 'y', shape: [2, 2], datatype: 'UINT32', data: [1, 2, 3, 4] }],
      },
    ]);
  });

  test('without outputs all come, and without id there is none', async () => {
    const service = await start();
    const [status, answer] = await infer(service, 'mymodel', { inputs: [BOOL, UINT32] });
    expect([status, answer]).toEqual([
      200,
      {
        model_name: 'mymodel',
        model_version: '1',
        outputs: [
          { name: 'y', datatype: 'UINT32', shape: [2, 2], data: [1, 2, 3, 4] },
          { name: 'y2', datatype: 'BOOL', shape: [3], data: [true, false, true] },
        ],
      },
    ]);
  });

  test('tensor data is row-major, nested or flat', async () => {
    const service = await start();
    const flat = [1, 2, 3, 4, 5, 6, 7, 8];
    for (const data of [
      flat,
      [
        [
          [1, 2],
          [3, 4],
        ],
        [
          [5, 6],
          [7, 8],
        ],
      ],
    ]) {
      const inputs = [{ name: 'x', shape: [2, 2, 2], datatype: 'FP32', data }];
      expect(await infer(service, 'free', { inputs })).toEqual([
        200,
        expect.objectContaining({ outputs: [expect.objectContaining({ shape: [2, 2, 2], data: flat })] }),
      ]);
    }
  });

  test.each([
    ['an unknown model', 'none', { inputs: [UINT32] }, 404],
    ['no inputs', 'mymodel', {}, 400],
    ['an input without a shape', 'mymodel', { inputs: [{ ...UINT32, shape: undefined }] }, 400],
    ['an input without a datatype', 'mymodel', { inputs: [{ ...UINT32, datatype: undefined }] }, 400],
    ['data that does not fill the shape', 'mymodel', { inputs: [UINT32, { ...BOOL, data: [true] }] }, 400],
  ])('an error is a status and its text: %s', async (_name, model, body, status) => {
    const service = await start();
    expect(await infer(service, model, body)).toEqual([status, { error: expect.any(String) }]);
  });
});
