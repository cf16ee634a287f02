import { describe, expect, test } from '@jest/globals';
import { toHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import { GATEWAY_PATH, keyConfigOf, parseKeyConfigs } from '../../../attestation/channel/ohttp/keyConfig.ts';
import { SYMMETRIC } from '../../../attestation/channel/ohttp/suite.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { checkRequest, checkResponse } from '../../../attestation/receipt/opening.ts';
import { matchPath } from '../../../src/http/pathTemplate.ts';
import {
  askSealed,
  gatewayKey,
  innerGet,
  innerPost,
  openAnswer,
  postSealed,
  sealInner,
} from '../../support/oblivious.ts';
import { apiKey, issuedClaims, startTestService, until } from '../../support/service.ts';
import { NOW } from '../../support/world.ts';

const NONCE = 'cd'.repeat(32);
const EMBED = innerPost('/v1/embeddings', { model: 'fake', input: 'hello' }, { 'vouchsafe-nonce': NONCE });
const STREAM = innerPost('/v1/completions', { model: 'fake', prompt: 'a b', stream: true });
const KEY_PROBLEM = { type: 'https://iana.org/assignments/http-problem-types#ohttp-key' };

const FORMS = ['whole', 'chunked'] as const;

describe.each(FORMS)('a %s oblivious request', (form) => {
  test('is answered under the seal as any other, and its receipt says hpke', async () => {
    const service = await startTestService();
    const sealed = await sealInner(form, gatewayKey(service), EMBED);
    const response = await postSealed(service.url, form, sealed.body);
    const shown = [...response.headers.keys()].filter((name) => !/^(date|connection|keep-alive)$/.test(name));
    expect(shown.sort()).toEqual([
      'cache-control',
      'content-length',
      'content-type',
      'x-content-type-options',
    ]);
    const answer = await openAnswer(form, sealed, response);
    expect([answer.status, answer.header('content-type')]).toEqual([200, 'application/json']);
    const [claims] = issuedClaims(service);
    expect(claims).toMatchObject({ channel: 'hpke', method: 'POST', path: '/v1/embeddings' });
    expect(toHex(claims!.nonce!)).toBe(NONCE);
    const k = Buffer.from(answer.header('vouchsafe-commitment-key')!, 'base64url');
    const opening = { k, request: EMBED.content, response: answer.content };
    checkRequest(claims!, opening, nodeCrypto);
    checkResponse(claims!, opening, nodeCrypto);
    expect(answer.header('vouchsafe-receipt-id')).toBe(toHex(claims!.id));
  });

  test('may be streamed, and the receipt is of the stream', async () => {
    const service = await startTestService();
    const answer = await askSealed(service, form, STREAM);
    expect([answer.status, answer.header('content-type')]).toEqual([200, 'text/event-stream']);
    const data = [...answer.text.matchAll(/^data: (.*)$/gm)].map(([, value]) => utf8(value!));
    const k = Buffer.from(/^: vouchsafe-commitment-key (.*)$/m.exec(answer.text)![1]!, 'base64url');
    const [claims] = issuedClaims(service);
    checkResponse(claims!, { k, chunks: data.slice(0, -1) }, nodeCrypto);
  });

  test('reaches models, evidence and the own receipts, and nothing that is not for callers', async () => {
    const service = await startTestService();
    const id = (await askSealed(service, form, EMBED)).header('vouchsafe-receipt-id')!;
    const receipt = await askSealed(service, form, innerGet(`/v1/receipts/${id}`));
    expect([receipt.status, receipt.header('content-type')]).toEqual([200, expect.stringContaining('cose')]);
    const models = await askSealed(service, form, innerGet('/v1/models'));
    expect(JSON.parse(models.text)).toMatchObject({ data: [{ id: 'fake' }] });
    const evidence = await askSealed(service, form, innerGet(`/v1/attestation?nonce=${NONCE}`));
    expect(JSON.parse(evidence.text)).toMatchObject({ nonce: { value: NONCE } });
    for (const path of ['/metrics', '/v1/keys/rotate', GATEWAY_PATH, '/log/checkpoint', '/v1/models/']) {
      expect((await askSealed(service, form, innerGet(path))).status).toBe(404);
    }
    expect((await askSealed(service, form, innerGet('/v1/embeddings'))).status).toBe(404);
    expect((await askSealed(service, form, innerGet('/v1/models/none'))).status).toBe(404);
  });

  test('is refused under the seal', async () => {
    const service = await startTestService();
    const refusals = [
      [{ ...EMBED, path: '/nowhere' }, 404, 'NOT_FOUND'],
      [innerPost('/v1/embeddings', { model: 'fake', input: [] }), 400, 'INVALID_INPUT'],
      [innerPost('/v1/embeddings', {}, { 'content-type': 'text/plain' }), 415, 'CONTENT_TYPE_UNSUPPORTED'],
      [innerPost('/v1/embeddings', {}, { 'vouchsafe-nonce': '00'.repeat(32) }), 400, 'NONCE_INVALID'],
      [innerPost('/v1/embeddings', {}, { 'content-length': '1' }), 400, 'SEALED_MALFORMED'],
      [innerPost('/v1/embeddings', {}, { expect: '100-continue' }), 400, 'SEALED_MALFORMED'],
      [innerPost('/v1/embeddings', {}, { 'content-encoding': 'gzip' }), 415, 'CONTENT_ENCODING_UNSUPPORTED'],
      [innerGet('/v1/models/%zz'), 400, 'PATH_INVALID'],
      [utf8('no binary HTTP'), 400, 'SEALED_MALFORMED'],
    ] as const;
    for (const [inner, status, code] of refusals) {
      const answer = await askSealed(service, form, inner);
      expect([answer.status, answer.text]).toEqual([status, expect.stringContaining(code)]);
    }
  });

  test('with a date that is far off is refused, and told ours', async () => {
    const service = await startTestService();
    for (const date of [new Date(NOW - 7_200_000).toUTCString(), 'yesterday']) {
      const late = await askSealed(service, form, { ...EMBED, headers: [...EMBED.headers, ['date', date]] });
      expect([late.status, late.header('date')]).toEqual([400, new Date(NOW).toUTCString()]);
      const type = 'https://iana.org/assignments/http-problem-types#date';
      expect(JSON.parse(late.text)).toMatchObject({ type });
    }
    const date = new Date(NOW - 1_200_000).toUTCString();
    const near = await askSealed(service, form, { ...EMBED, headers: [...EMBED.headers, ['date', date]] });
    expect(near.status).toBe(200);
  });

  test('replay: it is taken once, also at the same time', async () => {
    const service = await startTestService();
    const { body } = await sealInner(form, gatewayKey(service), EMBED);
    const answers = await Promise.all([1, 2, 3].map(() => postSealed(service.url, form, body)));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 409, 409]);
    const late = await postSealed(service.url, form, body);
    expect([late.status, await late.text()]).toEqual([409, expect.stringContaining('SEALED_REPLAY')]);
    expect(service.engine.calls).toBe(1);
  });

  test('truncation, alteration, other keys: it reaches no route, and can still be asked', async () => {
    const service = await startTestService();
    const mine = await sealInner(form, gatewayKey(service), EMBED);
    const other = { ...gatewayKey(service), id: 9 };
    const foreign = { ...gatewayKey(service), publicKey: new Uint8Array(32).fill(9) };
    const bodies = [
      mine.body.subarray(0, -1),
      mine.body.subarray(0, 60),
      mine.body.subarray(0, 10),
      new Uint8Array(0),
      mine.body.map((byte, i) => (i === 70 ? byte ^ 1 : byte)),
      (await sealInner(form, other, EMBED)).body,
      (await sealInner(form, foreign, EMBED)).body,
      (await sealInner(form === 'whole' ? 'chunked' : 'whole', gatewayKey(service), EMBED)).body,
    ];
    for (const body of bodies) {
      const answer = await postSealed(service.url, form, body);
      expect([answer.status, answer.headers.get('content-type')]).toEqual([400, 'application/problem+json']);
      expect(await answer.json()).toMatchObject(KEY_PROBLEM);
    }
    expect([service.engine.calls, issuedClaims(service).length]).toEqual([0, 0]);
    expect((await postSealed(service.url, form, mine.body)).status).toBe(200);
  });

  test('may be sealed with each suite that is told', async () => {
    const service = await startTestService();
    const told = parseKeyConfigs(
      new Uint8Array(await (await fetch(service.url + GATEWAY_PATH)).arrayBuffer()),
    );
    expect(told).toEqual([keyConfigOf(service.world.keyring.keyset)]);
    for (const symmetric of SYMMETRIC) {
      const sealed = await sealInner(form, { ...gatewayKey(service), symmetric }, EMBED);
      const answer = await openAnswer(form, sealed, await postSealed(service.url, form, sealed.body));
      expect(answer.status).toBe(200);
    }
  });
});

