import { createServer, type Server } from 'node:https';
import { createServer as createPlainServer, type RequestListener } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { SecureContextOptions } from 'node:tls';
import { afterEach, describe, expect, test } from '@jest/globals';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { SIMULATED_POLICY } from '../../../attestation/policy/defaults.ts';
import { makeSelfSigned } from '../../../enclave/keys/tls/selfSigned.ts';
import { openTlsKeys } from '../../../enclave/keys/tls/tlsKeys.ts';
import { connect } from '../../../src/client/connect.ts';
import { connectOnNode } from '../../../src/client/connectOnNode.ts';
import { ClientError } from '../../../src/client/errors.ts';
import { EvidenceTls } from '../../../src/client/evidenceTls.ts';
import { readBody } from '../../../src/client/http.ts';
import { startTestService } from '../../support/service.ts';
import { failures, NOW } from '../../support/world.ts';

const REQUEST = { path: '/v1/embeddings', body: '{"model":"fake","input":"hello"}' };
const opened: Server[] = [];
afterEach(() => {
  for (const server of opened.splice(0)) server.close().closeAllConnections();
});

async function startTls(enabled = true) {
  const tls = enabled ? await openTlsKeys({ enabled, hosts: ['127.0.0.1'], now: Date.now }) : undefined;
  return startTestService({ tls: { enabled } }, { world: { keys: { tls } } });
}

