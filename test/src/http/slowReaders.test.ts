import { connect, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, test } from '@jest/globals';
import {
  ENCAPSULATED_KEY_HEADER,
  SEALED_CONTENT_TYPE,
  sealRequest,
} from '../../../attestation/channel/hpke.ts';
import { encodeSealedRequest } from '../../../attestation/channel/sealed.ts';
import type { Generation } from '../../../src/engine/engine.ts';
import { FakeEngine } from '../../support/fakeEngine.ts';
import { apiKey, issuedClaims, startTestService, type TestService, until } from '../../support/service.ts';
import { framed } from '../../support/tensors.ts';

/** More than the buffers of the system between both ends. */
const MANY_BYTES = 24 * 1024 * 1024;
const limits = { bodyBytes: 32 * 1024 * 1024, requestTimeoutMs: 3000 };

const sockets: Socket[] = [];
function hangUp(): void {
  for (const socket of sockets.splice(0)) socket.destroy();
}
afterEach(hangUp);

/** Sends a request and reads nothing. */
function ask(
  service: TestService,
  path: string,
  headers: Readonly<Record<string, string | number>>,
  body: Uint8Array,
): Socket {
  const socket = connect(service.port, '127.0.0.1');
  sockets.push(socket);
  socket.on('error', () => undefined);
  const lines = Object.entries({ host: 'x', 'content-length': body.length, ...headers });
  const head = lines.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  socket.pause();
  socket.write(`POST ${path} HTTP/1.1\r\n${head}\r\n`);
  socket.write(body);
  return socket;
}

const INFER = '/v2/models/fake/infer';
const { body: BODY, jsonLength } = framed(
  [{ name: 'x', datatype: 'FP32', shape: [MANY_BYTES / 4], bytes: new Uint8Array(MANY_BYTES) }],
  { parameters: { binary_data_output: true } },
);
const FRAMED = { 'content-type': 'application/octet-stream', 'inference-header-content-length': jsonLength };

const idle = (service: TestService): boolean =>
  service.service.admission.inside === 0 && service.service.lifetimes.size === 0;

describe('an answer that nobody reads', () => {
  test('keeps its place until it is given up', async () => {
    const service = await startTestService({ limits });
    ask(service, INFER, FRAMED, BODY);
    await until(() => issuedClaims(service).length === 1);
    await delay(300);
    expect(service.service.admission.inside).toBe(1);
    await until(() => idle(service));
    expect(await service.service.metrics.render()).toContain('status="499"} 1');
    expect((await service.post('/v1/embeddings', { model: 'fake', input: 'x' })).status).toBe(200);
  });

  test('is not lost where it is read late', async () => {
    const service = await startTestService({ limits: { ...limits, requestTimeoutMs: 20_000 } });
    const socket = ask(service, INFER, FRAMED, BODY);
    await until(() => issuedClaims(service).length === 1);
    await delay(300);
    let length = 0;
    socket.on('data', (chunk) => (length += chunk.length));
    socket.resume();
    await until(() => idle(service));
    await until(() => length > MANY_BYTES);
    expect(issuedClaims(service)).toMatchObject([{ outcome: 'complete' }]);
  });

  test('keeps its place under a seal, too', async () => {
    const service = await startTestService({ limits });
    const sealed = await sealRequest(
      service.world.keyring.keyset.hpke[0]!,
      encodeSealedRequest({
        nonce: new Uint8Array(32).fill(3),
        method: 'POST',
        path: INFER,
        contentType: `application/octet-stream; inference-header-content-length=${jsonLength}`,
        body: BODY,
      }),
    );
    const headers = {
      'content-type': SEALED_CONTENT_TYPE,
      [ENCAPSULATED_KEY_HEADER]: Buffer.from(sealed.enc).toString('hex'),
    };
    ask(service, INFER, headers, sealed.body);
    await until(() => issuedClaims(service).length === 1);
    await delay(300);
    expect(service.service.admission.inside).toBe(1);
    await until(() => idle(service));
  });

  test('does not keep the service from stopping', async () => {
    const service = await startTestService({ limits });
    ask(service, INFER, FRAMED, BODY);
    await until(() => issuedClaims(service).length === 1);
    await service.drain(100);
    expect(idle(service)).toBe(true);
  });
});

/** Says long words for ever, until it is stopped. */
class Talker extends FakeEngine {
  override async generate(
    ...[, , options, onToken]: Parameters<FakeEngine['generate']>
  ): Promise<Generation> {
    let completionTokens = 0;
    while (!options.signal?.aborted) {
      onToken({ id: 1, text: 'x'.repeat(65_536) });
      completionTokens++;
      await new Promise((resolve) => setImmediate(resolve));
    }
    return { promptTokens: 1, completionTokens, finishReason: 'stop' };
  }
}

test('a stream that nobody reads ends as if its client had gone', async () => {
  const service = await startTestService({ limits: { requestTimeoutMs: 25_000 } }, { engine: new Talker() });
  const body = Buffer.from(JSON.stringify({ model: 'fake', prompt: 'a', stream: true }));
  ask(service, '/v1/completions', { 'content-type': 'application/json' }, body);
  await until(() => issuedClaims(service).length === 1);
  expect(issuedClaims(service)).toMatchObject([
    { outcome: 'aborted', reason: 'CANCELLED', response: { kind: 'stream' } },
  ]);
  await until(() => idle(service));
});

test('half-sent bodies of one key keep no other key out', async () => {
  const [a, b] = [apiKey('a'), apiKey('b')];
  const service = await startTestService({
    keys: { apiKeys: [a.entry, b.entry] },
    limits: { concurrency: 2, queue: 4 },
  });
  const headers = {
    'content-type': 'application/json',
    authorization: `Bearer ${a.key}`,
    'content-length': 100,
  };
  for (let i = 0; i < 8; i++) ask(service, '/v1/embeddings', headers, Buffer.from('{'));
  await until(() => service.service.admission.inside === 3);
  await delay(200);
  expect(service.service.admission.inside).toBe(3);
  const request = { model: 'fake', input: 'x' };
  const answer = await service.post('/v1/embeddings', request, { authorization: `Bearer ${b.key}` });
  expect(answer.status).toBe(200);
  const refused = await service.post('/v1/embeddings', request, { authorization: `Bearer ${a.key}` });
  expect(refused.status).toBe(429);
  // A service that stops gives half-sent bodies their time.
  hangUp();
});
