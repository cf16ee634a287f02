import { createHash, X509Certificate } from 'node:crypto';
import { Agent, request as requestTls, type RequestOptions } from 'node:https';
import type { IncomingHttpHeaders } from 'node:http';
import { connect, type ConnectionOptions, TLSSocket } from 'node:tls';
import { describe, expect, test } from '@jest/globals';
import {
  sealRequest,
  ENCAPSULATED_KEY_HEADER,
  SEALED_CONTENT_TYPE,
} from '../../../attestation/channel/hpke.ts';
import { encodeSealedRequest } from '../../../attestation/channel/sealed.ts';
import { encodeKeyset, parseKeyset } from '../../../attestation/keyset.ts';
import { openTlsKeys } from '../../../enclave/keys/tls/tlsKeys.ts';
import { channelOf } from '../../../src/http/tls.ts';
import { HAS_OPENSSL, mintPkcs12 } from '../../support/pkcs12.ts';
import {
  apiKey,
  issuedClaims,
  makeFolder,
  startTestService,
  testConfig,
  type TestService,
} from '../../support/service.ts';
import { evidenceNamedBy } from '../../support/tls.ts';

const ADMIN = apiKey('admin');
const BODY = JSON.stringify({ model: 'fake', input: 'hello' });
const JSON_HEADERS = { 'content-type': 'application/json' };

async function startTls(): Promise<TestService> {
  const tls = await openTlsKeys({ enabled: true, hosts: ['localhost', '127.0.0.1'], now: Date.now });
  return startTestService(
    { tls: { enabled: true }, keys: { adminKeySha256: ADMIN.entry.sha256, required: 'never' } },
    { world: { keys: { tls } } },
  );
}

interface Answer {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  readonly certificate: X509Certificate;
  readonly isReused: boolean;
}

/** One request over TLS that trusts whatever certificate comes. */
function ask(
  { port }: TestService,
  path: string,
  {
    method = 'GET',
    body,
    ...options
  }: RequestOptions & ConnectionOptions & { body?: string | Uint8Array } = {},
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const sent = requestTls(
      { host: '127.0.0.1', port, path, method, rejectUnauthorized: false, agent: false, ...options },
      (response) => {
        const { socket } = response;
        if (!(socket instanceof TLSSocket)) throw new TypeError('the answer came without TLS');
        const certificate = new X509Certificate(socket.getPeerCertificate().raw);
        const isReused = socket.isSessionReused();
        const chunks: Buffer[] = [];
        response.on('data', (chunk: Buffer) => chunks.push(chunk));
        response.on('end', () => {
          const { statusCode: status = 0, headers } = response;
          resolve({ status, headers, body: Buffer.concat(chunks), certificate, isReused });
        });
      },
    );
    sent.on('error', reject);
    sent.end(body);
  });
}

function spkiOf({ publicKey }: X509Certificate): Buffer {
  return createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest();
}

