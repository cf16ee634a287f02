import { randomBytes } from 'node:crypto';
import { request } from 'node:http';
import { join } from 'node:path';
import { writeFile } from 'node:fs/promises';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import {
  encodeKeyRequest,
  KEY_REQUEST_TYPE,
  openDataKey,
  parseKeyAnswer,
  parseKeyRequest,
  type ReleasePurpose,
  sealDataKey,
} from '../../../../attestation/channel/keyRelease.ts';
import { hpkeSuite, openRequest, sealRequest } from '../../../../attestation/channel/hpke.ts';
import { nodeCrypto } from '../../../../attestation/crypto/node.ts';
import { Refusal } from '../../../../attestation/errors.ts';
import { documentDigest } from '../../../../attestation/evidence/document.ts';
import { encodeKeyset, HPKE_SUITE, keysetDigest } from '../../../../attestation/keyset.ts';
import { DEFAULT_POLICY, SIMULATED_POLICY } from '../../../../attestation/policy/defaults.ts';
import type { Policy } from '../../../../attestation/policy/policy.ts';
import { parseRecord } from '../../../../attestation/receipt/record.ts';
import { ReleaseError } from '../../../../enclave/keys/release/errors.ts';
import type { KeyService } from '../../../../enclave/keys/release/exchange.ts';
import { askNode, type Attester, type WantedKey } from '../../../../enclave/keys/release/vouchsafe.ts';
import { wrapDataKey } from '../../../../src/models/sealed/wrappedKey.ts';
import { KeyReleaser, releaseSubject } from '../../../../src/receipts/keyReleaser.ts';
import { NonceStore } from '../../../../src/receipts/nonceStore.ts';
import { wrappingKeysIn } from '../../../../src/receipts/wrappingKeys.ts';
import { serve } from '../../../support/keyServices.ts';
import { apiKey, makeFolder, startTestService, type TestService } from '../../../support/service.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../../support/runs.ts';
import { makeWorld, NOW, type World, type WorldOptions } from '../../../support/world.ts';

const KEY_NAME = 'models-2026';
const ALICE = apiKey('alice');

/** A node that releases keys, an instance that wants one, and the key. */
interface Scene {
  readonly node: TestService;
  readonly service: KeyService;
  readonly asker: World;
  readonly attester: Attester;
  readonly wanted: WantedKey;
  readonly dataKey: Buffer;
  readonly wrapping: Buffer;
}

async function startNode(policy: Policy, keys: string, more: WorldOptions = {}): Promise<TestService> {
  return startTestService(
    { keys: { apiKeys: [ALICE.entry] } },
    {
      world: more,
      keyReleaser: ({ vouching }) =>
        new KeyReleaser({ vouching, policy, unwrap: wrappingKeysIn(keys), now: () => NOW }),
    },
  );
}

async function makeScene(policy: Policy = SIMULATED_POLICY, asking: WorldOptions = {}): Promise<Scene> {
  const keys = await makeFolder();
  const wrapping = randomBytes(32);
  await writeFile(join(keys, `${KEY_NAME}.key`), wrapping.toString('hex'));
  const node = await startNode(policy, keys);
  // The instance that asks is a whole service, too: its evidence is what it serves to everybody.
  const asker = (await startTestService({}, { world: asking })).world;
  const dataKey = randomBytes(32);
  const wanted = { model: 'tiny', keyName: KEY_NAME, wrapped: wrapDataKey(wrapping, KEY_NAME, dataKey) };
  const service = { address: node.url, apiKey: ALICE.key };
  return { node, service, asker, attester: attesterOf(asker), wanted, dataKey, wrapping };
}

function attesterOf({ vouching, collateral, keyring }: World): Attester {
  return {
    attest: async (nonce) => {
      const { head, index, path } = await vouching.attest(nonce);
      return { document: head.encoded, index, path };
    },
    collateral: () => Promise.resolve(collateral),
    hpkeKeys: () => [keyring.hpke.privateKey],
  };
}

