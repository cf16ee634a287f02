import { describe, expect, test } from '@jest/globals';
import { Identity, KeyConfigMismatchError, PROTOCOL, Transport } from 'ehbp';
import {
  ENCAPSULATED_KEY_HEADER,
  RESPONSE_NONCE_HEADER,
  sealRequest,
} from '../../../attestation/channel/hpke.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { checkRequest, checkResponse } from '../../../attestation/receipt/opening.ts';
import { issuedClaims, startTestService, type TestService } from '../../support/service.ts';
import { framed } from '../../support/tensors.ts';

// The npm package `ehbp` as it is published, against the server.

const NONCE = 'ab'.repeat(32);
const JSON_TYPE = { 'content-type': 'application/json' };
const EMBED = JSON.stringify({ model: 'fake', input: 'hello' });

function connect(service: TestService): Promise<Transport> {
  return Transport.create(service.url);
}

/** Sends what the client made, as it was made or altered. */
interface Sent {
  readonly headers: Headers;
  readonly body: Uint8Array<ArrayBuffer>;
}

async function encrypt(service: TestService, text = EMBED, path = '/v1/embeddings'): Promise<Sent> {
  const identity = (await connect(service)).getServerIdentity();
  const plain = new Request(service.url + path, { method: 'POST', headers: JSON_TYPE, body: text });
  const { request } = await identity.encryptRequestWithContext(plain);
  return { headers: request.headers, body: new Uint8Array(await request.arrayBuffer()) };
}

function post(service: TestService, { headers, body }: Sent, path = '/v1/embeddings'): Promise<Response> {
  return fetch(service.url + path, { method: 'POST', headers, body });
}

describe('the npm client of EHBP', () => {
  test('reads the key of the keyset in use', async () => {
    const service = await startTestService();
    const client = await connect(service);
    const [key] = service.world.vouching.keyset.hpke;
    expect(await client.getServerPublicKeyHex()).toBe(Buffer.from(key!.publicKey).toString('hex'));
  });

  test('embeds: the receipt says hpke, the nonce and what was decrypted; the commitment key is in no header', async () => {
    const service = await startTestService();
    const client = await connect(service);
    const headers = { ...JSON_TYPE, 'vouchsafe-nonce': NONCE };
    const answer = await client.post(`${service.url}/v1/embeddings`, EMBED, { headers });
    expect(answer.status).toBe(200);
    expect(await answer.json()).toMatchObject({ object: 'list' });
    expect(answer.headers.get('vouchsafe-commitment-key')).toBeNull();
    const [claims] = issuedClaims(service);
    expect(claims).toMatchObject({ channel: 'hpke', method: 'POST', path: '/v1/embeddings' });
    expect(Buffer.from(claims!.nonce!).toString('hex')).toBe(NONCE);
    const id = answer.headers.get('vouchsafe-receipt-id')!;
    expect(Buffer.from(claims!.id).toString('hex')).toBe(id);
    expect((await fetch(`${service.url}/v1/receipts/${id}`)).status).toBe(200);
  });

  test('chats, whole and streamed, event by event; the key of a stream is in its first line', async () => {
    const service = await startTestService();
    const client = await connect(service);
    const chatTemplate = { template: '{{ messages[0].content }}', bosToken: undefined, eosToken: undefined };
    const { models } = service.engine;
    models.set('chat', { ...models.get('fake')!, id: 'chat', chatTemplate });
    const chat = { model: 'chat', messages: [{ role: 'user', content: 'hi there' }] };
    const ask = (body: object) =>
      client.post(`${service.url}/v1/chat/completions`, JSON.stringify(body), { headers: JSON_TYPE });
    const whole = (await (await ask(chat)).json()) as { choices: unknown[] };
    expect(whole.choices).toHaveLength(1);

    const request = { ...chat, stream: true };
    const answer = await ask(request);
    expect(answer.headers.get('content-type')).toBe('text/event-stream');
    expect(answer.headers.get('vouchsafe-commitment-key')).toBeNull();
    const parts: string[] = [];
    for await (const part of answer.body as unknown as AsyncIterable<Uint8Array>) {
      parts.push(Buffer.from(part).toString());
    }
    expect(parts.length).toBeGreaterThan(4);
    const text = parts.join('');
    const [, key] = /^: vouchsafe-commitment-key ([\w-]{43})\n/.exec(text)!;
    const opening = { k: Buffer.from(key!, 'base64url'), request: Buffer.from(JSON.stringify(request)) };
    const chunks = [...text.matchAll(/^data: (.*)$/gm)].map(([, data]) => Buffer.from(data!)).slice(0, -1);
    const claims = issuedClaims(service).at(-1)!;
    checkRequest(claims, opening, nodeCrypto);
    checkResponse(claims, { ...opening, chunks }, nodeCrypto);
  });

  test('may frame raw tensors: the length of the JSON is in a header, both ways', async () => {
    const service = await startTestService();
    const bytes = new Uint8Array(Float32Array.of(1, 2).buffer);
    const input = { name: 'x', datatype: 'FP32', shape: [2], bytes };
    const { body, jsonLength } = framed([input], { parameters: { binary_data_output: true } });
    const headers = { 'inference-header-content-length': String(jsonLength) };
    const answer = await (
      await connect(service)
    ).post(`${service.url}/v2/models/fake/infer`, body as Uint8Array<ArrayBuffer>, { headers });
    const length = Number(answer.headers.get('inference-header-content-length'));
    expect(Buffer.from(await answer.arrayBuffer()).subarray(length)).toEqual(Buffer.from(bytes));
  });

  test('reads what is refused after the opening, with its status', async () => {
    const service = await startTestService();
    const client = await connect(service);
    const answer = await client.post(
      `${service.url}/v1/embeddings`,
      JSON.stringify({ model: 'none', input: 'x' }),
      { headers: JSON_TYPE },
    );
    expect(answer.status).toBe(404);
    expect(await answer.json()).toMatchObject({ error: { code: 'MODEL_NOT_FOUND' } });
  });

  test('sends what has no body in the clear', async () => {
    const service = await startTestService();
    const answer = await (await connect(service)).get(`${service.url}/v1/models`);
    expect(answer.headers.get(RESPONSE_NONCE_HEADER)).toBeNull();
    expect(await answer.json()).toMatchObject({ object: 'list' });
  });

  test('is answered during the overlap of a rotation, and told to fetch the keys after it', async () => {
    const service = await startTestService();
    const client = await connect(service);
    const ask = (of = client) => of.post(`${service.url}/v1/embeddings`, EMBED, { headers: JSON_TYPE });
    await service.world.vouching.rotateKeys();
    expect((await ask()).status).toBe(200);
    await service.world.vouching.rotateKeys();
    await expect(ask()).rejects.toBeInstanceOf(KeyConfigMismatchError);
    expect((await ask(await connect(service))).status).toBe(200);
  });

  test('with a key of another instance is told so, and nothing is answered', async () => {
    const service = await startTestService();
    const foreign = new Transport(await Identity.generate(), new URL(service.url).host);
    const asking = foreign.post(`${service.url}/v1/embeddings`, EMBED, { headers: JSON_TYPE });
    await expect(asking).rejects.toBeInstanceOf(KeyConfigMismatchError);
    expect(issuedClaims(service)).toEqual([]);
  });
});