async function eventually<T>(find: () => Promise<T>, isThere: (value: T) => boolean): Promise<T> {
  for (;;) {
    const value = await find();
    if (isThere(value)) return value;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

const embed = (service: TestService, headers = {}, options = {}) =>
  ask(service, '/v1/embeddings', {
    method: 'POST',
    body: BODY,
    headers: { ...JSON_HEADERS, ...headers },
    ...options,
  });

describe('TLS that ends here', () => {
  test('shows the key of the keyset and names the newest evidence', async () => {
    const service = await startTls();
    const { vouching } = service.world;
    const { certificate, status } = await ask(service, '/livez');
    expect(status).toBe(200);
    const keyset = parseKeyset(encodeKeyset(vouching.keyset));
    expect(Buffer.from(keyset.tlsSpki!)).toEqual(spkiOf(certificate));
    expect(evidenceNamedBy(certificate)).toEqual(Buffer.from(vouching.head.digest));
    await vouching.attest(new Uint8Array(32).fill(1));
    const newest = Buffer.from(vouching.head.digest);
    const renewed = await eventually(
      async () => (await ask(service, '/livez')).certificate,
      (shown) => newest.equals(evidenceNamedBy(shown) ?? Buffer.alloc(0)),
    );
    expect(spkiOf(renewed)).toEqual(spkiOf(certificate));
  });

  test('a client that trusts the certificate by itself, and by name, is served', async () => {
    const service = await startTls();
    const { certificate } = await ask(service, '/livez');
    const trusting = { rejectUnauthorized: true, ca: certificate.toString() };
    expect((await ask(service, '/livez', trusting)).status).toBe(200);
    await expect(ask(service, '/livez', { ...trusting, servername: 'another.example' })).rejects.toThrow();
  });

  test('receipts say tls, and hpke where the body was sealed besides', async () => {
    const service = await startTls();
    await embed(service);
    const nonce = new Uint8Array(32).fill(5);
    const inner = {
      nonce,
      method: 'POST',
      path: '/v1/embeddings',
      contentType: 'application/json',
      body: Buffer.from(BODY),
    };
    const sealed = await sealRequest(service.world.keys.keyset.hpke[0]!, encodeSealedRequest(inner));
    const headers = {
      'content-type': SEALED_CONTENT_TYPE,
      [ENCAPSULATED_KEY_HEADER]: Buffer.from(sealed.enc).toString('hex'),
    };
    const answer = await ask(service, '/v1/embeddings', { method: 'POST', headers, body: sealed.body });
    expect(answer.status).toBe(200);
    expect(issuedClaims(service).map(({ channel }) => channel)).toEqual(['tls', 'hpke']);
  });

  test('speaks TLS 1.3 alone and resumes no session', async () => {
    const service = await startTls();
    await expect(ask(service, '/livez', { maxVersion: 'TLSv1.2' })).rejects.toThrow();
    const sessions: Buffer[] = [];
    const first = connect({ host: '127.0.0.1', port: service.port, rejectUnauthorized: false });
    first.on('session', (session: Buffer) => sessions.push(session));
    await new Promise((resolve) => first.once('secureConnect', resolve));
    first.write('GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n');
    first.resume();
    await new Promise((resolve) => first.once('close', resolve));
    for (const session of sessions) expect((await ask(service, '/livez', { session })).isReused).toBe(false);
  });

  test('what speaks no TLS to it gets no answer, and others are served on', async () => {
    const service = await startTls();
    await expect(fetch(`http://127.0.0.1:${service.port}/livez`)).rejects.toThrow();
    expect((await ask(service, '/livez')).status).toBe(200);
  });
});

describe('a rotation', () => {
  test('by the admin key shows a new TLS key; old connections end, and what was sealed before still opens', async () => {
    const service = await startTls();
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    const before = await embed(service, {}, { agent });
    expect(before.headers.connection).toBe('keep-alive');
    const key = service.world.keyring.keyset.hpke[0]!;
    const inner = {
      nonce: new Uint8Array(32).fill(5),
      method: 'POST',
      path: '/v1/embeddings',
      contentType: 'application/json',
      body: Buffer.from(BODY),
    };
    const sealed = await sealRequest(key, encodeSealedRequest(inner));

    const headers = { authorization: `Bearer ${ADMIN.key}` };
    const rotated = await ask(service, '/v1/keys/rotate', { method: 'POST', headers });
    expect(rotated.status).toBe(200);
    const { vouching } = service.world;
    const { keyset, keysets } = vouching;
    expect(JSON.parse(rotated.body.toString())).toEqual({
      generation: 1,
      keyset: Buffer.from(vouching.keysetDigest).toString('hex'),
      previous: Buffer.from(keyset.previous!).toString('hex'),
      not_after: keyset.notAfter,
      evidence: Buffer.from(vouching.head.digest).toString('hex'),
    });
    expect(keysets).toHaveLength(2);

    const over = await embed(service, {}, { agent });
    expect(over.headers.connection).toBe('close');
    const after = await eventually(
      async () => ask(service, '/livez'),
      ({ certificate }) => spkiOf(certificate).equals(Buffer.from(keyset.tlsSpki!)),
    );
    expect(spkiOf(after.certificate)).not.toEqual(spkiOf(before.certificate));
    agent.destroy();

    const send = () =>
      ask(service, '/v1/embeddings', {
        method: 'POST',
        headers: {
          'content-type': SEALED_CONTENT_TYPE,
          [ENCAPSULATED_KEY_HEADER]: Buffer.from(sealed.enc).toString('hex'),
        },
        body: sealed.body,
      });
    expect((await send()).status).toBe(200);
    expect(issuedClaims(service).at(-1)?.keysetDigest).toEqual(vouching.keysetDigest);
    // Taken once under the former key as under any.
    expect((await send()).status).toBe(409);
    const published = JSON.parse((await ask(service, '/v1/keyset')).body.toString()) as { keyset: string };
    expect(parseKeyset(Uint8Array.from(Buffer.from(published.keyset, 'base64url'))).generation).toBe(1);
  });

  test('after two of them what was sealed at first opens no more', async () => {
    const service = await startTestService();
    const key = service.world.keyring.keyset.hpke[0]!;
    const inner = {
      nonce: new Uint8Array(32).fill(5),
      method: 'POST',
      path: '/v1/embeddings',
      contentType: 'application/json',
      body: Buffer.from(BODY),
    };
    const sealed = await sealRequest(key, encodeSealedRequest(inner));
    await service.world.vouching.rotateKeys();
    await service.world.vouching.rotateKeys();
    const answer = await fetch(`${service.url}/v1/embeddings`, {
      method: 'POST',
      headers: {
        'content-type': SEALED_CONTENT_TYPE,
        [ENCAPSULATED_KEY_HEADER]: Buffer.from(sealed.enc).toString('hex'),
      },
      body: sealed.body as Uint8Array<ArrayBuffer>,
    });
    expect(answer.status).toBe(422);
  });

  test('is for the admin key alone', async () => {
    const service = await startTestService({ keys: { adminKeySha256: ADMIN.entry.sha256 } });
    const rotate = (headers = {}) => fetch(`${service.url}/v1/keys/rotate`, { method: 'POST', headers });
    expect((await rotate()).status).toBe(401);
    expect((await rotate({ authorization: 'Bearer nobody' })).status).toBe(401);
    expect(service.world.keys.keyset.generation).toBe(0);
  });
});

test('behind a proxy that ends TLS receipts say plain, whatever its headers say', async () => {
  const service = await startTestService();
  const forwarded = { 'x-forwarded-proto': 'https', forwarded: 'proto=https', 'x-forwarded-ssl': 'on' };
  await service.post('/v1/embeddings', { model: 'fake', input: 'hello' }, forwarded);
  expect(issuedClaims(service).map(({ channel }) => channel)).toEqual(['plain']);
  expect(channelOf({ encrypted: true } as never)).toBe('plain');
});

if (!HAS_OPENSSL) test.skip('a key that an operator brought: skipped: no openssl', () => undefined);
(HAS_OPENSSL ? test : test.skip)(
  'a key that an operator brought is served, before and after a rotation',
  async () => {
    const { certificate, file: pkcs12File, passwordFile } = mintPkcs12(await makeFolder(), { kind: 'rsa' });
    const tls = await openTlsKeys({ enabled: true, pkcs12File, passwordFile, hosts: [], now: Date.now });
    const service = await startTestService({ tls: { enabled: true } }, { world: { keys: { tls } } });
    const trusting = { rejectUnauthorized: true, ca: certificate, servername: 'localhost' };
    const before = await ask(service, '/livez', trusting);
    await service.world.vouching.rotateKeys();
    const after = await ask(service, '/livez', trusting);
    expect(spkiOf(after.certificate)).toEqual(spkiOf(before.certificate));
    expect(Buffer.from(service.world.keys.keyset.tlsSpki!)).toEqual(spkiOf(after.certificate));
  },
);

test.each([
  ['TLS_UNSUPPORTED', { tls: { enabled: true }, server: { processes: 2 } }],
  ['TLS_INCOMPLETE', { tls: { pkcs12File: 'tls.p12' } }],
  ['TLS_INCOMPLETE', { tls: { enabled: true, passwordFile: 'password' } }],
])('settings that cannot be together are refused: %s', (code, settings) => {
  let refused: unknown;
  try {
    testConfig(settings);
  } catch (error) {
    refused = error;
  }
  expect(refused).toMatchObject({ code });
});
