import {
  type ClientHttp2Session,
  type ClientHttp2Stream,
  type ClientSessionOptions,
  connect,
  constants,
  createServer,
} from 'node:http2';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { Server } from '@grpc/grpc-js';
import { afterEach, describe, expect, test } from '@jest/globals';
import { boundServer, boundStream, type StreamBounds } from '../../../src/grpc/streams.ts';
import { apiKey, issuedClaims, until } from '../../support/service.ts';
import { encode, PATH, startGrpc } from './client.ts';

const ended: (() => void)[] = [];
afterEach(() => {
  for (const end of ended.splice(0)) end();
});

function open(port: number, options: ClientSessionOptions = {}): ClientHttp2Session {
  const session = connect(`http://127.0.0.1:${port}`, options);
  session.on('error', () => undefined);
  ended.push(() => session.destroy());
  return session;
}

/** What the service said on a stream that it closed. */
interface Closed {
  readonly head: Record<string, unknown>;
  readonly code: number;
}

function ask(session: ClientHttp2Session, headers: Record<string, string> = {}): ClientHttp2Stream {
  const stream = session.request({
    ':method': 'POST',
    ':path': `${PATH}ModelInfer`,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...headers,
  });
  stream.on('error', () => undefined);
  return stream;
}

/** Resolves once the stream is closed, which ours does not ask for. */
function closed(stream: ClientHttp2Stream): Promise<Closed> {
  return new Promise((resolve) => {
    const head: Closed['head'] = {};
    const say = (given: object): void => {
      Object.assign(head, given);
    };
    stream.on('response', say);
    stream.on('trailers', say);
    stream.resume();
    stream.once('close', () => resolve({ head, code: stream.rstCode }));
  });
}

function frame(message: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt32BE(message.length, 1);
  return Buffer.concat([head, message]);
}

const REQUEST = {
  model_name: 'fake',
  inputs: [{ name: 'x', datatype: 'FP32', shape: [4000], contents: { fp32_contents: Array(4000).fill(1) } }],
};
const MESSAGE = frame(encode('ModelInferRequest', REQUEST));

describe('half-sent calls', () => {
  test('that are refused leave no stream open', async () => {
    const service = await startGrpc({ keys: { apiKeys: [apiKey('a').entry] } });
    const session = open(service.grpc.port);
    const streams = Array.from({ length: 100 }, () => ask(session));
    for (const stream of streams) stream.write(MESSAGE.subarray(0, 10_000));
    for (const { head } of await Promise.all(streams.map(closed))) {
      expect(head).toMatchObject({ 'grpc-status': '16', 'vouchsafe-code': 'API_KEY_MISSING' });
    }
  });

  test.each([
    ['of no known method', { ':path': `${PATH}ModelTrain` }, { 'grpc-status': '12' }],
    ['that are no gRPC', { 'content-type': 'application/json' }, { ':status': 415 }],
    ['whose answer is a message', { ':path': `${PATH}ServerLive` }, { 'grpc-status': '0' }],
  ])('%s leave no stream open', async (_name, headers, said) => {
    const service = await startGrpc();
    const stream = ask(open(service.grpc.port), headers);
    stream.write(MESSAGE.subarray(0, 10_000));
    expect(await closed(stream)).toMatchObject({ head: said, code: constants.NGHTTP2_NO_ERROR });
  });

  test('of one key keep no other key out', async () => {
    const [a, b] = [apiKey('a'), apiKey('b')];
    const service = await startGrpc({
      keys: { apiKeys: [a.entry, b.entry] },
      limits: { concurrency: 2, queue: 2 },
    });
    const session = open(service.grpc.port);
    for (let i = 0; i < 4; i++) {
      ask(session, { authorization: `Bearer ${a.key}` }).write(MESSAGE.subarray(0, 100));
    }
    await until(() => service.service.admission.inside === 2);
    const answer = await service.infer(REQUEST, { metadata: { authorization: `Bearer ${b.key}` } });
    expect(answer.code).toBe('OK');
  });
});

describe('an answer that nobody reads', () => {
  test('keeps its place until the call is cancelled', async () => {
    const service = await startGrpc({ limits: { requestTimeoutMs: 1000 } });
    const stream = ask(open(service.grpc.port, { settings: { initialWindowSize: 100 } }));
    stream.end(MESSAGE);
    await until(() => issuedClaims(service).length === 1);
    await delay(200);
    expect(service.service.admission.inside).toBe(1);
    await until(() => service.service.admission.inside === 0 && service.service.lifetimes.size === 0);
    await until(() => stream.rstCode === constants.NGHTTP2_CANCEL);
    expect((await service.infer(REQUEST)).code).toBe('OK');
  });
});

describe('silence', () => {
  /** A server that answers nothing by itself, and a stream to it. */
  async function startSilent(bounds: Omit<StreamBounds, 'connections'>): Promise<ClientHttp2Stream> {
    const server = createServer();
    server.on('stream', (stream) => {
      stream.on('error', () => undefined);
      stream.resume();
      boundStream(stream, bounds);
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    ended.push(() => server.close());
    return ask(open((server.address() as AddressInfo).port));
  }

  test('ends a call whose message does not come', async () => {
    const stream = await startSilent({ timeoutMs: 20_000, silenceMs: 200 });
    stream.write(MESSAGE.subarray(0, 100));
    expect(await closed(stream)).toMatchObject({
      head: {
        'grpc-status': '3',
        'vouchsafe-code': 'BODY_INCOMPLETE',
        'grpc-message': expect.stringMatching(/^BODY_INCOMPLETE:/),
      },
    });
  });

  test('after the message is work', async () => {
    const stream = await startSilent({ timeoutMs: 500, silenceMs: 100 });
    const started = performance.now();
    stream.end(MESSAGE);
    expect(await closed(stream)).toEqual({ head: {}, code: constants.NGHTTP2_CANCEL });
    expect(performance.now() - started).toBeGreaterThan(900);
  });
});

test('a server that is not bound cannot be held to bounds', () => {
  expect(() => boundServer(new Server(), { connections: 1, timeoutMs: 1 })).toThrow('no HTTP/2 server');
});
