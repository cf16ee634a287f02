import { randomBytes } from 'node:crypto';
import { afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import OpenAI from 'openai';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { SIMULATED_POLICY } from '../../attestation/policy/defaults.ts';
import { connect, type ConnectOptions } from '../../src/client/connect.ts';
import { ClientError } from '../../src/client/errors.ts';
import type { VerifiedAnswer } from '../../src/client/receiptChecks.ts';
import type { Session } from '../../src/client/session.ts';
import { type Attack, framesOf, HONEST, type MiddleBox, placeMiddleBox } from '../support/middleBox.ts';
import { apiKey, startTestService, type TestService } from '../support/service.ts';
import { NOW } from '../support/world.ts';

// Somebody carries every byte between a client and a service, over real sockets, and changes what they like.

const SECRET = 'a question for the service alone';
const BODY = JSON.stringify({ model: 'fake', input: SECRET });
const STREAM = JSON.stringify({ model: 'fake', prompt: SECRET, stream: true });

let service: TestService;
let box: MiddleBox;
beforeAll(async () => {
  service = await startTestService({}, { keep: true });
  box = await placeMiddleBox(service.url);
});
afterEach(() => {
  box.attack = HONEST;
  box.forget();
});

function open({ url }: Pick<MiddleBox, 'url'>, options: Partial<ConnectOptions> = {}): Promise<Session> {
  return connect(url, { policy: SIMULATED_POLICY, crypto: nodeCrypto, now: () => NOW, ...options });
}

/** What an attacked exchange gave its caller, and the code by which it was refused. */
interface Outcome {
  readonly text: string;
  readonly code: string | undefined;
}

async function refusalOf(step: Promise<unknown>): Promise<string | undefined> {
  return step.then(
    () => undefined,
    (error: unknown) => {
      if (error instanceof ClientError) return error.code;
      throw error;
    },
  );
}

async function embed(session: Session): Promise<Outcome> {
  let text = '';
  const asking = async () => {
    const response = await session.fetch('/v1/embeddings', { method: 'POST', body: BODY });
    const said = await response.text();
    // An error that stands outside the seal is marked as nobody's word.
    if (response.status === 200) text = said;
    else throw new ClientError(codeIn(said), said);
  };
  const code = await refusalOf(asking());
  return { text, code };
}

function codeIn(said: string): 'REQUEST_REJECTED' {
  expect(JSON.parse(said)).toMatchObject({ error: { type: 'unsealed', code: 'REQUEST_REJECTED' } });
  return 'REQUEST_REJECTED';
}

async function stream(session: Session): Promise<Outcome> {
  let text = '';
  const reading = async () => {
    const { body } = await session.fetch('/v1/completions', { method: 'POST', body: STREAM });
    for await (const part of body!) text += Buffer.from(part).toString();
  };
  const code = await refusalOf(reading());
  return { text, code };
}

const isPost: (request: { method: string }) => boolean = ({ method }) => method === 'POST';

/** Changes answers to what the client asks for; everything else is carried as it is. */
function onAnswers(change: (frames: readonly Buffer[]) => readonly Buffer[]): Attack {
  return async (request, carry) => {
    const answer = await carry(request);
    return isPost(request) ? { ...answer, body: Buffer.concat(change(framesOf(answer.body))) } : answer;
  };
}

describe('evidence that a box hands on', () => {
  /** Answers one client's question for evidence with what another asked for. */
  const otherNonce: Attack = (request, carry) =>
    carry({ ...request, path: request.path.replace(/nonce=.*/, `nonce=${randomBytes(32).toString('hex')}`) });

  test('for another nonce is refused, and nothing follows', async () => {
    box.attack = otherNonce;
    expect(await refusalOf(open(box))).toBe('EVIDENCE_REFUSED');
    expect(box.seen.map(({ method }) => method)).toEqual(['GET']);
  });

  test('of an earlier question is refused', async () => {
    let first: ReturnType<Attack> | undefined;
    box.attack = (request, carry) => (first ??= carry(request));
    await open(box);
    expect(await refusalOf(open(box))).toBe('EVIDENCE_REFUSED');
  });

  test('of another instance, with its own keys, is refused for this question', async () => {
    const other = await startTestService();
    const elsewhere = fetch(`${other.url}/v1/attestation?nonce=${'5a'.repeat(32)}`);
    const body = Buffer.from(await (await elsewhere).arrayBuffer());
    box.attack = () =>
      Promise.resolve({ status: 200, headers: { 'content-type': 'application/json' }, body });
    expect(await refusalOf(open(box))).toBe('EVIDENCE_REFUSED');
  });

  test('with one bit changed is refused', async () => {
    box.attack = async (request, carry) => {
      const answer = await carry(request);
      const json = JSON.parse(answer.body.toString()) as { document: string };
      const document = Buffer.from(json.document, 'base64url');
      document[document.length >> 1]! ^= 1;
      const body = Buffer.from(JSON.stringify({ ...json, document: document.toString('base64url') }));
      return { ...answer, body };
    };
    expect(await refusalOf(open(box))).toBe('EVIDENCE_REFUSED');
  });

  test('that is held back until it is old is not used', async () => {
    let now = NOW;
    box.attack = (request, carry) => {
      now += 120_000;
      return carry(request);
    };
    expect(await refusalOf(open(box, { now: () => now, maxEvidenceAgeMs: 60_000 }))).toBe('EVIDENCE_STALE');
    expect(box.seen.map(({ method }) => method)).toEqual(['GET']);
  });

  test('and keys that it offers beside it are not used', async () => {
    const other = await startTestService();
    box.attack = async (request, carry) => {
      if (!/hpke-keys|keyset|ohttp/.test(request.path)) return carry(request);
      const answer = await fetch(other.url + request.path);
      return { status: 200, headers: {}, body: Buffer.from(await answer.arrayBuffer()) };
    };
    const session = await open(box);
    expect((await embed(session)).code).toBeUndefined();
    expect(session.document.keyset.instance).toEqual(service.world.keyring.keyset.instance);
  });
});

describe('a request that a box carries', () => {
  test('says nothing of what is asked', async () => {
    await embed(await open(box));
    expect(box.seen.some(({ body }) => body.includes(SECRET))).toBe(false);
  });

  test.each<[name: string, attack: Attack, code: string]>([
    [
      'to another path',
      (request, carry) => carry(isPost(request) ? { ...request, path: '/v1/completions' } : request),
      'REQUEST_REJECTED',
    ],
    [
      'with a query of its own',
      (request, carry) => carry(isPost(request) ? { ...request, path: `${request.path}?fast=1` } : request),
      'REQUEST_REJECTED',
    ],
    [
      'with one bit changed',
      (request, carry) => {
        const body = Buffer.from(request.body);
        if (isPost(request)) body[body.length - 1]! ^= 1;
        return carry({ ...request, body });
      },
      'KEYSET_CHANGED',
    ],
    [
      'with another encapsulated key',
      (request, carry) => {
        const headers = { ...request.headers, 'ehbp-encapsulated-key': randomBytes(32).toString('hex') };
        return carry(isPost(request) ? { ...request, headers } : request);
      },
      'KEYSET_CHANGED',
    ],
    [
      'as a plain one',
      (request, carry) => {
        const headers = { ...request.headers, 'content-type': 'application/json' };
        return carry(isPost(request) ? { ...request, headers } : request);
      },
      'KEYSET_CHANGED',
    ],
    [
      'a second time, and hands on what the second got',
      async (request, carry) => {
        if (isPost(request)) await carry(request);
        return carry(request);
      },
      'REQUEST_REJECTED',
    ],
    ['nowhere', () => Promise.reject(new Error('dropped')), 'UNREACHABLE'],
  ])('%s gives no answer', async (_name, attack, code) => {
    const session = await open(box);
    box.attack = attack;
    expect(await embed(session)).toEqual({ text: '', code });
  });

  test('under the key of another customer has no receipt for its sender', async () => {
    const [own, other] = [apiKey('own'), apiKey('other')];
    const locked = await startTestService({
      keys: { required: 'always', apiKeys: [own.entry, other.entry] },
    });
    const before = await placeMiddleBox(locked.url);
    const session = await open(before, { apiKey: own.key, receipts: 'bundle' });
    expect((await embed(session)).code).toBeUndefined();
    before.attack = (request, carry) =>
      carry(
        isPost(request)
          ? { ...request, headers: { ...request.headers, authorization: `Bearer ${other.key}` } }
          : request,
      );
    const { text, code } = await embed(session);
    expect(text).toBe('');
    expect(code).toEqual(expect.any(String));
  });
});

describe('an answer that a box carries', () => {
  const unsealed =
    (body: string): Attack =>
    (request, carry) =>
      isPost(request)
        ? Promise.resolve({
            status: 200,
            headers: { 'content-type': 'application/json' },
            body: Buffer.from(body),
          })
        : carry(request);

  test.each<[name: string, attack: Attack, code: string]>([
    ['cut after its head', onAnswers((frames) => frames.slice(0, 1)), 'RESPONSE_REFUSED'],
    ['cut before its end', onAnswers((frames) => frames.slice(0, -1)), 'RESPONSE_REFUSED'],
    ['with frames exchanged', onAnswers((frames) => frames.toReversed()), 'RESPONSE_REFUSED'],
    ['with a frame twice', onAnswers(([head, ...rest]) => [head!, head!, ...rest]), 'RESPONSE_REFUSED'],
    ['with a frame more', onAnswers((frames) => [...frames, frames[0]!]), 'RESPONSE_REFUSED'],
    [
      'with one bit changed',
      onAnswers((frames) => {
        const bytes = Buffer.from(frames.at(-1)!);
        bytes[bytes.length - 1]! ^= 1;
        return [...frames.slice(0, -1), bytes];
      }),
      'RESPONSE_REFUSED',
    ],
    ['in the clear, made up', unsealed('{"data":[{"embedding":[1]}]}'), 'BAD_ANSWER'],
    [
      'without the nonce of its seal',
      async (request, carry) => {
        const answer = await carry(request);
        const headers = Object.fromEntries(
          Object.entries(answer.headers).filter(([name]) => name !== 'ehbp-response-nonce'),
        );
        return isPost(request) ? { ...answer, headers } : answer;
      },
      'BAD_ANSWER',
    ],
    [
      'under another type',
      async (request, carry) => {
        const answer = await carry(request);
        const headers = { ...answer.headers, 'content-type': 'text/html' };
        return isPost(request) ? { ...answer, headers } : answer;
      },
      'BAD_ANSWER',
    ],
    [
      'as a redirect to itself',
      (request, carry) =>
        isPost(request)
          ? Promise.resolve({ status: 307, headers: { location: request.path }, body: Buffer.alloc(0) })
          : carry(request),
      'UNREACHABLE',
    ],
  ])('%s is refused, whole', async (_name, attack, code) => {
    const session = await open(box);
    box.attack = attack;
    expect(await embed(session)).toEqual({ text: '', code });
  });

  test.each<[name: string, attack: Attack]>([
    ['cut before its end', onAnswers((frames) => frames.slice(0, -1))],
    ['cut in the middle', onAnswers((frames) => frames.slice(0, frames.length >> 1))],
    ['with an event left out', onAnswers(([head, , ...rest]) => [head!, ...rest])],
    ['with events exchanged', onAnswers(([head, a, b, ...rest]) => [head!, b!, a!, ...rest])],
  ])('%s is refused, as a stream, and never said to be whole', async (_name, attack) => {
    const session = await open(box);
    box.attack = attack;
    const { text, code } = await stream(session);
    expect(code).toBe('RESPONSE_REFUSED');
    expect(text).not.toContain('[DONE]');
  });

  test('to an earlier request of this session is refused', async () => {
    const session = await open(box);
    let first: ReturnType<Attack> | undefined;
    box.attack = (request, carry) => (isPost(request) ? (first ??= carry(request)) : carry(request));
    expect((await embed(session)).code).toBeUndefined();
    expect(await embed(session)).toEqual({ text: '', code: 'RESPONSE_REFUSED' });
  });

  test('of two sessions, exchanged, is refused in both', async () => {
    const [one, other] = [await open(box), await open(box)];
    const waiting: (() => Promise<Awaited<ReturnType<Attack>>>)[] = [];
    let meet: () => void = () => undefined;
    const met = new Promise<void>((resolve) => (meet = resolve));
    box.attack = async (request, carry) => {
      if (!isPost(request)) return carry(request);
      const answer = await carry(request);
      const place = waiting.push(() => Promise.resolve(answer)) - 1;
      if (waiting.length === 2) meet();
      await met;
      return waiting[1 - place]!();
    };
    const outcomes = await Promise.all([embed(one), embed(other)]);
    expect(outcomes).toEqual(Array(2).fill({ text: '', code: 'RESPONSE_REFUSED' }));
  });

  test('with the receipt of another answer is refused', async () => {
    const session = await open(box, { receipts: 'bundle' });
    let first: ReturnType<Attack> | undefined;
    box.attack = (request, carry) =>
      request.path.includes('/bundle') ? (first ??= carry(request)) : carry(request);
    expect((await embed(session)).code).toBeUndefined();
    expect(await embed(session)).toEqual({ text: '', code: 'RECEIPT_REFUSED' });
  });

  test('with no receipt that it could fetch is not given', async () => {
    const session = await open(box, { receipts: 'bundle' });
    box.attack = (request, carry) =>
      request.path.includes('/receipts/')
        ? Promise.resolve({ status: 404, headers: {}, body: Buffer.from('{}') })
        : carry(request);
    expect((await embed(session)).text).toBe('');
  });

  test('for the keys are gone, again and again, asks for evidence once and then gives up', async () => {
    const session = await open(box);
    const asked = box.seen.length;
    box.attack = (request, carry) => {
      const headers = { 'content-type': 'application/problem+json' };
      const body = Buffer.from('{"type":"urn:ietf:params:ehbp:error:key-config"}');
      return isPost(request) ? Promise.resolve({ status: 422, headers, body }) : carry(request);
    };
    expect(await embed(session)).toEqual({ text: '', code: 'KEYSET_CHANGED' });
    expect(box.seen.slice(asked).map(({ method }) => method)).toEqual(['POST', 'GET']);
  });
});

describe('what stands outside of seals', () => {
  test('is marked as nobody’s word, and receipts name the model that answered', async () => {
    const seen: VerifiedAnswer[] = [];
    const session = await open(box, { onReceipt: (verified) => seen.push(verified) });
    box.attack = async (request, carry) => {
      const answer = await carry(request);
      const body = Buffer.from(answer.body.toString().replaceAll('"fake"', '"grand"'));
      return request.path === '/v1/models' ? { ...answer, body } : answer;
    };
    const models = await session.fetch('/v1/models');
    expect(models.headers.get('vouchsafe-verified')).toBe('?0');
    expect(await models.text()).toContain('"grand"');
    expect((await embed(session)).code).toBeUndefined();
    expect(seen.map(({ receipt }) => receipt?.claims.model)).toEqual(['fake']);
  });

  test('reaches npm openai as an error, never as text', async () => {
    const session = await open(box);
    const { fetch, baseURL } = session;
    const client = new OpenAI({ baseURL, apiKey: 'unused', fetch, maxRetries: 0 });
    const ask = () => client.embeddings.create({ model: 'fake', input: SECRET, encoding_format: 'float' });
    expect((await ask()).data).toHaveLength(1);
    box.attack = (request, carry) =>
      isPost(request)
        ? Promise.resolve({
            status: 200,
            headers: { 'content-type': 'application/json' },
            body: Buffer.from('{"data":[]}'),
          })
        : carry(request);
    await expect(ask()).rejects.toThrow();
    box.attack = HONEST;
    expect((await ask()).data).toHaveLength(1);
  });
});
