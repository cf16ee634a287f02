import { describe, expect, test } from '@jest/globals';
import { Client, compressionAlgorithms, credentials } from '@grpc/grpc-js';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import type { ReceiptClaims } from '../../../attestation/receipt/claims.ts';
import { checkRequest, checkResponse } from '../../../attestation/receipt/opening.ts';
import { parseReceipt } from '../../../attestation/receipt/receipt.ts';
import type { EngineErrorCode } from '../../../src/engine/engine.ts';
import { apiKey, issuedClaims, until } from '../../support/service.ts';
import { type Answer, callOf, decode, encode, type GrpcService, named, PATH, startGrpc } from './client.ts';

const TENSOR = { name: 'x', shape: [2], datatype: 'FP32', contents: { fp32_contents: [1, 2] } };
const REQUEST = { model_name: 'fake', id: 'a1', inputs: [TENSOR] };
const NONCE = 'ab'.repeat(32);

/** Fetches the receipt that an answer names, and opens its commitments. */
async function receiptOf(
  service: GrpcService,
  { initial }: Answer,
  request: Uint8Array,
  response: Uint8Array,
) {
  const stored = await fetch(`${service.url}/v1/receipts/${named(initial, 'vouchsafe-receipt-id')}`);
  expect(stored.status).toBe(200);
  const { claims } = parseReceipt(new Uint8Array(await stored.arrayBuffer()));
  const k = Buffer.from(named(initial, 'vouchsafe-commitment-key')!, 'base64url');
  checkRequest(claims, { k, request }, nodeCrypto);
  checkResponse(claims, { k, response }, nodeCrypto);
  return claims;
}

describe('ModelInfer', () => {
  test('is vouched for: its receipt commits to the messages of both directions', async () => {
    const service = await startGrpc();
    const request = encode('ModelInferRequest', REQUEST);
    const answer = await service.call('ModelInfer', request, { metadata: { 'vouchsafe-nonce': NONCE } });
    expect([answer.code, answer.details]).toEqual(['OK', 'OK']);
    const claims: ReceiptClaims = await receiptOf(service, answer, request, answer.bytes!);
    expect(claims).toMatchObject({
      channel: 'plain',
      method: 'POST',
      path: `${PATH}ModelInfer`,
      model: 'fake',
      outcome: 'complete',
      tenant: undefined,
      parameters: new Map(),
    });
    expect(Buffer.from(claims.nonce!).toString('hex')).toBe(NONCE);
    expect(Buffer.from(claims.evidenceDigest).toString('hex')).toBe(
      named(answer.initial, 'vouchsafe-evidence'),
    );
    expect(() => {
      checkResponse(claims, { k: Buffer.alloc(32), response: answer.bytes! }, nodeCrypto);
    }).toThrow();
  });

  test('commits to the message before its compression', async () => {
    const service = await startGrpc();
    const client = new Client(`127.0.0.1:${service.grpc.port}`, credentials.createInsecure(), {
      'grpc.default_compression_algorithm': compressionAlgorithms.gzip,
    });
    const request = encode('ModelInferRequest', { ...REQUEST, id: 'z'.repeat(200) });
    const answer = await callOf(client, 'ModelInfer', request);
    client.close();
    expect(answer.code).toBe('OK');
    await receiptOf(service, answer, request, answer.bytes!);
  });

  test('echoes the id and has the outputs that were asked for', async () => {
    const service = await startGrpc();
    for (const model_version of ['', '1']) {
      const answer = await service.infer({ ...REQUEST, model_version, outputs: [{ name: 'y' }] });
      expect(decode('ModelInferResponse', answer.bytes)).toMatchObject({
        model_name: 'fake',
        model_version: '1',
        id: 'a1',
        outputs: [{ name: 'y', datatype: 'FP32', shape: ['2'], contents: { fp32_contents: [1, 2] } }],
        raw_output_contents: [],
      });
    }
  });

  test('with vouchsafe-fresh waits until hardware covers its receipt', async () => {
    const service = await startGrpc();
    const answer = await service.infer(REQUEST, { metadata: { 'vouchsafe-fresh': '?1' } });
    expect(named(answer.initial, 'vouchsafe-fresh')).toBe('?1');
    expect(service.world.vouching.head.logSize).toBeGreaterThan(issuedClaims(service)[0]!.index);
  });

  test('has no receipt where receipts are off', async () => {
    const service = await startGrpc({ receipts: { enabled: false } });
    const answer = await service.infer(REQUEST);
    expect([answer.code, answer.initial.get('vouchsafe-receipt-id')]).toEqual(['OK', []]);
    expect(issuedClaims(service)).toEqual([]);
  });

  test('is answered for a key, whose holder alone gets the receipt', async () => {
    const [a, b] = [apiKey('a'), apiKey('b')];
    const service = await startGrpc({ keys: { apiKeys: [a.entry, b.entry] } });
    const statusOf = async (metadata: Record<string, string>): Promise<unknown> => {
      const { code, trailing } = await service.infer(REQUEST, { metadata });
      return [code, named(trailing, 'vouchsafe-code')];
    };
    expect(await statusOf({})).toEqual(['UNAUTHENTICATED', 'API_KEY_MISSING']);
    expect(await statusOf({ authorization: 'Bearer wrong' })).toEqual(['UNAUTHENTICATED', 'API_KEY_INVALID']);
    expect(issuedClaims(service)).toEqual([]);
    const answer = await service.infer(REQUEST, { metadata: { authorization: `Bearer ${a.key}` } });
    expect(answer.code).toBe('OK');
    expect(issuedClaims(service)[0]!.tenant).toHaveLength(32);
    const url = `${service.url}/v1/receipts/${named(answer.initial, 'vouchsafe-receipt-id')}`;
    const fetchWith = async (key: string): Promise<number> =>
      (await fetch(url, { headers: { authorization: `Bearer ${key}` } })).status;
    expect([await fetchWith(a.key), await fetchWith(b.key)]).toEqual([200, 404]);
  });

  test('leaves no content, key or nonce in the log of operations', async () => {
    const service = await startGrpc();
    service.engine.failure = 'unforeseen';
    const answer = await service.infer(REQUEST, { metadata: { 'vouchsafe-nonce': NONCE } });
    const text = service.lines.join('');
    expect(text).toContain('grpc ModelInfer');
    expect(text).not.toContain('secret');
    expect(text).not.toContain(NONCE);
    expect(text).not.toContain(named(answer.initial, 'vouchsafe-commitment-key'));
    expect(text).toContain(named(answer.trailing, 'x-request-id'));
  });
});