const ask = ({ service, attester, wanted }: Scene, changes: Partial<WantedKey> = {}): Promise<Uint8Array> =>
  askNode(service, attester, { ...wanted, ...changes });

const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'released',
    (error: unknown) => (error instanceof ReleaseError ? error.code : String(error)),
  );

function acts({ world }: TestService): readonly object[] {
  return world.log.entries.flatMap((entry) => {
    const { record } = parseRecord(entry);
    return record.kind === 'act' ? [record] : [];
  });
}

/** A box between instance and node that may change requests and answers. */
function between(
  { service }: Scene,
  change: { request?: (body: Uint8Array) => Uint8Array; answer?: (body: Uint8Array) => Uint8Array },
): KeyService {
  return {
    ...service,
    fetch: async (url, init) => {
      const isRelease = url.endsWith('/v1/key-release');
      const body = isRelease && change.request ? change.request(init.body as Uint8Array) : init.body;
      const answer = await fetch(url, { ...init, body: body as Uint8Array<ArrayBuffer> });
      if (!isRelease || !change.answer) return answer;
      const changed = change.answer(new Uint8Array(await answer.arrayBuffer()));
      return new Response(changed as Uint8Array<ArrayBuffer>, { status: answer.status });
    },
  };
}

/** One request as it goes over the wire. */
async function makeRequest({ service, attester, wanted }: Scene): Promise<Uint8Array> {
  let sent: Uint8Array | undefined;
  const listening: KeyService = {
    ...service,
    fetch: (url, init) => {
      if (!url.endsWith('/v1/key-release')) return fetch(url, init);
      sent = init.body as Uint8Array;
      return Promise.resolve(new Response(null, { status: 503 }));
    },
  };
  await codeOf(askNode(listening, attester, wanted));
  return sent!;
}

async function post({ node }: Scene, body: Uint8Array, type = KEY_REQUEST_TYPE): Promise<Response> {
  return fetch(`${node.url}/v1/key-release`, {
    method: 'POST',
    headers: { 'content-type': type, authorization: `Bearer ${ALICE.key}` },
    body: body as Uint8Array<ArrayBuffer>,
  });
}

async function problem(answer: Response): Promise<readonly unknown[]> {
  const { error } = (await answer.json()) as { error: { code: string } };
  return [answer.status, error.code];
}

describe('another node releases a data key', () => {
  test('to an instance whose evidence it accepts, and logs that as a signed act', async () => {
    const scene = await makeScene();
    const key = await ask(scene);
    expect(Buffer.from(key).equals(scene.dataKey)).toBe(true);
    expect(acts(scene.node)).toEqual([
      expect.objectContaining({
        act: 'key-released',
        actor: 'alice',
        rule: expect.stringMatching(/^key-release-policy [0-9a-f]{64}$/) as unknown,
        count: 1,
      }),
    ]);
  });

  test('the act is about this instance, its evidence, the wrapped key and the nonce', async () => {
    const scene = await makeScene();
    let nonce = new Uint8Array(0);
    let document = new Uint8Array(0);
    const attester: Attester = {
      ...scene.attester,
      attest: async (asked) => {
        const made = await scene.attester.attest(asked);
        [nonce, document] = [Uint8Array.from(asked), Uint8Array.from(made.document)];
        return made;
      },
    };
    await askNode(scene.service, attester, scene.wanted);
    const { keyset } = scene.asker.keyring;
    const subject = releaseSubject(keyset.instance, {
      ...scene.wanted,
      nonce,
      keysetDigest: keysetDigest(encodeKeyset(keyset), nodeCrypto),
      evidence: documentDigest(document, nodeCrypto),
    });
    expect(acts(scene.node)).toEqual([expect.objectContaining({ subject })]);
  });

  test('neither log has a byte of a key', async () => {
    const scene = await makeScene();
    await ask(scene);
    const written = scene.node.lines.join('\n');
    expect(written).toContain('data key released');
    for (const secret of [scene.dataKey, scene.wrapping]) {
      for (const encoding of ['hex', 'base64', 'base64url'] as const) {
        expect(written).not.toContain(secret.toString(encoding).slice(0, 16));
      }
      for (const entry of scene.node.world.log.entries)
        expect(Buffer.from(entry).includes(secret)).toBe(false);
    }
  });

  test('several at once each get theirs', async () => {
    const scene = await makeScene();
    const keys = await Promise.all(Array.from({ length: 4 }, () => ask(scene)));
    for (const key of keys) expect(Buffer.from(key).equals(scene.dataKey)).toBe(true);
  });
});

