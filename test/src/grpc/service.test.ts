import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Client, credentials } from '@grpc/grpc-js';
import { appraiseBundle } from '../../../attestation/appraise.ts';
import { createServiceLog } from '../../../src/http/logging.ts';
import { type RunningService, startService } from '../../../src/main.ts';
import { childEntry } from '../../support/engine.ts';
import { makeFolder, testConfig } from '../../support/service.ts';
import { contextOf } from '../../support/world.ts';
import { callOf, decode, encode, named } from './client.ts';

const QUIET = createServiceLog({ level: 'error', format: 'json' });

async function start(port?: number): Promise<RunningService> {
  const config = testConfig({
    data: { directory: await makeFolder() },
    engine: { provider: 'cpu', threads: 1 },
    grpc: { port },
  });
  return startService(config, { log: QUIET, notice: () => undefined, childEntry: childEntry(), signs: [] });
}

describe('the service with a gRPC door', () => {
  let service: RunningService;
  let client: Client;
  beforeAll(async () => {
    service = await start(0);
    client = new Client(service.grpc!, credentials.createInsecure());
  });
  afterAll(async () => {
    client.close();
    await service.stop();
  });

  const request = encode('ModelInferRequest', {
    model_name: 'glove-sif-100d',
    id: 'q',
    inputs: [
      { name: 'input_ids', shape: [1, 2], datatype: 'INT64', contents: { int64_contents: ['5', '6'] } },
      { name: 'attention_mask', shape: [1, 2], datatype: 'INT64', contents: { int64_contents: ['1', '1'] } },
    ],
  });

  test('infers as over HTTP, and the verifier accepts the receipt with both messages', async () => {
    const answer = await callOf(client, 'ModelInfer', request);
    expect([answer.code, answer.details]).toEqual(['OK', 'OK']);
    const { outputs } = decode('ModelInferResponse', answer.bytes) as {
      outputs: { shape: string[]; contents: { fp32_contents: number[] } }[];
    };
    expect(outputs[0]).toMatchObject({ datatype: 'FP32', shape: ['1', '100'] });
    const rest = await fetch(`${service.url}/v2/models/glove-sif-100d/infer`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        inputs: [
          { name: 'input_ids', shape: [1, 2], datatype: 'INT64', data: [5, 6] },
          { name: 'attention_mask', shape: [1, 2], datatype: 'INT64', data: [1, 1] },
        ],
      }),
    });
    const same = (await rest.json()) as { outputs: { data: number[] }[] };
    expect(outputs[0]!.contents.fp32_contents.map(Math.fround)).toEqual(
      same.outputs[0]!.data.map(Math.fround),
    );

    const id = named(answer.initial, 'vouchsafe-receipt-id')!;
    const headers = { 'vouchsafe-fresh': '?1' };
    const stored = await fetch(`${service.url}/v1/receipts/${id}/bundle`, { headers });
    const bundle = new Uint8Array(await stored.arrayBuffer());
    const k = Buffer.from(named(answer.initial, 'vouchsafe-commitment-key')!, 'base64url');
    const appraise = (response: Uint8Array) =>
      appraiseBundle(bundle, { opening: { k, request, response } }, contextOf({ now: Date.now() }));
    const result = await appraise(answer.bytes!);
    expect(result.verdict.decision).toBe('accepted');
    expect(result.receipt?.claims).toMatchObject({
      method: 'POST',
      path: '/inference.GRPCInferenceService/ModelInfer',
      model: 'glove-sif-100d',
      outcome: 'complete',
    });
    const altered = Buffer.concat([answer.bytes!, Buffer.of(0)]);
    expect((await appraise(altered)).verdict.decision).toBe('refused');
  });

  test('refuses to share a port, and leaves nothing behind', async () => {
    const taken = Number(service.grpc!.split(':').at(-1));
    await expect(start(taken)).rejects.toMatchObject({ code: 'EADDRINUSE' });
  });

  test('has no gRPC door where no port is set, and closes the one it has when it stops', async () => {
    const none = await start();
    expect(none.grpc).toBeUndefined();
    await none.stop();
    const one = await start(0);
    await one.stop();
    const late = new Client(one.grpc!, credentials.createInsecure());
    expect((await callOf(late, 'ServerLive', new Uint8Array(0))).code).toBe('UNAVAILABLE');
    late.close();
  });
});
