import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { fromUtf8, utf8 } from '../../../attestation/bytes/bytes.ts';
import { appraiseBundle } from '../../../attestation/appraise.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { DEFAULT_ANCHORS } from '../../../attestation/defaultAnchors.ts';
import { NO_COLLATERAL } from '../../../attestation/collateral.ts';
import { SIMULATED_POLICY } from '../../../attestation/policy/defaults.ts';
import type { Policy } from '../../../attestation/policy/policy.ts';
import { connect, type ConnectOptions } from '../../../src/client/connect.ts';
import { ClientError, type ClientErrorCode } from '../../../src/client/errors.ts';
import type { Fetch } from '../../../src/client/http.ts';
import { MemoryReceiptStore } from '../../../src/client/receiptStore.ts';
import type { Session } from '../../../src/client/session.ts';
import { until } from '../../support/service.ts';
import { attestation, HONEST, startTestService, type TestService } from './service.ts';

let service: TestService;
beforeAll(async () => {
  service = await startTestService();
});
afterAll(() => service.stop());
afterEach(() => {
  service.box = HONEST;
});

const COVERED: Policy = { ...SIMULATED_POLICY, coverage: 'required' };
const BODY = '{"input":"hello"}';
const STREAM = '{"prompt":"hello","stream":true}';
const HOUR = 3_600_000;

/** A session, and every request that left for the service: method, path and key. */
interface Watched {
  readonly session: Session;
  readonly sent: string[];
}

async function open(options: Partial<ConnectOptions> = {}, at = service): Promise<Watched> {
  const sent: string[] = [];
  const watching: Fetch = (url, init) => {
    const key = new Headers(init.headers).get('authorization');
    sent.push([init.method, new URL(url).pathname, key ?? ''].join(' ').trim());
    return (options.fetch ?? fetch)(url, init);
  };
  const given = { policy: SIMULATED_POLICY, crypto: nodeCrypto, ...options, fetch: watching };
  const session = await connect(at.url, given);
  sent.length = 0;
  return { session, sent };
}

function post(session: Session, body: RequestInit['body'] = BODY, path = '/embeddings'): Promise<Response> {
  return session.fetch(session.baseURL + path, { method: 'POST', body });
}

async function codeOf(step: Promise<unknown>): Promise<ClientErrorCode | undefined> {
  const error: unknown = await step.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error instanceof ClientError) return error.code;
  throw new Error('no client error', { cause: error });
}

/** What of a body came before it broke, and how. */
async function readUntilBroken({ body }: Response): Promise<readonly [string, ClientErrorCode | undefined]> {
  let text = '';
  const reading = async () => {
    for await (const part of body!) text += fromUtf8(part);
  };
  const code = await codeOf(reading());
  return [text, code];
}

describe('what is sent', () => {
  test.each<[string, () => readonly [string | URL | Request, RequestInit?]]>([
    ['a text', () => [`${service.url}/v1/embeddings`, { method: 'POST', body: BODY }]],
    [
      'bytes to a URL',
      () => [new URL('/v1/embeddings', service.url), { method: 'POST', body: utf8(BODY) as never }],
    ],
    ['a Request', () => [new Request(`${service.url}/v1/embeddings`, { method: 'POST', body: BODY })]],
    ['a path', () => ['/v1/embeddings', { method: 'post', body: new Blob([BODY]) }]],
    ['a stream', () => [`${service.url}/v1/embeddings`, { method: 'POST', body: new Response(BODY).body }]],
  ])('%s goes sealed, with the key that its client has', async (_name, call) => {
    const { session, sent } = await open();
    const { fetch } = session;
    const [input, init] = call();
    const headers = { authorization: 'Bearer key', cookie: 'a=b', 'content-type': 'application/json' };
    const response = await (input instanceof Request
      ? fetch(new Request(input, { headers }))
      : fetch(input, { ...init, headers }));
    expect(await response.json()).toMatchObject({ model: 'test-model' });
    expect(response.headers.get('vouchsafe-verified')).toBe('?1');
    expect(sent).toEqual(['POST /v1/embeddings Bearer key']);
  });

  test('the key of the session goes before that of its client', async () => {
    const { session, sent } = await open({ apiKey: 'own' });
    await session.fetch(`${service.url}/v1/models`, { headers: { authorization: 'Bearer other' } });
    expect(sent).toEqual(['GET /v1/models Bearer own']);
  });

  const form = new FormData();
  form.set('a', 'b');
  test.each<[string, ClientErrorCode, string, RequestInit]>([
    [
      'another origin',
      'ORIGIN_REFUSED',
      'https://elsewhere.example/v1/embeddings',
      { method: 'POST', body: BODY },
    ],
    ['another port', 'ORIGIN_REFUSED', 'http://127.0.0.1:9/v1/models', {}],
    ['another method', 'REQUEST_UNSUPPORTED', '/v1/models', { method: 'DELETE' }],
    ['a page that is not open', 'REQUEST_UNSUPPORTED', '/v1/archive', {}],
    ['a form', 'REQUEST_UNSEALABLE', '/v1/embeddings', { method: 'POST', body: form }],
  ])('nothing for %s', async (_name, code, input, init) => {
    const { session, sent } = await open();
    expect(await codeOf(session.fetch(input, init))).toBe(code);
    expect(sent).toEqual([]);
  });

  test('nothing after it was aborted', async () => {
    const { session, sent } = await open();
    const init = { method: 'POST', body: BODY, signal: AbortSignal.abort() };
    await expect(session.fetch('/v1/embeddings', init)).rejects.toThrow(
      expect.objectContaining({ name: 'AbortError' }),
    );
    expect(sent).toEqual([]);
  });
});