describe('the node refuses', () => {
  test('evidence that its policy does not accept: nothing is released and nothing logged', async () => {
    const scene = await makeScene(DEFAULT_POLICY);
    expect(await codeOf(ask(scene))).toBe('REFUSED');
    expect(await problem(await post(scene, await makeRequest(scene)))).toEqual([403, 'KEY_RELEASE_REFUSED']);
    expect(acts(scene.node)).toEqual([]);
  });

  test('a machine that runs in debug mode', async () => {
    const scene = await makeScene(SIMULATED_POLICY, { hardware: { debug: true } });
    expect(await codeOf(ask(scene))).toBe('REFUSED');
  });

  test('a request that is sent again', async () => {
    const scene = await makeScene();
    const request = await makeRequest(scene);
    expect((await post(scene, request)).status).toBe(200);
    expect(await problem(await post(scene, request))).toEqual([409, 'KEY_NONCE_UNKNOWN']);
    expect(acts(scene.node)).toHaveLength(1);
  });

  test('a nonce that it did not give', async () => {
    const scene = await makeScene();
    const nonce = randomBytes(32);
    const { document, index, path } = await scene.attester.attest(nonce);
    const proof = { nonce, index, path };
    const request = encodeKeyRequest({ ...scene.wanted, proof, document, collateral: new Uint8Array(0) });
    expect(await problem(await post(scene, request))).toEqual([409, 'KEY_NONCE_UNKNOWN']);
  });

  test('evidence that was made for another nonce, and uses the nonce up', async () => {
    const scene = await makeScene();
    const parsed = parseKeyRequest(await makeRequest(scene));
    const other = await scene.attester.attest(randomBytes(32));
    const stale = encodeKeyRequest({ ...parsed, document: other.document });
    expect(await problem(await post(scene, stale))).toEqual([403, 'KEY_RELEASE_REFUSED']);
    expect(await problem(await post(scene, encodeKeyRequest(parsed)))).toEqual([409, 'KEY_NONCE_UNKNOWN']);
  });

  test('a data key that another key wrapped, and one under another name', async () => {
    const scene = await makeScene();
    const wrapped = wrapDataKey(randomBytes(32), KEY_NAME, scene.dataKey);
    expect(await codeOf(ask(scene, { wrapped }))).toBe('REFUSED');
    const renamed = wrapDataKey(scene.wrapping, 'another', scene.dataKey);
    expect(await codeOf(ask(scene, { wrapped: renamed }))).toBe('REFUSED');
    expect(acts(scene.node)).toEqual([]);
  });

  test.each(['unknown', '../models-2026', '.', '..', 'a/b', '%2e%2e'])('the key name %s', async (keyName) => {
    const scene = await makeScene();
    expect(await codeOf(ask(scene, { keyName }))).toBe('REFUSED');
  });

  test('to release what it cannot log', async () => {
    const scene = await makeScene();
    const request = await makeRequest(scene);
    await scene.node.world.vouching.stop();
    expect((await post(scene, request)).status).toBe(503);
  });

  test('whoever has no API key', async () => {
    const scene = await makeScene();
    for (const apiKey of [undefined, 'wrong']) {
      const service = { ...scene.service, apiKey };
      expect(await codeOf(askNode(service, scene.attester, scene.wanted))).toBe('REFUSED');
    }
  });

  test('another content type and a body that is no request', async () => {
    const scene = await makeScene();
    expect(await problem(await post(scene, await makeRequest(scene), 'application/cbor'))).toEqual([
      415,
      'CONTENT_TYPE_UNSUPPORTED',
    ]);
    expect(await problem(await post(scene, randomBytes(40)))).toEqual([400, 'KEY_REQUEST_INVALID']);
  });

  test('to give more nonces than it keeps', async () => {
    const scene = await makeScene();
    const give = (): Promise<Response> =>
      fetch(`${scene.node.url}/v1/key-release/nonce`, {
        method: 'POST',
        headers: { authorization: `Bearer ${ALICE.key}` },
      });
    const given = [];
    for (let i = 0; i < 1024; i++) given.push((await give()).status);
    expect(new Set(given)).toEqual(new Set([200]));
    expect((await give()).status).toBe(429);
  });

  test('more releases at once than it has room for', async () => {
    const scene = await makeScene();
    // Bodies that do not end hold their places until they are given up.
    const held = Array.from({ length: 4 }, () => {
      const headers = { 'content-type': KEY_REQUEST_TYPE, authorization: `Bearer ${ALICE.key}` };
      const sending = request(`${scene.node.url}/v1/key-release`, { method: 'POST', headers });
      sending.on('error', () => undefined).write('x');
      return sending;
    });
    const status = async (): Promise<number> => (await post(scene, randomBytes(40))).status;
    while ((await status()) !== 429);
    for (const sending of held) sending.destroy();
    while ((await status()) !== 400);
    expect((await post(scene, await makeRequest(scene))).status).toBe(200);
  });

  test('to release anything where it is not set up for that', async () => {
    const node = await startTestService();
    const asker = await makeWorld();
    const wanted = { model: 'tiny', keyName: KEY_NAME, wrapped: randomBytes(60) };
    expect(await codeOf(askNode({ address: node.url }, attesterOf(asker), wanted))).toBe('REFUSED');
  });
});

