import { createServer as createRawServer, type Socket } from 'node:net';
import type { AddressInfo } from 'node:net';
import { gzipSync } from 'node:zlib';
import { describe, expect, test } from '@jest/globals';
import { CollateralError, COLLATERAL_ERRORS } from '../../../src/collateral/errors.ts';
import { HttpClient, type HttpOptions, type HttpRequest } from '../../../src/collateral/http.ts';
import { sends, startVendors, type Answer } from './server.ts';

const NEVER = new AbortController().signal;
const OCTETS = 'application/octet-stream';

/** Impatient, so that tests are not slow. */
const OPTIONS: HttpOptions = { attempts: 3, backoffMs: 1, requestTimeoutMs: 2000 };

function request(url: string, changes: Partial<HttpRequest> = {}): HttpRequest {
  return { url, media: 'certificate', maxBytes: 1000, ...changes };
}

/** What asking for `/it` gives; errors as values. */
async function ask(
  answer: Answer,
  options: HttpOptions = {},
  changes: Partial<HttpRequest> = {},
  signal = NEVER,
) {
  const server = await startVendors({ '/it': answer });
  const client = new HttpClient({ ...OPTIONS, ...options });
  const result = await client.ask(request(`${server.url}/it`, changes), signal).then(
    ({ body }) => Buffer.from(body).toString(),
    (error: unknown) => error,
  );
  return { result, server };
}

function codeOf(result: unknown): string {
  if (result instanceof CollateralError) return result.code;
  throw result instanceof Error ? result : new Error(`no error: ${String(result)}`);
}

describe('good answers', () => {
  test('give their bytes', async () => {
    expect((await ask(sends('application/pkix-cert', 'hello'))).result).toBe('hello');
  });

  test('a type may have parameters and capitals, or be absent', async () => {
    expect((await ask(sends('Application/PKIX-Cert; charset=x', 'hello'))).result).toBe('hello');
    expect((await ask({ body: 'hello' })).result).toBe('hello');
  });

  test('may have exactly the largest size', async () => {
    expect((await ask(sends(OCTETS, 'x'.repeat(1000)))).result).toHaveLength(1000);
  });

  test('are asked for with a type and without credentials', async () => {
    let headers: Record<string, unknown> = {};
    await ask((asked, response) => {
      headers = asked.headers;
      response.writeHead(200, { 'content-type': OCTETS }).end('x');
    });
    expect(headers).toMatchObject({
      accept: 'application/pkix-cert, */*;q=0.1',
      'accept-encoding': 'identity',
    });
    expect(Object.keys(headers)).not.toContain('cookie');
  });
});

describe('size', () => {
  test('a declared length that is too large is refused before the body', async () => {
    let sent = 0;
    const { result } = await ask((_request, response) => {
      response.writeHead(200, { 'content-type': OCTETS, 'content-length': '1001' });
      response.flushHeaders();
      sent = response.socket?.bytesWritten ?? 0;
    });
    expect(codeOf(result)).toBe('oversize');
    expect(sent).toBeLessThan(1000);
  });

  test('an endless body is given up at its limit', async () => {
    let sent = 0;
    const { result } = await ask((_request, response) => {
      response.writeHead(200, { 'content-type': OCTETS });
      const pour = (): void => {
        while (!response.destroyed && response.write(Buffer.alloc(512))) sent += 512;
        if (!response.destroyed) response.once('drain', pour);
      };
      pour();
    });
    expect(codeOf(result)).toBe('oversize');
    expect(sent).toBeLessThan(64 * 1024 * 1024);
  });

  test('one byte more than the limit is too much', async () => {
    const { result } = await ask((_request, response) => {
      response.writeHead(200, { 'content-type': OCTETS });
      response.write('x'.repeat(1000));
      response.end('x');
    });
    expect(codeOf(result)).toBe('oversize');
  });

  test('a compressed body counts with its real size', async () => {
    const bomb = gzipSync(Buffer.alloc(1_000_000));
    const { result } = await ask(
      sends(OCTETS, bomb, { 'content-encoding': 'gzip' }),
      {},
      { maxBytes: 100_000 },
    );
    expect(bomb.length).toBeLessThan(100_000);
    expect(codeOf(result)).toBe('oversize');
  });
});

