import { describe, expect, test } from '@jest/globals';
import {
  ENCAPSULATED_KEY_HEADER,
  openAll,
  RESPONSE_NONCE_HEADER,
  SEALED_CONTENT_TYPE,
  sealRequest,
  type SealedBody,
} from '../../../attestation/channel/hpke.ts';
import {
  encodeSealedRequest,
  parseSealedHead,
  type SealedHead,
  type SealedRequest,
} from '../../../attestation/channel/sealed.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { checkRequest, checkResponse } from '../../../attestation/receipt/opening.ts';
import { ReplayGuard } from '../../../src/http/replayGuard.ts';
import { issuedClaims, startTestService, type TestService } from '../../support/service.ts';
import { framed } from '../../support/tensors.ts';

const NONCE = new Uint8Array(32).fill(3);

function requestOf(path: string, body: object, changes: Partial<SealedRequest> = {}): SealedRequest {
  return {
    nonce: NONCE,
    method: 'POST',
    path,
    contentType: 'application/json',
    body: Buffer.from(JSON.stringify(body)),
    ...changes,
  };
}

const EMBED = requestOf('/v1/embeddings', { model: 'fake', input: 'hello' });

function seal(service: TestService, request: SealedRequest): Promise<SealedBody> {
  return sealRequest(service.world.keyring.keyset.hpke[0]!, encodeSealedRequest(request));
}

function send(service: TestService, path: string, sealed: SealedBody, headers = {}): Promise<Response> {
  return fetch(service.url + path, {
    method: 'POST',
    headers: {
      'content-type': SEALED_CONTENT_TYPE,
      [ENCAPSULATED_KEY_HEADER]: Buffer.from(sealed.enc).toString('hex'),
      ...headers,
    },
    body: sealed.body as Uint8Array<ArrayBuffer>,
  });
}

async function open(
  sealed: SealedBody,
  answer: Response,
): Promise<{ readonly head: SealedHead; readonly body: Buffer; readonly frames: number }> {
  const opener = await sealed.opener(Buffer.from(answer.headers.get(RESPONSE_NONCE_HEADER)!, 'hex'));
  const [first, ...rest] = await openAll(opener, new Uint8Array(await answer.arrayBuffer()));
  return { head: parseSealedHead(first!), body: Buffer.concat(rest), frames: rest.length };
}