/** A server with a certificate that nobody vouches for. */
async function serveTls(listener: RequestListener): Promise<string> {
  const notAfter = Date.now() / 1000 + 3600;
  const identity = await makeSelfSigned({ hosts: ['127.0.0.1'], notAfter, now: Date.now });
  const server = createServer(listener);
  await identity.present(undefined, (options: SecureContextOptions) => {
    server.setSecureContext(options);
  });
  opened.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `https://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A box that ends TLS with a key of its own and passes everything on; it notes what it was told. */
async function boxBefore(url: string) {
  const told: string[] = [];
  const inside = new EvidenceTls();
  const boxUrl = await serveTls((request, response) => {
    told.push(`${request.url?.replace(/\?.*/, '') ?? ''} ${request.headers.authorization ?? '-'}`);
    void inside.fetch(url + (request.url ?? ''), { method: request.method ?? 'GET' }).then(async (answer) => {
      response.writeHead(answer.status).end(await readBody(answer, 1 << 20));
    });
  });
  return { url: boxUrl, told };
}

const open = (url: string, transport = new EvidenceTls()) =>
  connect(url, { policy: SIMULATED_POLICY, crypto: nodeCrypto, now: () => NOW, transport, apiKey: 'secret' });

describe('a service with a self-signed certificate', () => {
  test('is reached by its evidence, and not without', async () => {
    const { url } = await startTls();
    const session = await open(url);
    const answer = await session.send(REQUEST);
    expect(answer.status).toBe(200);
    const { verdict } = await session.verify(answer);
    expect(failures(verdict)).toEqual([]);
    await expect(
      connect(url, { policy: SIMULATED_POLICY, crypto: nodeCrypto, now: () => NOW }),
    ).rejects.toMatchObject({ code: 'UNREACHABLE' });
  });

  test('is refused behind a box with a key of its own, which learns nothing but the nonce', async () => {
    const box = await boxBefore((await startTls()).url);
    await expect(open(box.url)).rejects.toMatchObject({ code: 'TLS_REFUSED' });
    expect(box.told).toEqual(['/v1/attestation -']);
  });

  test('is refused where the evidence vouches for no TLS key', async () => {
    const box = await boxBefore((await startTls(false)).url);
    await expect(open(box.url)).rejects.toMatchObject({ code: 'TLS_REFUSED' });
  });

  test('that a box replaces later gets no request, and no API key', async () => {
    const { url } = await startTls();
    const told: string[] = [];
    const other = await serveTls((request, response) => {
      told.push(String(request.headers.authorization));
      response.end();
    });
    const real = new EvidenceTls();
    let target = url;
    const transport = {
      fetch: (address: string, init: RequestInit) => real.fetch(address.replace(url, target), init),
      judge: (spki: Uint8Array | undefined) => {
        real.judge(spki);
      },
    };
    const session = await connect(url, {
      policy: SIMULATED_POLICY,
      crypto: nodeCrypto,
      now: () => NOW,
      transport,
      apiKey: 'secret',
    });
    target = other;
    await expect(session.send(REQUEST)).rejects.toMatchObject({ code: 'TLS_REFUSED' });
    await expect(session.models()).rejects.toMatchObject({ code: 'TLS_REFUSED' });
    expect(told).toEqual([]);
  });
});

test('redirects, servers that are gone, and an abort are failures', async () => {
  const away = await serveTls((_request, response) => response.writeHead(302, { location: '/' }).end());
  const { fetch } = new EvidenceTls();
  await expect(fetch(`${away}/`, {})).rejects.toThrow();
  for (const server of opened.splice(0)) await new Promise((resolve) => server.close(resolve));
  await expect(fetch(`${away}/`, {})).rejects.toThrow();
  const silent = await serveTls(() => undefined);
  await expect(fetch(`${silent}/`, { signal: AbortSignal.timeout(50) })).rejects.toThrow();
});

test('connections are kept, and used again only while their key is the pinned one', async () => {
  let sockets = 0;
  const front = await serveTls((_request, response) => response.end());
  opened.at(-1)?.on('secureConnection', () => sockets++);
  const tls = new EvidenceTls();
  const ask = async () => readBody(await tls.fetch(`${front}/`, {}), 100);
  for (let i = 0; i < 3; i++) await ask();
  expect(sockets).toBe(1);
  expect(() => {
    tls.judge(new Uint8Array(32));
  }).toThrow(ClientError);
  tls.judge(undefined);
  await expect(ask()).rejects.toMatchObject({ code: 'TLS_REFUSED' });
});

test('a kept connection that the server ended just then costs another one, not the request', async () => {
  const told: string[] = [];
  const server = createPlainServer((request, response) => {
    told.push(request.url ?? '');
    // The second request finds the connection gone.
    if (told.length === 2) request.socket.resetAndDestroy();
    else response.end('here');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const { fetch } = new EvidenceTls();
  for (const path of ['/1', '/2']) expect(await readBody(await fetch(base + path, {}), 10)).toHaveLength(4);
  expect(told).toEqual(['/1', '/2', '/2']);
  server.close().closeAllConnections();
});

test('a body that is cut is a failure, whatever was read of it', async () => {
  const url = await serveTls((_request, response) => {
    response.writeHead(200, { 'content-length': 100 });
    response.write('half', () => response.destroy());
  });
  const response = await new EvidenceTls().fetch(`${url}/`, {});
  await expect(readBody(response, 1000)).rejects.toMatchObject({ code: 'UNREACHABLE' });
});

test('without TLS nothing is judged', async () => {
  const { url } = await startTls(false);
  expect((await new EvidenceTls().fetch(`${url}/livez`, {})).status).toBe(200);
});

test('the `connect` of Node takes a key that the evidence vouches for, without being told how', async () => {
  const { url } = await startTls();
  const session = await connectOnNode(url, { policy: SIMULATED_POLICY, now: () => NOW, apiKey: 'secret' });
  const response = await session.fetch(`${url}${REQUEST.path}`, { method: 'POST', body: REQUEST.body });
  expect(response.headers.get('vouchsafe-verified')).toBe('?1');
  const fetching = { fetch: (address: string, init: RequestInit) => fetch(address, init) };
  await expect(
    connectOnNode(url, { policy: SIMULATED_POLICY, now: () => NOW, ...fetching }),
  ).rejects.toMatchObject({ code: 'UNREACHABLE' });
});
