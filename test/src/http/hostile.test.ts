import { connect } from 'node:net';
import { describe, expect, test } from '@jest/globals';
import { startTestService, until, type TestService } from '../../support/service.ts';

const HEAD = 'POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n';

/** Sends raw bytes and gives all that comes back until the server closes or answers. */
function raw(service: TestService, text: string | Buffer, end = false): Promise<string> {
  return new Promise((resolve) => {
    let answer = '';
    const socket = connect(service.port, '127.0.0.1', () => {
      socket.write(text);
      if (end) socket.end();
    });
    socket.on('data', (chunk) => {
      answer += chunk.toString();
      if (answer.includes('\r\n\r\n')) socket.destroy();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => resolve(answer));
  });
}

describe('hostile bytes', () => {
  test('get a status, and the service goes on', async () => {
    const service = await startTestService({ limits: { bodyBytes: 2048, headerBytes: 8192 } });
    const cases: readonly (readonly [string | Buffer, number])[] = [
      ['nonsense\r\n\r\n', 400],
      [`${HEAD}X: ${'y'.repeat(10_000)}\r\n\r\n`, 431],
      [`${HEAD}Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}`, 400],
      [`${HEAD}Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n{}`, 400],
      [`${HEAD}Content-Length: 99999999\r\n\r\n{`, 413],
      [`${HEAD}Transfer-Encoding: chunked\r\n\r\n1000\r\n${'x'.repeat(4096)}\r\n0\r\n\r\n`, 413],
      [`${HEAD}Transfer-Encoding: chunked\r\n\r\nzz\r\n`, 400],
      [
        Buffer.concat([Buffer.from(`${HEAD}Content-Length: 4\r\n\r\n`), Buffer.of(0x22, 0xc3, 0x28, 0x22)]),
        400,
      ],
      [`${HEAD}Content-Length: 2000\r\n\r\n${'['.repeat(1000)}${']'.repeat(1000)}`, 400],
      ['GET /v1/models/%zz HTTP/1.1\r\nHost: x\r\n\r\n', 400],
      ['GET /v1/receipts/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n', 404],
      ['DELETE /v1/embeddings HTTP/1.1\r\nHost: x\r\n\r\n', 405],
      ['GET /v1/attestation?nonce=1&nonce=2 HTTP/1.1\r\nHost: x\r\n\r\n', 400],
    ];
    for (const [bytes, status] of cases) {
      const answer = await raw(service, bytes);
      expect([bytes.toString().slice(0, 120), answer.split(' ')[1]]).toEqual([
        bytes.toString().slice(0, 120),
        String(status),
      ]);
    }
    expect((await service.post('/v1/embeddings', { model: 'fake', input: 'x' })).status).toBe(200);
    expect(service.service.admission.inside).toBe(0);
  });

  test('a body that breaks off gives its place back', async () => {
    const service = await startTestService();
    await raw(service, `${HEAD}Content-Length: 100\r\n\r\n{`, true);
    await until(() => service.service.admission.inside === 0 && service.service.lifetimes.size === 0);
    expect(service.engine.calls).toBe(0);
  });

  test('a body that never comes ends at the deadline', async () => {
    const service = await startTestService({ limits: { requestTimeoutMs: 300 } });
    await raw(service, `${HEAD}Content-Length: 100\r\n\r\n{`);
    await until(() => service.service.admission.inside === 0 && service.service.lifetimes.size === 0);
    expect((await service.post('/v1/embeddings', { model: 'fake', input: 'x' })).status).toBe(200);
  });
});