describe('slowness', () => {
  test('headers that do not come', async () => {
    const { result } = await ask(() => undefined, { requestTimeoutMs: 60 });
    expect(codeOf(result)).toBe('timeout');
  });

  test('a body that trickles', async () => {
    const { result } = await ask(
      (_request, response) => {
        response.writeHead(200, { 'content-type': OCTETS });
        const timer = setInterval(() => response.write('x'), 10);
        response.on('close', () => {
          clearInterval(timer);
        });
      },
      { requestTimeoutMs: 100 },
    );
    expect(codeOf(result)).toBe('timeout');
  });

  test('the caller can end it, with a reason of its own', async () => {
    const controller = new AbortController();
    const reason = new Error('enough');
    setTimeout(() => {
      controller.abort(reason);
    }, 30);
    expect((await ask(() => undefined, {}, {}, controller.signal)).result).toBe(reason);
  });
});

describe('broken connections', () => {
  test('a body shorter than declared is truncated, and asked for again', async () => {
    let times = 0;
    const { result } = await ask((_request, response) => {
      times++;
      response.writeHead(200, { 'content-type': OCTETS, 'content-length': '10' });
      response.write('short');
      setTimeout(() => response.socket?.destroy(), 10);
    });
    expect(codeOf(result)).toBe('truncated');
    expect(times).toBe(3);
  });

  test('a chunked body without its end is truncated', async () => {
    const { result } = await ask(
      (_request, response) => {
        response.writeHead(200, { 'content-type': OCTETS });
        response.write('half');
        setTimeout(() => response.socket?.destroy(), 10);
      },
      { attempts: 1 },
    );
    expect(codeOf(result)).toBe('truncated');
  });

  test('what breaks once is had at the second attempt', async () => {
    let times = 0;
    const { result } = await ask((_request, response) => {
      if (times++ === 0) response.socket?.destroy();
      else response.writeHead(200, { 'content-type': OCTETS }).end('hello');
    });
    expect([result, times]).toEqual(['hello', 2]);
  });

  test('nobody there', async () => {
    const client = new HttpClient(OPTIONS);
    const error = await client
      .ask(request('http://127.0.0.1:9/it'), NEVER)
      .catch((caught: unknown) => caught);
    expect(codeOf(error)).toBe('unreachable');
  });

  test('what is no HTTP', async () => {
    const raw = createRawServer((socket: Socket) => socket.end('SSH-2.0-hello\r\n'));
    await new Promise<void>((resolve) => raw.listen(0, '127.0.0.1', resolve));
    const client = new HttpClient({ ...OPTIONS, attempts: 1 });
    const url = `http://127.0.0.1:${(raw.address() as AddressInfo).port}/it`;
    const error = await client.ask(request(url), NEVER).catch((caught: unknown) => caught);
    raw.close();
    expect(codeOf(error)).toBe('unreachable');
  });
});

describe('media types', () => {
  test.each([
    ['certificate', 'text/html'],
    ['certificate', 'application/json'],
    ['crl', 'text/html; charset=utf-8'],
    ['pem', 'application/xml'],
    ['json', 'text/html'],
    ['json', 'application/octet-stream'],
    ['certificate', '<script>'],
  ] as const)('%s as %s is refused', async (media, type) => {
    expect(codeOf((await ask(sends(type, 'x'), {}, { media })).result)).toBe('media-type');
  });

  test('JSON without a type is refused', async () => {
    expect(codeOf((await ask({ body: '{}' }, {}, { media: 'json' })).result)).toBe('media-type');
  });

  test.each([
    ['certificate', 'application/pkix-cert'],
    ['certificate', 'application/x-x509-ca-cert'],
    ['pem', 'application/x-pem-file'],
    ['crl', 'application/pkix-crl'],
    ['crl', 'binary/octet-stream'],
    ['json', 'application/json; charset=utf-8'],
  ] as const)('%s as %s is taken', async (media, type) => {
    expect((await ask(sends(type, 'x'), {}, { media })).result).toBe('x');
  });
});

