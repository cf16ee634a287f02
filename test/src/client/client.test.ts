import { afterAll, afterEach, beforeAll, describe, expect, test } from '@jest/globals';
import { toBase64Url, toHex, utf8 } from '../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { DEFAULT_POLICY, SIMULATED_POLICY } from '../../../attestation/policy/defaults.ts';
import type { Policy } from '../../../attestation/policy/policy.ts';
import { connect, type ConnectOptions } from '../../../src/client/connect.ts';
import { ClientError } from '../../../src/client/errors.ts';
import { failures } from '../../support/world.ts';
import { attestation, HONEST, startTestService, type TestService } from './service.ts';

let service: TestService;
let other: TestService;
beforeAll(async () => {
  [service, other] = await Promise.all([startTestService(), startTestService()]);
});
afterAll(() => Promise.all([service.stop(), other.stop()]));
afterEach(() => {
  service.box = HONEST;
  service.requests.length = 0;
});

const COVERED: Policy = { ...SIMULATED_POLICY, coverage: 'required' };
const REQUEST = { path: '/v1/embeddings', body: '{"input":"hello"}' };
const STREAM = { path: '/v1/completions', body: '{"prompt":"hello","stream":true}' };

function open(options: Partial<ConnectOptions> = {}) {
  return connect(service.url, { policy: SIMULATED_POLICY, crypto: nodeCrypto, ...options });
}

async function errorOf(step: Promise<unknown>): Promise<ClientError> {
  const error: unknown = await step.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  if (error instanceof ClientError) return error;
  throw new Error('no client error', { cause: error });
}

/** Takes the frames of a sealed body apart and puts some together. */
function reframe(body: Uint8Array, choose: (frames: Uint8Array[]) => readonly Uint8Array[]): Uint8Array {
  const frames: Uint8Array[] = [];
  for (let at = 0; at < body.length;) {
    const end = at + 4 + new DataView(body.buffer, body.byteOffset + at).getUint32(0);
    frames.push(body.slice(at, end));
    at = end;
  }
  return Buffer.concat(choose(frames));
}

describe('connect', () => {
  test('accepts evidence that the policy accepts', async () => {
    const session = await open();
    expect(session.verdict.decision).toBe('accepted');
    expect(session.verdict.simulated).toEqual(['cpu', 'gpu']);
    expect(session.keysetDigest).toBe(toHex(service.vouching.keysetDigest));
  });

  test('the portable cryptography comes to the same verdict', async () => {
    const session = await connect(service.url, { policy: SIMULATED_POLICY });
    expect(session.verdict.decision).toBe('accepted');
  });

  test('refuses simulated hardware under the default policy and sends nothing', async () => {
    const seen: string[] = [];
    const onVerdict: ConnectOptions['onVerdict'] = ({ decision }) => seen.push(decision);
    const error = await errorOf(open({ policy: DEFAULT_POLICY, apiKey: 'secret', onVerdict }));
    expect(error.code).toBe('EVIDENCE_REFUSED');
    expect(error.verdict?.decision).toBe('refused');
    expect(seen).toEqual(['refused']);
    expect(service.requests).toEqual(['/v1/attestation']);
  });

  test('missing reference values are not judged', async () => {
    const { cpu } = SIMULATED_POLICY;
    if (cpu.snp === 'refused') throw new Error('the simulated policy takes SNP');
    const policy: Policy = { ...SIMULATED_POLICY, cpu: { ...cpu, snp: { ...cpu.snp, measurements: [] } } };
    expect((await errorOf(open({ policy }))).code).toBe('EVIDENCE_NOT_JUDGED');
  });

  test('an answer for the nonce of somebody else is refused', async () => {
    const recorded = await attestation(service, new Uint8Array(32).fill(5));
    service.box = () => recorded;
    const error = await errorOf(open());
    expect(error.code).toBe('EVIDENCE_REFUSED');
    expect(failures(error.verdict!)).toEqual(['document: document.nonce NONCE_MISMATCH']);
  });

  test('old-document: that of another instance is refused', async () => {
    const swapped = JSON.parse(
      Buffer.from((await attestation(other, new Uint8Array(32).fill(5))).body).toString(),
    ) as { document: string };
    service.box = (_path, answer) => {
      const own = JSON.parse(Buffer.from(answer.body).toString()) as object;
      return { ...answer, body: utf8(JSON.stringify({ ...own, document: swapped.document })) };
    };
    expect((await errorOf(open())).code).toBe('EVIDENCE_REFUSED');
  });

  test.each([
    ['no JSON', 'hello'],
    ['another format', '{"format":"vouchsafe/attestation/2"}'],
    ['an unknown member', '{"format":"vouchsafe/attestation/1","trusted":true}'],
  ])('%s is a bad answer', async (_name, text) => {
    service.box = (_path, answer) => ({ ...answer, body: utf8(text) });
    expect((await errorOf(open())).code).toBe('BAD_ANSWER');
  });

  test('what turns the request away is named with its status', async () => {
    service.box = (_path, answer) => ({ ...answer, status: 503, body: utf8('later\u001b[2J') });
    const error = await errorOf(open());
    expect([error.code, error.status]).toEqual(['REQUEST_REJECTED', 503]);
    expect(error.message).not.toContain('\u001b');
  });

  test('redirects are not followed', async () => {
    const headers = { location: other.url };
    service.box = () => ({ status: 302, headers, body: new Uint8Array(0) });
    expect((await errorOf(open())).code).toBe('UNREACHABLE');
    expect(other.requests).toEqual([]);
  });

  test('nobody there is unreachable', async () => {
    const error = await errorOf(connect('http://127.0.0.1:9', { policy: SIMULATED_POLICY }));
    expect(error.code).toBe('UNREACHABLE');
  });

  test.each(['ftp://localhost', 'http://user@localhost', 'http://localhost/?q', 'nothing'])(
    '%s is misuse',
    async (address) => {
      await expect(connect(address, { policy: SIMULATED_POLICY })).rejects.toThrow(TypeError);
    },
  );
});