describe('who stands between instance and node', () => {
  test('gets nothing out of evidence of another instance', async () => {
    const scene = await makeScene();
    const thief = await makeWorld();
    const attester: Attester = { ...scene.attester, hpkeKeys: () => [thief.keyring.hpke.privateKey] };
    expect(await codeOf(askNode(scene.service, attester, scene.wanted))).toBe('NOT_FOR_US');
  });

  test('cannot put its own HPKE key in the place of the one in the evidence', async () => {
    const scene = await makeScene();
    const thief = await makeWorld();
    const service = between(scene, {
      request: (body) => {
        const parsed = parseKeyRequest(body);
        const [own, mine] = [thief, scene.asker].map(({ keyring }) => keyring.keyset.hpke[0]!.publicKey);
        const document = Buffer.from(parsed.document);
        document.set(own!, document.indexOf(mine!));
        return encodeKeyRequest({ ...parsed, document });
      },
    });
    expect(await codeOf(askNode(service, scene.attester, scene.wanted))).toBe('REFUSED');
  });

  test.each<[string, (request: ReturnType<typeof parseKeyRequest>, scene: Scene) => object]>([
    ['model', () => ({ model: 'other' })],
    ['wrapped key', (_, { wrapping, dataKey }) => ({ wrapped: wrapDataKey(wrapping, KEY_NAME, dataKey) })],
  ])('cannot have the key released for another %s', async (_name, change) => {
    const scene = await makeScene();
    const service = between(scene, {
      request: (body) => {
        const parsed = parseKeyRequest(body);
        return encodeKeyRequest({ ...parsed, ...change(parsed, scene) });
      },
    });
    expect(await codeOf(askNode(service, scene.attester, scene.wanted))).toBe('NOT_FOR_US');
  });

  test('cannot answer with what was released before', async () => {
    const scene = await makeScene();
    let former: Uint8Array | undefined;
    const service = between(scene, { answer: (body) => (former ??= body) });
    expect(await codeOf(askNode(service, scene.attester, scene.wanted))).toBe('released');
    expect(await codeOf(askNode(service, scene.attester, scene.wanted))).toBe('NOT_FOR_US');
  });

  test.each<[string, (body: Uint8Array) => Uint8Array]>([
    ['is cut', (body) => body.subarray(0, -1)],
    ['has a byte more', (body) => Buffer.concat([body, Buffer.alloc(1)])],
    ['is empty', () => new Uint8Array(0)],
    ['is too large', () => new Uint8Array(100_000)],
  ])('an answer that %s is refused', async (_name, answer) => {
    const scene = await makeScene();
    expect(await codeOf(askNode(between(scene, { answer }), scene.attester, scene.wanted))).toBe(
      'BAD_ANSWER',
    );
  });

  test('an answer with a byte changed is refused', async () => {
    const scene = await makeScene();
    const answer = (body: Uint8Array): Uint8Array => {
      const changed = Uint8Array.from(body);
      changed[changed.length - 10]! ^= 1;
      return changed;
    };
    expect(await codeOf(askNode(between(scene, { answer }), scene.attester, scene.wanted))).toBe(
      'NOT_FOR_US',
    );
  });
});