describe('an answer', () => {
  test('comes in one request where it brings its receipt, and is judged by one that was fetched where not', async () => {
    const { session, sent } = await open();
    const [first] = await Promise.all([post(session)]);
    expect((await session.verificationOf(first))?.verdict.tier).toBe('warning');
    expect(sent).toHaveLength(1);
    const stripping: Fetch = (url, init) => {
      const headers = new Headers(init.headers);
      headers.delete('vouchsafe-receipt');
      return fetch(url, { ...init, headers });
    };
    const stripped = await open({ fetch: stripping });
    const response = await post(stripped.session);
    expect((await stripped.session.verificationOf(response))?.receipt?.claims.channel).toBe('hpke');
    expect(stripped.sent).toEqual([
      'POST /v1/embeddings',
      expect.stringMatching(/^GET .v1.receipts.[0-9a-f]{32}$/),
    ]);
  });

  test('that cites newer evidence has it judged, once', async () => {
    const { session, sent } = await open();
    await service.vouching.attest(new Uint8Array(32).fill(1));
    await Promise.all([post(session), post(session), post(session)]);
    expect((await post(session)).headers.get('vouchsafe-verified')).toBe('?1');
    expect(sent.filter((line) => line.endsWith('/bundle'))).toHaveLength(1);
  });

  test('waits for the report that covers it where the policy wants that', async () => {
    const { session } = await open({ policy: COVERED, receipts: 'cited' });
    const verified = await session.verificationOf(await post(session));
    const passed = verified?.verdict.checks.filter(({ result }) => result === 'pass').map(({ id }) => id);
    expect(passed).toContain('log.covered');
    expect(verified?.bundle).toBeDefined();
  });

  test('is kept with what proves it', async () => {
    const store = new MemoryReceiptStore();
    const { session } = await open({ store, receipts: 'bundle' });
    await (await post(session, STREAM, '/completions')).text();
    const [id] = await store.ids();
    const record = (await store.get(id!))!;
    const chunks = ['{"choices":[{"text":"one"}]}', '{"choices":[{"text":" two"}]}', '[DONE]'].map(utf8);
    const { k, request, nonce, bundle } = record;
    const { verdict } = await appraiseBundle(
      bundle!,
      { nonce, opening: { k, request, chunks } },
      {
        policy: SIMULATED_POLICY,
        anchors: DEFAULT_ANCHORS,
        collateral: NO_COLLATERAL,
        crypto: nodeCrypto,
        now: Date.now(),
      },
    );
    expect(verdict.decision).toBe('accepted');
  });

  test('is not given where its receipt cannot be kept', async () => {
    const { session } = await open({ store: new MemoryReceiptStore({ maxBytes: 10 }) });
    expect(await codeOf(post(session))).toBe('STORE_FULL');
  });

  test.each<[string, ClientErrorCode, ReturnType<typeof service.box>]>([
    ['unsealed', 'BAD_ANSWER', { status: 200, headers: {}, body: utf8('{"data":[]}') }],
    [
      'a redirection',
      'UNREACHABLE',
      { status: 302, headers: { location: 'http://127.0.0.1:9' }, body: utf8('') },
    ],
  ])('%s is none', async (_name, code, forged) => {
    const { session } = await open();
    service.box = () => forged;
    expect(await codeOf(post(session))).toBe(code);
  });

  test('of an error outside the seal says that nobody vouches for it', async () => {
    const { session } = await open();
    service.box = () => ({ status: 503, headers: { 'x-box': '1' }, body: utf8('later\u001b[2J') });
    const response = await post(session);
    expect([response.status, response.headers.get('vouchsafe-verified')]).toEqual([503, '?0']);
    expect(response.headers.get('x-box')).toBeNull();
    expect(await response.text()).toContain('not vouched for');
  });
});