describe('sealed exchange', () => {
  test('the answer is opened and its receipt verifies, covered', async () => {
    const session = await open({ policy: COVERED });
    const answer = await session.send(REQUEST);
    expect(answer.status).toBe(200);
    const { verdict, receipt } = await session.verify(answer);
    expect(verdict.decision).toBe('accepted');
    expect(receipt?.claims.channel).toBe('hpke');
    const passed = verdict.checks.filter(({ result }) => result === 'pass').map(({ id }) => id);
    expect(passed).toEqual(
      expect.arrayContaining(['receipt.nonce', 'receipt.request', 'receipt.response', 'log.covered']),
    );
  });

  test('uncovered is a warning where the policy says so', async () => {
    const session = await open();
    const { verdict } = await session.verify(await session.send(REQUEST));
    expect([verdict.decision, verdict.tier]).toEqual(['accepted', 'warning']);
  });

  test('a stream gives its chunks and verifies', async () => {
    const session = await open();
    const stream = await session.stream(STREAM);
    const seen: string[] = [];
    for await (const chunk of stream) seen.push(Buffer.from(chunk).toString());
    expect(seen).toEqual(['{"choices":[{"text":"one"}]}', '{"choices":[{"text":" two"}]}', '[DONE]']);
    const { verdict } = await session.verify(await stream.finish());
    expect(verdict.decision).toBe('accepted');
  });

  test('leaving the loop over a stream loses nothing', async () => {
    const session = await open();
    const stream = await session.stream(STREAM);
    for await (const chunk of stream) if (chunk.length > 0) break;
    const answer = await stream.finish();
    expect(answer.chunks).toHaveLength(3);
    expect((await session.verify(answer)).verdict.decision).toBe('accepted');
  });

  test('a stream that broke never becomes an answer', async () => {
    const session = await open();
    service.box = (_path, answer) => ({
      ...answer,
      body: reframe(answer.body, (frames) => frames.slice(0, -1)),
    });
    const stream = await session.stream(STREAM);
    expect((await errorOf(stream.finish())).code).toBe('RESPONSE_REFUSED');
    expect((await errorOf(stream.finish())).code).toBe('RESPONSE_REFUSED');
  });

  test('the body on the wire does not hold the request', async () => {
    const bodies: string[] = [];
    const session = await open({
      fetch: (url, init) => {
        if (init.body) bodies.push(Buffer.from(init.body as Uint8Array).toString('latin1'));
        return fetch(url, init);
      },
    });
    await session.send(REQUEST);
    expect(bodies).toHaveLength(1);
    expect(bodies[0]).not.toContain('hello');
  });

  test('well-known-swap: keys offered outside verified evidence are not used', async () => {
    const spoofed = { keyset: 'box', hpke: toBase64Url(other.keyring.keyset.hpke[0]!.publicKey) };
    service.box = (path, answer) =>
      path.startsWith('/v1/keyset') ? { ...answer, body: utf8(JSON.stringify(spoofed)) } : answer;
    const session = await open();
    expect((await session.send(REQUEST)).status).toBe(200);
    expect(service.requests).not.toContain('/v1/keyset');
  });

  test('a service without the private half is asked nothing that it can read', async () => {
    const session = await open({
      fetch: (url, init) => fetch(init.method === 'POST' ? url.replace(service.url, other.url) : url, init),
    });
    expect((await errorOf(session.send(REQUEST))).code).toBe('KEYSET_CHANGED');
  });

  const broken: [string, (frames: Uint8Array[]) => readonly Uint8Array[]][] = [
    ['without its end', (frames) => frames.slice(0, -1)],
    ['without its head', (frames) => frames.slice(1)],
    ['with two frames exchanged', ([a, b, c, ...rest]) => [a!, c!, b!, ...rest]],
    ['with a frame twice', ([a, b, ...rest]) => [a!, b!, b!, ...rest]],
    ['with a frame after the end', (frames) => [...frames, frames[1]!]],
    ['cut inside a frame', (frames) => [Buffer.concat(frames).subarray(0, -3)]],
    [
      'with a bit flipped',
      ([a, b, ...rest]) => [a!, b!.map((byte, i) => (i === 9 ? byte ^ 1 : byte)), ...rest],
    ],
    ['empty', () => []],
  ];
  test.each(broken)('a response %s is refused', async (_name, choose) => {
    const session = await open();
    service.box = (_path, answer) => ({ ...answer, body: reframe(answer.body, choose) });
    expect((await errorOf(session.send(STREAM))).code).toBe('RESPONSE_REFUSED');
  });

  test('the response to another request is refused', async () => {
    const session = await open();
    let recorded: ReturnType<typeof service.box> | undefined;
    service.box = (_path, answer) => (recorded ??= answer);
    await session.send(REQUEST);
    expect((await errorOf(session.send(REQUEST))).code).toBe('RESPONSE_REFUSED');
  });

  test('an unsealed response is never an answer', async () => {
    const session = await open();
    service.box = (_path, answer) => ({ ...answer, headers: { 'content-type': 'application/json' } });
    expect((await errorOf(session.send(REQUEST))).code).toBe('BAD_ANSWER');
  });
});