describe('a service that is none', () => {
  const wanted = { model: 'tiny', keyName: KEY_NAME, wrapped: randomBytes(60) };
  async function codeFrom(address: string, timeoutMs = 5_000): Promise<string> {
    return codeOf(askNode({ address, timeoutMs }, attesterOf(await makeWorld()), wanted));
  }

  test.each<[string, string, string]>([
    ['no JSON', 'hello', 'BAD_ANSWER'],
    ['another form', '{}', 'BAD_ANSWER'],
    [
      'a nonce of zeros',
      JSON.stringify({ format: 'vouchsafe/key-release-nonce/1', nonce: '0'.repeat(64), seconds: 1 }),
      'BAD_ANSWER',
    ],
    [
      'a nonce twice',
      `{"format":"vouchsafe/key-release-nonce/1","nonce":"${'1'.repeat(64)}","nonce":"${'2'.repeat(64)}","seconds":1}`,
      'BAD_ANSWER',
    ],
    ['a huge body', 'x'.repeat(10_000), 'BAD_ANSWER'],
  ])('and gives %s is refused', async (_name, body, code) => {
    const address = await serve((_request, response) => response.end(body));
    expect(await codeFrom(address)).toBe(code);
  });

  test('and sends us elsewhere is refused', async () => {
    let reached = false;
    const elsewhere = await serve((_request, response) => {
      reached = true;
      response.end('{}');
    });
    const address = await serve((_request, response) =>
      response.writeHead(307, { location: `${elsewhere}/v1/key-release/nonce` }).end(),
    );
    expect(await codeFrom(address)).toBe('UNREACHABLE');
    expect(reached).toBe(false);
  });

  test('and never answers is given up', async () => {
    const address = await serve(() => undefined);
    expect(await codeFrom(address, 200)).toBe('UNREACHABLE');
  });

  test('and is not there is unreachable', async () => {
    expect(await codeFrom('http://127.0.0.1:1')).toBe('UNREACHABLE');
  });

  test.each(['http://192.0.2.1', 'ftp://127.0.0.1', 'https://user@host', 'https://host?x=1', 'nonsense'])(
    'and is called %s is not asked',
    async (address) => {
      expect(await codeFrom(address)).toBe('INSECURE_ADDRESS');
    },
  );
});