describe('the other calls', () => {
  test('say that the server lives, and whether it is ready', async () => {
    const service = await startGrpc({ keys: { apiKeys: [apiKey('a').entry] } });
    const empty = new Uint8Array(0);
    expect(decode('ServerLiveResponse', (await service.call('ServerLive', empty)).bytes)).toEqual({
      live: true,
    });
    const ready = async (): Promise<unknown> =>
      decode('ServerReadyResponse', (await service.call('ServerReady', empty)).bytes);
    expect(await ready()).toEqual({ ready: true });
    service.engine.state = 'restarting';
    expect(await ready()).toEqual({ ready: false });
  });

  test('describe the server and the models', async () => {
    const service = await startGrpc();
    const server = await service.call('ServerMetadata', new Uint8Array(0));
    expect(decode('ServerMetadataResponse', server.bytes)).toEqual({
      name: 'vouchsafe',
      version: '0.0.0-test',
      extensions: [],
    });
    const model = await service.call('ModelMetadata', encode('ModelMetadataRequest', { name: 'grid' }));
    expect(decode('ModelMetadataResponse', model.bytes)).toMatchObject({
      name: 'grid',
      versions: ['1'],
      platform: 'onnxruntime_onnx',
      inputs: [{ name: 'x', datatype: 'INT16', shape: ['2', '-1'] }],
      outputs: [{ name: 'y', datatype: 'INT16', shape: ['2', '-1'] }],
    });
    const isReady = await service.call(
      'ModelReady',
      encode('ModelReadyRequest', { name: 'grid', version: '1' }),
    );
    expect(decode('ModelReadyResponse', isReady.bytes)).toEqual({ ready: true });
  });

  test.each(['ServerMetadata', 'ModelMetadata', 'ModelReady'])(
    '%s needs a key where there are keys',
    async (call) => {
      const service = await startGrpc({ keys: { apiKeys: [apiKey('a').entry] } });
      expect((await service.call(call, new Uint8Array(0))).code).toBe('UNAUTHENTICATED');
    },
  );

  test.each([
    ['ModelReady', encode('ModelReadyRequest', { name: 'none' }), 'NOT_FOUND', 'MODEL_NOT_FOUND'],
    ['ModelMetadata', encode('ModelMetadataRequest', { name: 'none' }), 'NOT_FOUND', 'MODEL_NOT_FOUND'],
    [
      'ModelReady',
      encode('ModelReadyRequest', { name: 'fake', version: '2' }),
      'NOT_FOUND',
      'VERSION_NOT_FOUND',
    ],
    ['ModelMetadata', Buffer.from('ffff', 'hex'), 'INVALID_ARGUMENT', 'BODY_INVALID'],
  ])('%s refuses %j with %s', async (call, bytes, code, ours) => {
    const service = await startGrpc();
    const answer = await service.call(call, bytes);
    expect([answer.code, named(answer.trailing, 'vouchsafe-code')]).toEqual([code, ours]);
  });

  test('an unknown call is unimplemented', async () => {
    const service = await startGrpc();
    expect((await service.call('ModelTrain', new Uint8Array(0))).code).toBe('UNIMPLEMENTED');
  });
});