describe('receipts', () => {
  test('the receipt of another exchange is refused', async () => {
    const session = await open();
    const [first, second] = [await session.send(REQUEST), await session.send(REQUEST)];
    const swapped = await service.vouching.bundle(second.receiptId!, undefined);
    service.box = (_path, answer) => ({ ...answer, body: swapped });
    const error = await errorOf(session.verify(first));
    expect(error.code).toBe('RECEIPT_REFUSED');
    expect(failures(error.verdict!)).toContain('receipt: receipt.nonce NONCE_MISMATCH');
  });

  test('a good receipt of another instance is refused', async () => {
    const foreign = await connect(other.url, { policy: SIMULATED_POLICY, crypto: nodeCrypto });
    const answer = await foreign.send(REQUEST);
    const { bundle } = await foreign.verify(answer);
    const session = await open();
    const { verdict } = await session.judge(bundle, answer);
    expect(verdict.decision).toBe('refused');
    expect(failures(verdict)).toEqual(['receipt: receipt.keyset KEYSET_MISMATCH']);
  });

  test('a session goes on over rotations of the keys: at the second one its evidence is renewed', async () => {
    const rotating = await startTestService();
    try {
      const session = await connect(rotating.url, { policy: COVERED, crypto: nodeCrypto });
      await rotating.vouching.rotateKeys();
      const answer = await session.send(REQUEST);
      const { receipt, verdict } = await session.verify(answer);
      expect(verdict.decision).toBe('accepted');
      expect(toHex(receipt!.claims.keysetDigest)).not.toBe(session.keysetDigest);
      await rotating.vouching.rotateKeys();
      const renewed = await session.send(REQUEST);
      expect(renewed.evidence.keyset.generation).toBe(2);
      expect((await session.verify(renewed)).verdict.decision).toBe('accepted');
      const late = await rotating.vouching.bundle(answer.receiptId!, undefined);
      expect((await session.judge(late, answer)).verdict.decision).toBe('accepted');
      const next = await connect(rotating.url, { policy: COVERED, crypto: nodeCrypto });
      expect(failures((await next.judge(late, answer)).verdict)).toEqual([
        'receipt: receipt.keyset KEYSET_MISMATCH',
      ]);
    } finally {
      await rotating.stop();
    }
  });

  test('other content than the one receipted is refused', async () => {
    const session = await open();
    const answer = await session.send(REQUEST);
    const error = await errorOf(session.verify({ ...answer, body: utf8('{}') }));
    expect(failures(error.verdict!)).toEqual(['receipt: receipt.response COMMITMENT_MISMATCH']);
  });

  test('an answer without a receipt is named', async () => {
    const session = await open();
    const answer = { ...(await session.send(REQUEST)), receiptId: undefined };
    expect((await errorOf(session.verify(answer))).code).toBe('RECEIPT_MISSING');
  });
});

describe('the plain channel', () => {
  test('on this machine it works and the receipt says plain', async () => {
    const session = await open();
    const { receipt, verdict } = await session.verify(await session.sendUnbound(REQUEST));
    expect(verdict.decision).toBe('accepted');
    expect(receipt?.claims.channel).toBe('plain');
  });

  test('elsewhere nothing is sent', async () => {
    const session = await connect('http://service.example', {
      policy: SIMULATED_POLICY,
      crypto: nodeCrypto,
      fetch: (url, init) => fetch(url.replace('http://service.example', service.url), init),
    });
    expect((await errorOf(session.sendUnbound(REQUEST))).code).toBe('UNBOUND_REFUSED');
    expect(service.requests).toEqual(['/v1/attestation']);
  });
});