describe('a stream', () => {
  const EVENTS = 'data: {"choices":[{"text":"one"}]}\n\ndata: {"choices":[{"text":" two"}]}\n\n';

  test('comes as the service wrote it, without what is for the client', async () => {
    const { session } = await open();
    const response = await post(session, STREAM, '/completions');
    expect(response.headers.get('content-type')).toBe('text/event-stream');
    expect(await response.text()).toBe(`${EVENTS}data: [DONE]\n\n`);
    expect((await session.verificationOf(response))?.receipt?.claims.response.kind).toBe('stream');
  });

  test('whose receipt is that of another answer breaks before its end', async () => {
    const { session } = await open();
    const other = await session.send({ path: '/v1/completions', body: STREAM });
    const swapped = await service.vouching.receipt(other.receiptId!, undefined);
    service.box = (path, answer) => (path.startsWith('/v1/receipts') ? { ...answer, body: swapped } : answer);
    const response = await post(session, STREAM, '/completions');
    expect(await readUntilBroken(response)).toEqual([EVENTS, 'RECEIPT_REFUSED']);
    expect(await codeOf(session.verificationOf(response))).toBe('RECEIPT_REFUSED');
  });

  test('that is cut breaks before its end', async () => {
    const { session } = await open();
    service.box = (_path, answer) => ({ ...answer, body: answer.body.subarray(0, -3) });
    const response = await post(session, STREAM, '/completions');
    expect(await readUntilBroken(response)).toEqual([EVENTS, 'RESPONSE_REFUSED']);
  });

  test('that nobody reads on has no receipt', async () => {
    const { session } = await open();
    const response = await post(session, STREAM, '/completions');
    await response.body!.cancel();
    expect(await session.verificationOf(response)).toBeUndefined();
  });
});

describe('evidence is renewed', () => {
  test('by age, once for all who ask, and ahead of time while it is still used', async () => {
    let clock = Date.now();
    const verdicts: string[] = [];
    const onVerdict: ConnectOptions['onVerdict'] = ({ decision }) => verdicts.push(decision);
    const { session, sent } = await open({ now: () => clock, maxEvidenceAgeMs: HOUR / 2, onVerdict });
    clock += HOUR / 2;
    await Promise.all([post(session), post(session), post(session)]);
    const asked = () => sent.filter((line) => line.includes('/v1/attestation')).length;
    expect(asked()).toBe(1);
    clock += 0.45 * HOUR;
    expect((await post(session)).status).toBe(200);
    expect(asked()).toBe(2);
    // Nobody waits for the one ahead of time.
    await until(() => verdicts.length === 3);
    expect(verdicts).toEqual(['accepted', 'accepted', 'accepted']);
  });

  test('where the keys went on twice, and the request sealed anew; one that follows needs none', async () => {
    const rotating = await startTestService();
    try {
      const { session, sent } = await open({}, rotating);
      await rotating.vouching.rotateKeys();
      await rotating.vouching.rotateKeys();
      const responses = await Promise.all([post(session), post(session)]);
      expect(responses.map(({ status }) => status)).toEqual([200, 200]);
      expect(session.document.keyset.generation).toBe(2);
      expect(sent.filter((line) => line.includes('/v1/attestation'))).toHaveLength(1);
      // A receipt under the next keys shows the drift: the next request is sealed to them.
      await rotating.vouching.rotateKeys();
      await post(session);
      await post(session);
      expect(session.document.keyset.generation).toBe(3);
    } finally {
      await rotating.stop();
    }
  });

  test('and nothing sent again where the keys did not change: it may have been answered', async () => {
    const { session, sent } = await open();
    service.box = (path, answer) =>
      path.startsWith('/v1/embeddings') ? { status: 422, headers: {}, body: utf8('{}') } : answer;
    expect(await codeOf(post(session))).toBe('KEYSET_CHANGED');
    expect(sent).toEqual(['POST /v1/embeddings', 'GET /v1/attestation']);
  });

  test('a renewal that is refused ends the session: nothing more is sent', async () => {
    let clock = Date.now();
    const { session, sent } = await open({ now: () => clock, maxEvidenceAgeMs: HOUR / 2 });
    const recorded = await attestation(service, new Uint8Array(32).fill(5));
    service.box = (path, answer) => (path.startsWith('/v1/attestation') ? recorded : answer);
    clock += HOUR / 2;
    expect(await codeOf(post(session))).toBe('EVIDENCE_REFUSED');
    service.box = HONEST;
    expect(await codeOf(post(session))).toBe('EVIDENCE_REFUSED');
    expect(await codeOf(session.send({ path: '/v1/embeddings', body: BODY }))).toBe('EVIDENCE_REFUSED');
    expect(await codeOf(session.fetch('/v1/models'))).toBe('EVIDENCE_REFUSED');
    expect(sent).toEqual(['GET /v1/attestation']);
  });

  test('a renewal that did not come through is tried again, and nothing sent before', async () => {
    let clock = Date.now();
    const { session, sent } = await open({ now: () => clock, maxEvidenceAgeMs: HOUR / 2 });
    service.box = () => ({ status: 503, headers: {}, body: utf8('later') });
    clock += HOUR / 2;
    expect(await codeOf(post(session))).toBe('REQUEST_REJECTED');
    service.box = HONEST;
    expect((await post(session)).status).toBe(200);
    expect(sent.slice(0, 3)).toEqual(['GET /v1/attestation', 'GET /v1/attestation', 'POST /v1/embeddings']);
  });
});