describe('a sealed request', () => {
  test('is answered under the seal, and the key travels nowhere else', async () => {
    const service = await startTestService();
    const sealed = await seal(service, EMBED);
    const answer = await send(service, '/v1/embeddings', sealed);
    expect([answer.status, answer.headers.get('content-type')]).toEqual([200, SEALED_CONTENT_TYPE]);
    expect(answer.headers.get('vouchsafe-commitment-key')).toBeNull();
    const { head, body } = await open(sealed, answer);
    expect(head).toMatchObject({ status: 200, contentType: 'application/json' });
    const [claims] = issuedClaims(service);
    expect(claims).toMatchObject({ channel: 'hpke', method: 'POST', path: '/v1/embeddings' });
    expect(claims!.nonce).toEqual(NONCE);
    const opening = { k: head.receipt!.k, request: EMBED.body, response: body };
    checkRequest(claims!, opening, nodeCrypto);
    checkResponse(claims!, opening, nodeCrypto);
  });

  test('may be streamed, event by event', async () => {
    const service = await startTestService();
    const request = requestOf('/v1/completions', { model: 'fake', prompt: 'a b', stream: true });
    const sealed = await seal(service, request);
    const { head, body, frames } = await open(sealed, await send(service, '/v1/completions', sealed));
    expect(head.contentType).toBe('text/event-stream');
    // Comment, two words, end, [DONE], receipt and the final frame.
    expect(frames).toBe(7);
    const chunks = [...body.toString().matchAll(/^data: (.*)$/gm)].map(([, data]) => Buffer.from(data!));
    const [claims] = issuedClaims(service);
    checkResponse(claims!, { k: head.receipt!.k, chunks: chunks.slice(0, -1) }, nodeCrypto);
  });

  test('may hold raw tensors: the length of the JSON travels inside, both ways', async () => {
    const service = await startTestService();
    const bytes = new Uint8Array(Float32Array.of(1, 2).buffer);
    const input = { name: 'x', datatype: 'FP32', shape: [2], bytes };
    const { body: content, jsonLength } = framed([input], { parameters: { binary_data_output: true } });
    const path = '/v2/models/fake/infer';
    const request: SealedRequest = {
      ...requestOf(path, {}),
      contentType: `application/octet-stream; inference-header-content-length=${jsonLength}`,
      body: content,
    };
    const sealed = await seal(service, request);
    // What the carrier says outside is not heard.
    const answer = await send(service, path, sealed, { 'inference-header-content-length': '0' });
    expect(answer.headers.get('inference-header-content-length')).toBeNull();
    const { head, body } = await open(sealed, answer);
    expect(head.status).toBe(200);
    const length = /^application\/octet-stream; inference-header-content-length=(\d+)$/.exec(
      head.contentType,
    );
    expect(body.subarray(Number(length?.[1]))).toEqual(Buffer.from(bytes));
    const [claims] = issuedClaims(service);
    const opening = { k: head.receipt!.k, request: content, response: body };
    checkRequest(claims!, opening, nodeCrypto);
    checkResponse(claims!, opening, nodeCrypto);
    expect(claims!.parameters.get('inference-header-content-length')).toBe(String(jsonLength));
  });

  test('that is refused is refused under the seal, with a receipt after admission', async () => {
    const service = await startTestService();
    const invalid = requestOf('/v1/embeddings', { model: 'fake', input: [] });
    const unknown = requestOf('/v1/embeddings', { model: 'none', input: 'x' });
    for (const [request, status, receipt] of [
      [invalid, 400, true],
      [unknown, 404, false],
      [{ ...EMBED, contentType: 'text/plain' }, 415, false],
      [{ ...EMBED, nonce: new Uint8Array(32) }, 400, false],
    ] as const) {
      const sealed = await seal(service, request);
      const answer = await send(service, '/v1/embeddings', sealed);
      expect(answer.status).toBe(200);
      const { head } = await open(sealed, answer);
      expect([head.status, head.receipt !== undefined]).toEqual([status, receipt]);
    }
    expect(issuedClaims(service)).toMatchObject([{ outcome: 'refused' }]);
  });

  test('may be sealed to the hybrid key, whose generation has its overlap, too', async () => {
    const service = await startTestService();
    const [, key] = service.world.keyring.keyset.hpke;
    const [first, second] = [
      await sealRequest(key!, encodeSealedRequest(EMBED)),
      await sealRequest(key!, encodeSealedRequest(EMBED)),
    ];
    const { head } = await open(first, await send(service, '/v1/embeddings', first));
    expect(head.status).toBe(200);
    expect((await send(service, '/v1/embeddings', first)).status).toBe(409);
    await service.world.vouching.rotateKeys();
    expect((await send(service, '/v1/embeddings', second)).status).toBe(200);
    await service.world.vouching.rotateKeys();
    expect(
      (await send(service, '/v1/embeddings', await sealRequest(key!, encodeSealedRequest(EMBED)))).status,
    ).toBe(422);
  });

  test('path-move: the carrier cannot take it to another route', async () => {
    const service = await startTestService();
    for (const request of [
      { ...EMBED, path: '/v1/completions' },
      { ...EMBED, path: '/v1/embeddings?x=1' },
      { ...EMBED, method: 'GET' },
    ]) {
      const answer = await send(service, '/v1/embeddings', await seal(service, request));
      expect([answer.status, await answer.text()]).toEqual([
        400,
        expect.stringContaining('SEALED_PATH_MISMATCH'),
      ]);
    }
    expect(issuedClaims(service)).toEqual([]);
  });

  test('enc-replay: it is taken once, also at the same time', async () => {
    const service = await startTestService();
    const sealed = await seal(service, EMBED);
    const answers = await Promise.all([1, 2, 3].map(() => send(service, '/v1/embeddings', sealed)));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 409, 409]);
    const late = await send(service, '/v1/embeddings', sealed);
    expect([late.status, await late.text()]).toEqual([409, expect.stringContaining('SEALED_REPLAY')]);
    expect(service.engine.calls).toBe(1);
  });

  test('to another keyset, altered or cut asks for new keys', async () => {
    const service = await startTestService();
    const other = await startTestService();
    const foreign = await seal(other, EMBED);
    const mine = await seal(service, EMBED);
    const altered = mine.body.slice();
    altered[20]! ^= 1;
    const bodies = [altered, mine.body.subarray(0, 40), mine.body.subarray(0, 3), new Uint8Array(0)];
    for (const sealed of [foreign, ...bodies.map((body) => ({ ...mine, body }))]) {
      const answer = await send(service, '/v1/embeddings', sealed);
      expect([answer.status, answer.headers.get('content-type')]).toEqual([422, 'application/problem+json']);
      expect(await answer.json()).toMatchObject({ type: 'urn:ietf:params:ehbp:error:key-config' });
    }
    expect(issuedClaims(service)).toEqual([]);
    // What did not open is not remembered.
    expect((await send(service, '/v1/embeddings', mine)).status).toBe(200);
  });

  test('with a key that is no key, or content that is no request, is refused', async () => {
    const service = await startTestService();
    const sealed = await seal(service, EMBED);
    const noKey = await send(service, '/v1/embeddings', sealed, { [ENCAPSULATED_KEY_HEADER]: 'abc' });
    expect([noKey.status, await noKey.text()]).toEqual([400, expect.stringContaining('SEALED_MALFORMED')]);
    const key = service.world.keyring.keyset.hpke[0]!;
    const junk = await send(service, '/v1/embeddings', await sealRequest(key, Buffer.from('junk')));
    expect([junk.status, await junk.text()]).toEqual([400, expect.stringContaining('SEALED_MALFORMED')]);
  });
});

describe('the memory of sealed requests', () => {
  test('refuses rather than forgets', () => {
    const guard = new ReplayGuard(2);
    const keys = [1, 2, 3].map((byte) => new Uint8Array(byte === 2 ? 1120 : 32).fill(byte));
    guard.take(keys[0]!);
    guard.take(keys[1]!);
    expect(() => guard.take(keys[0]!)).toThrow(expect.objectContaining({ code: 'SEALED_REPLAY' }));
    expect(() => guard.take(keys[2]!)).toThrow(expect.objectContaining({ code: 'SEALED_FULL' }));
  });
});