describe('redirects', () => {
  const to = (location: string): Answer => ({ status: 302, headers: { location } });

  test('on the same host are followed', async () => {
    const server = await startVendors({ '/it': to('/there'), '/there': sends(OCTETS, 'hello') });
    const { body } = await new HttpClient(OPTIONS).ask(request(`${server.url}/it`), NEVER);
    expect(Buffer.from(body).toString()).toBe('hello');
  });

  test('to another host or port are refused, and nobody is asked there', async () => {
    const other = await startVendors({ '/it': sends(OCTETS, 'hello') });
    expect(codeOf((await ask(to(`${other.url}/it`))).result)).toBe('redirect');
    expect(codeOf((await ask(to('https://elsewhere.invalid/it'))).result)).toBe('redirect');
    expect(other.asked).toEqual([]);
  });

  test('to another scheme, to nowhere and in circles are refused', async () => {
    expect(codeOf((await ask(to('file:///etc/passwd'))).result)).toBe('redirect');
    expect(codeOf((await ask({ status: 302 })).result)).toBe('redirect');
    const { result, server } = await ask(to('/it'));
    expect(codeOf(result)).toBe('redirect');
    expect(server.asked).toHaveLength(4);
  });
});

describe('addresses', () => {
  test('plain HTTP goes to this machine only, unless it is allowed', async () => {
    const asked: string[] = [];
    const fetch = (url: string) => {
      asked.push(url);
      return Promise.resolve(new Response('x', { headers: { 'content-type': OCTETS } }));
    };
    const get = (insecureHttp: boolean) =>
      new HttpClient({ fetch, insecureHttp }).ask(request('http://mirror.invalid/it'), NEVER);
    expect(codeOf(await get(false).catch((error: unknown) => error))).toBe('insecure-address');
    expect(asked).toEqual([]);
    await get(true);
    expect(asked).toEqual(['http://mirror.invalid/it']);
  });
});

describe('failures of the service', () => {
  test.each([
    [404, 'not-found', 1],
    [410, 'not-found', 1],
    [400, 'status', 1],
    [403, 'status', 1],
    [204, 'status', 1],
    [500, 'status', 3],
    [503, 'status', 3],
    [429, 'rate-limited', 3],
  ])('HTTP %i is %s after %i attempts', async (status, code, attempts) => {
    const { result, server } = await ask({ status });
    expect(codeOf(result)).toBe(code);
    expect(server.asked).toHaveLength(attempts);
  });

  test('a service that asks for a pause gets it, and is asked again', async () => {
    const pauses: number[] = [];
    let times = 0;
    const { result } = await ask(
      (_request, response) => {
        if (times++ === 0) response.writeHead(429, { 'retry-after': '1' }).end();
        else response.writeHead(200, { 'content-type': OCTETS }).end('hello');
      },
      { onPause: (milliseconds) => pauses.push(milliseconds) },
    );
    expect([result, pauses]).toEqual(['hello', [1000]]);
  });

  test('a pause may be named by a date', async () => {
    const pauses: number[] = [];
    const date = new Date(Date.now() + 25_000).toUTCString();
    const refused: Answer = { status: 429, headers: { 'retry-after': date } };
    const { result } = await ask(refused, { maxPauseMs: 10_000, onPause: (ms) => pauses.push(ms) });
    expect(codeOf(result)).toBe('rate-limited');
    expect((result as CollateralError).retryAfterMs).toBeGreaterThan(20_000);
    expect(pauses).toEqual([]);
  });

  test('a pause beyond what is allowed is an error at once', async () => {
    const { result, server } = await ask({ status: 429, headers: { 'retry-after': '86400' } });
    expect(codeOf(result)).toBe('rate-limited');
    expect((result as Error).message).toContain('86400 s');
    expect(server.asked).toHaveLength(1);
  });

  test('the end of all time ends a pause', async () => {
    const controller = new AbortController();
    const reason = new Error('over');
    const limited: Answer = { status: 429, headers: { 'retry-after': '20' } };
    const options: HttpOptions = {
      onPause: () =>
        setImmediate(() => {
          controller.abort(reason);
        }),
    };
    expect((await ask(limited, options, {}, controller.signal)).result).toBe(reason);
  });

  test('pauses that nobody names grow, with jitter', async () => {
    const pauses: number[] = [];
    await ask({ status: 503 }, { attempts: 4, backoffMs: 8, onPause: (ms) => pauses.push(ms) });
    expect(pauses).toHaveLength(3);
    for (const [i, pause] of pauses.entries()) {
      expect(pause).toBeGreaterThanOrEqual(4 * 2 ** i);
      expect(pause).toBeLessThanOrEqual(8 * 2 ** i);
    }
  });
});

test('every error says what to do', () => {
  for (const advice of Object.values(COLLATERAL_ERRORS)) expect(advice).toMatch(/^[A-Z].*\.$/);
});