describe('after admission every outcome has a receipt', () => {
  test.each<[EngineErrorCode | 'unforeseen', string, string, string, string]>([
    ['INVALID_INPUT', 'INVALID_ARGUMENT', 'INVALID_INPUT', 'refused', 'INVALID_INPUT'],
    ['UNSUPPORTED_TASK', 'FAILED_PRECONDITION', 'UNSUPPORTED_TASK', 'refused', 'UNSUPPORTED_TASK'],
    ['DEADLINE_EXCEEDED', 'DEADLINE_EXCEEDED', 'DEADLINE_EXCEEDED', 'error', 'DEADLINE_EXCEEDED'],
    ['ENGINE_UNAVAILABLE', 'UNAVAILABLE', 'ENGINE_UNAVAILABLE', 'error', 'ENGINE_UNAVAILABLE'],
    ['ENGINE_FAILED', 'INTERNAL', 'ENGINE_FAILED', 'error', 'ENGINE_FAILED'],
    ['unforeseen', 'INTERNAL', 'INTERNAL', 'error', 'ENGINE_FAILED'],
  ])('%s: the receipt commits to the text of the status', async (failure, code, ours, outcome, reason) => {
    const service = await startGrpc();
    service.engine.failure = failure;
    const request = encode('ModelInferRequest', REQUEST);
    const answer = await service.call('ModelInfer', request);
    expect([answer.code, named(answer.trailing, 'vouchsafe-code')]).toEqual([code, ours]);
    expect(answer.details).not.toContain('secret');
    expect(answer.trailing.get('grpc-retry-pushback-ms')).toEqual(code === 'UNAVAILABLE' ? ['2000'] : []);
    const claims = await receiptOf(service, answer, request, Buffer.from(answer.details));
    expect(claims).toMatchObject({ outcome, reason });
  });

  test('an engine that is full admitted nobody', async () => {
    const service = await startGrpc();
    service.engine.failure = 'QUEUE_FULL';
    const { code, trailing } = await service.infer(REQUEST);
    expect([code, named(trailing, 'vouchsafe-code')]).toEqual(['RESOURCE_EXHAUSTED', 'OVERLOADED']);
    expect(issuedClaims(service)).toEqual([]);
  });

  test('a client that cancels ends the work', async () => {
    const service = await startGrpc();
    service.engine.held = true;
    const cancel = until(() => service.engine.calls === 1);
    expect((await service.infer(REQUEST, { cancel })).code).toBe('CANCELLED');
    await until(() => issuedClaims(service).length === 1);
    expect(service.engine.aborted).toBe(1);
    expect(issuedClaims(service)[0]).toMatchObject({ outcome: 'aborted', reason: 'CANCELLED' });
    await until(() => service.service.admission.inside === 0);
  });

  test('the deadline of the client ends the work', async () => {
    const service = await startGrpc();
    service.engine.held = true;
    const answer = await service.infer(REQUEST, { options: { deadline: Date.now() + 150 } });
    expect(answer.code).toBe('DEADLINE_EXCEEDED');
    await until(() => issuedClaims(service).length === 1);
    expect(service.engine.aborted).toBe(1);
    // Both sides have a timer; where the client's is first, it has gone.
    expect(['DEADLINE_EXCEEDED', 'CANCELLED']).toContain(issuedClaims(service)[0]!.reason);
    await until(() => service.service.admission.inside === 0);
  });

  test('of the deadline of the client the client hears from us, with a receipt', async () => {
    const service = await startGrpc();
    service.engine.held = true;
    const request = encode('ModelInferRequest', REQUEST);
    const answer = await service.call('ModelInfer', request, { options: { deadline: Date.now() + 1000 } });
    expect([answer.code, named(answer.trailing, 'vouchsafe-code')]).toEqual([
      'DEADLINE_EXCEEDED',
      'DEADLINE_EXCEEDED',
    ]);
    const claims = await receiptOf(service, answer, request, Buffer.from(answer.details));
    expect(claims).toMatchObject({ outcome: 'error', reason: 'DEADLINE_EXCEEDED' });
  });

  test('work that passes the deadline of the client has a receipt of no bytes', async () => {
    const service = await startGrpc();
    service.engine.infer = async (_model, inputs) => {
      await new Promise((resolve) => setTimeout(resolve, 600));
      return inputs;
    };
    const answer = await service.infer(REQUEST, { options: { deadline: Date.now() + 300 } });
    expect([answer.code, answer.initial.get('vouchsafe-receipt-id')]).toEqual(['DEADLINE_EXCEEDED', []]);
    await until(() => issuedClaims(service).length === 1);
    expect(issuedClaims(service)[0]).toMatchObject({ outcome: 'aborted', reason: 'CANCELLED' });
    await until(() => service.service.admission.inside === 0);
  });

  test('our own deadline ends it, too, with a receipt that the client gets', async () => {
    const service = await startGrpc({ limits: { requestTimeoutMs: 150 } });
    service.engine.held = true;
    const request = encode('ModelInferRequest', REQUEST);
    const answer = await service.call('ModelInfer', request);
    expect(answer.code).toBe('DEADLINE_EXCEEDED');
    const claims = await receiptOf(service, answer, request, Buffer.from(answer.details));
    expect(claims).toMatchObject({ outcome: 'error', reason: 'DEADLINE_EXCEEDED' });
  });
});