describe('an encrypted body', () => {
  test('is taken once: the carrier cannot ask again, here or elsewhere', async () => {
    const service = await startTestService();
    const sent = await encrypt(service);
    expect((await post(service, sent)).status).toBe(200);
    for (const path of ['/v1/embeddings', '/v1/completions']) {
      const again = await post(service, sent, path);
      expect([again.status, await again.text()]).toEqual([409, expect.stringContaining('SEALED_REPLAY')]);
    }
  });

  test('may come in several frames, with empty ones between', async () => {
    const service = await startTestService();
    const { headers, body } = await encrypt(service);
    const empty = new Uint8Array(4);
    const padded = Buffer.concat([empty, body, empty, empty]);
    expect((await post(service, { headers, body: new Uint8Array(padded) })).status).toBe(200);
  });

  test('that is cut, continued, altered, doubled, moved or empty does not open, and is not remembered', async () => {
    const service = await startTestService();
    const { headers, body } = await encrypt(service);
    const bodies = [
      body.subarray(0, -1),
      Buffer.concat([body, Buffer.of(1)]),
      body.map((byte, i) => (i === 9 ? byte ^ 1 : byte)),
      Buffer.concat([body, body]),
      Buffer.from('ffffffff00', 'hex'),
      new Uint8Array(4),
      new Uint8Array(0),
    ];
    for (const bad of bodies) {
      const answer = await post(service, { headers, body: new Uint8Array(bad) });
      expect([answer.status, answer.headers.get('content-type')]).toEqual([422, 'application/problem+json']);
      expect(await answer.json()).toMatchObject({ type: PROTOCOL.KEY_CONFIG_PROBLEM_TYPE });
    }
    expect(issuedClaims(service)).toEqual([]);
    expect((await post(service, { headers, body })).status).toBe(200);
  });

  test('with a key that is none, or of another suite, is malformed', async () => {
    const service = await startTestService();
    const { headers, body } = await encrypt(service);
    for (const key of ['', 'abc', 'AB'.repeat(32), '00'.repeat(1120)]) {
      headers.set(ENCAPSULATED_KEY_HEADER, key);
      const answer = await post(service, { headers, body });
      expect([answer.status, await answer.text()]).toEqual([
        400,
        expect.stringContaining('SEALED_MALFORMED'),
      ]);
    }
  });

  test('of our profile is none of EHBP: a carrier that relabels one has one that does not open', async () => {
    const service = await startTestService();
    const { enc, body } = await sealRequest(service.world.keyring.keyset.hpke[0]!, Buffer.from(EMBED));
    const headers = new Headers({
      ...JSON_TYPE,
      [ENCAPSULATED_KEY_HEADER]: Buffer.from(enc).toString('hex'),
    });
    expect((await post(service, { headers, body: new Uint8Array(body) })).status).toBe(422);
  });
});