describe('the gateway', () => {
  test('hears the headers inside and none of those outside', async () => {
    const { key, entry } = apiKey('tenant');
    const service = await startTestService({ keys: { apiKeys: [entry] } });
    const outside = { authorization: `Bearer ${key}`, 'vouchsafe-nonce': 'ab'.repeat(32) };
    const without = await askSealed(service, 'chunked', EMBED, outside);
    expect([without.status, without.text]).toEqual([401, expect.stringContaining('API_KEY_MISSING')]);
    const inside = { ...EMBED, headers: [...EMBED.headers, ['authorization', `Bearer ${key}`] as const] };
    expect((await askSealed(service, 'chunked', inside, outside)).status).toBe(200);
    expect(toHex(issuedClaims(service)[0]!.nonce!)).toBe(NONCE);
    const twice = { ...inside, headers: [...inside.headers, ['authorization', 'Bearer other'] as const] };
    expect((await askSealed(service, 'chunked', twice)).status).toBe(401);
  });

  test('sends events as they come, each of a length that says little', async () => {
    const service = await startTestService();
    const answer = await askSealed(service, 'chunked', STREAM);
    const [head, ...rest] = answer.chunks;
    // Comment with the key, two words, end, [DONE], receipt, and the end of the message.
    expect([head!.length > 0, rest.length]).toEqual([true, 7]);
    const lengths = rest.slice(0, -1).map(({ length }) => length);
    // Two bytes say how long the content is, four from 16 KiB on.
    expect(lengths.map((length) => (length - 2) % 256)).toEqual(lengths.map(() => 0));
  });

  test('opens what was sealed to the generation before, and knows its number', async () => {
    const service = await startTestService();
    const former = await sealInner('chunked', gatewayKey(service), EMBED);
    await service.world.vouching.rotateKeys();
    const answer = await openAnswer('chunked', former, await postSealed(service.url, 'chunked', former.body));
    expect(answer.status).toBe(200);
    expect(gatewayKey(service).id).toBe(1);
    expect((await askSealed(service, 'chunked', EMBED)).status).toBe(200);
    expect((await postSealed(service.url, 'chunked', former.body)).status).toBe(409);
  });

  test('takes its own media types alone, within the bounds', async () => {
    const service = await startTestService({ limits: { bodyBytes: 1024, concurrency: 1, queue: 0 } });
    const wrong = await fetch(service.url + GATEWAY_PATH, { method: 'POST', body: 'x' });
    expect(wrong.status).toBe(415);
    expect((await postSealed(service.url, 'whole', new Uint8Array(200_000))).status).toBe(413);
    // One body is being read: the share of all places is one.
    const { body } = await sealInner('chunked', gatewayKey(service), EMBED);
    let finish: () => void = () => undefined;
    const slow = fetch(service.url + GATEWAY_PATH, {
      method: 'POST',
      headers: { 'content-type': 'message/ohttp-chunked-req' },
      body: new ReadableStream({
        start(controller) {
          controller.enqueue(body.subarray(0, 50));
          finish = () => {
            controller.enqueue(body.subarray(50));
            controller.close();
          };
        },
      }),
      duplex: 'half',
    } as RequestInit);
    await until(() => service.service.lifetimes.size === 1);
    const more = await postSealed(service.url, 'chunked', body);
    expect([more.status, await more.text()]).toEqual([429, expect.stringContaining('OVERLOADED')]);
    finish();
    expect((await slow).status).toBe(200);
  });

  test('logs neither who carried a request nor what was inside', async () => {
    const service = await startTestService();
    await askSealed(service, 'chunked', EMBED, { 'x-forwarded-for': '203.0.113.9', 'user-agent': 'curious' });
    await until(() => service.lines.some((line) => line.includes('"route":"ohttp"')));
    const log = service.lines.join('');
    for (const text of ['203.0.113.9', '127.0.0.1', 'curious', 'hello', NONCE])
      expect(log).not.toContain(text);
  });
});

test('paths are matched by segment', () => {
  expect(matchPath('/v1/models/:model', '/v1/models/a%2Fb')).toEqual({ model: 'a/b' });
  expect(matchPath('/v1/models/:model', '/v1/models/')).toBeUndefined();
  expect(matchPath('/v1/models', '/v1/models')).toEqual({});
  expect(matchPath('/v1/models', '/v1/models/a')).toBeUndefined();
});