describe('the seal of a released key', () => {
  const purpose: ReleasePurpose = {
    nonce: randomBytes(32),
    model: 'tiny',
    keyName: 'k1',
    wrapped: randomBytes(60),
    keysetDigest: randomBytes(32),
    evidence: randomBytes(32),
  };

  async function keyPair(): Promise<{ readonly pair: CryptoKeyPair; readonly publicKey: Uint8Array }> {
    const suite = hpkeSuite();
    const pair = await suite.kem.generateKeyPair();
    return { pair, publicKey: new Uint8Array(await suite.kem.serializePublicKey(pair.publicKey)) };
  }

  test.each<[string, Partial<ReleasePurpose>]>([
    ['nonce', { nonce: randomBytes(32) }],
    ['model', { model: 'tiny2' }],
    ['key name', { keyName: 'k2' }],
    ['wrapped key', { wrapped: randomBytes(60) }],
    ['keyset', { keysetDigest: randomBytes(32) }],
    ['evidence', { evidence: randomBytes(32) }],
  ])('opens for no other %s', async (_name, other) => {
    const { pair, publicKey } = await keyPair();
    const key = randomBytes(32);
    const sealed = await sealDataKey(publicKey, purpose, key, nodeCrypto);
    expect(Buffer.from(await openDataKey(pair.privateKey, purpose, sealed, nodeCrypto)).equals(key)).toBe(
      true,
    );
    const opening = openDataKey(pair.privateKey, { ...purpose, ...other }, sealed, nodeCrypto);
    await expect(opening).rejects.toBeInstanceOf(Refusal);
  });

  test('is no sealed request, and a sealed request is no key', async () => {
    const { pair, publicKey } = await keyPair();
    const sealed = await sealDataKey(publicKey, purpose, randomBytes(32), nodeCrypto);
    const framed = Buffer.concat([Buffer.from([0, 0, 0, sealed.ciphertext.length]), sealed.ciphertext]);
    await expect(openRequest(pair.privateKey, sealed.enc, framed)).rejects.toBeInstanceOf(Refusal);
    const { enc, body } = await sealRequest({ ...HPKE_SUITE, publicKey }, randomBytes(32));
    const asKey = { enc, ciphertext: body.subarray(4) };
    await expect(openDataKey(pair.privateKey, purpose, asKey, nodeCrypto)).rejects.toBeInstanceOf(Refusal);
  });

  test(
    'requests and answers of any bytes are refused as such',
    () => {
      const valid = encodeKeyRequest({
        proof: { nonce: randomBytes(32), index: 0, path: [] },
        model: 'tiny',
        keyName: 'k1',
        wrapped: randomBytes(60),
        document: randomBytes(20),
        collateral: new Uint8Array(0),
      });
      const bytes = fc.oneof(
        fc.uint8Array({ maxLength: 100 }),
        fc.tuple(fc.nat(valid.length - 1), fc.nat(255)).map(([at, byte]) => {
          const changed = Uint8Array.from(valid);
          changed[at] = byte;
          return changed;
        }),
      );
      fc.assert(
        fc.property(bytes, (encoded) => {
          for (const parse of [parseKeyRequest, parseKeyAnswer]) {
            try {
              parse(encoded);
            } catch (error) {
              expect(error).toBeInstanceOf(Refusal);
            }
          }
        }),
        propertyRuns(500),
      );
    },
    PROPERTY_TIMEOUT,
  );
});

describe('nonces', () => {
  test('are good once, for their time, and end with a clock that goes back', () => {
    let now = 1_000_000;
    const store = new NonceStore({ lifeMs: 100, most: 2, now: () => now });
    const [first, second] = [store.issue()!, store.issue()!];
    expect(store.issue()).toBeUndefined();
    expect([store.take(first), store.take(first), store.take(randomBytes(32))]).toEqual([true, false, false]);
    now += 100;
    expect(store.take(second)).toBe(false);
    const third = store.issue()!;
    now -= 50;
    expect(store.take(third)).toBe(false);
  });
});
