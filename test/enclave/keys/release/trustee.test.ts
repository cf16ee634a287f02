import { createHash, createPublicKey, generateKeyPairSync, KeyObject, randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { generateKeyPair } from 'jose';
import { openJwe } from '../../../../enclave/keys/release/jwe.ts';
import { ReleaseError } from '../../../../enclave/keys/release/errors.ts';
import {
  askTrustee,
  runtimeDataDigest,
  type TrusteeOptions,
} from '../../../../enclave/keys/release/trustee.ts';
import { describeCorpus } from '../../../support/corpus.ts';
import { makeJwe, serve } from '../../../support/keyServices.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../../support/runs.ts';

const WRAPPING = randomBytes(32);
const RESOURCE = 'default/model-key/tiny';

interface Jwk {
  readonly kty: 'RSA';
  readonly n: string;
  readonly e: string;
}

/** What a broker does another way, step by step. */
interface Faults {
  readonly auth?: (response: ServerResponse) => void;
  readonly nonce?: string;
  readonly attest?: (response: ServerResponse) => void;
  readonly resource?: (response: ServerResponse, key: Jwk) => void;
}

/**
 * A Key Broker Service as its protocol document and code say: it compares the report data with the hash of the runtime
 * data, written here a second time, and gives each session one token.
 */
async function broker(faults: Faults = {}): Promise<{ readonly address: string; readonly seen: string[] }> {
  const sessions = new Map<string, { readonly nonce: string; key?: Jwk; token?: string }>();
  const seen: string[] = [];
  const sessionOf = (request: IncomingMessage) =>
    sessions.get(/kbs-session-id=([^;]+)/.exec(request.headers.cookie ?? '')?.[1] ?? '');
  const json = (response: ServerResponse, value: unknown): void => {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(value));
  };
  const auth = (response: ServerResponse): void => {
    const id = randomBytes(16).toString('hex');
    const nonce = faults.nonce ?? randomBytes(32).toString('base64');
    sessions.set(id, { nonce });
    response.setHeader('set-cookie', [`other=1`, `kbs-session-id=${id}; Path=/kbs/v0; HttpOnly`]);
    json(response, { nonce, 'extra-params': '' });
  };
  const attest = (request: IncomingMessage, response: ServerResponse, body: string): void => {
    const session = sessionOf(request);
    const sent = JSON.parse(body) as {
      'runtime-data': { nonce: string; 'tee-pubkey': Jwk };
      'tee-evidence': { primary_evidence: { report_data: string }; additional_evidence: string };
    };
    const { nonce, 'tee-pubkey': key } = sent['runtime-data'];
    const { alg, e, kty, n } = key as Jwk & { alg: string };
    const canonical = `{"nonce":${JSON.stringify(nonce)},"tee-pubkey":{"alg":"${alg}","e":"${e}","kty":"${kty}","n":"${n}"}}`;
    const expected = createHash('sha384').update(canonical).digest('hex').padEnd(128, '0');
    const isBound = sent['tee-evidence'].primary_evidence.report_data === expected;
    if (!session || session.nonce !== nonce || !isBound) {
      response
        .writeHead(401)
        .end('{"type":"https://github.com/confidential-containers/kbs/errors/Attestation"}');
      return;
    }
    session.key = key;
    session.token = `${randomBytes(8).toString('hex')}.e30.c2ln`;
    json(response, { token: session.token });
  };
  const resource = (request: IncomingMessage, response: ServerResponse): void => {
    const session = [...sessions.values()].find(
      ({ token }) => token !== undefined && request.headers.authorization === `Bearer ${token}`,
    );
    if (!session?.key || request.url !== `/kbs/v0/resource/${RESOURCE}`) {
      response.writeHead(401).end('{}');
      return;
    }
    if (faults.resource) faults.resource(response, session.key);
    else json(response, makeJwe(WRAPPING, createPublicKey({ key: { ...session.key }, format: 'jwk' })));
  };
  const handler: RequestListener = (request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const path = request.url ?? '';
      seen.push(path);
      if (path.endsWith('/auth')) (faults.auth ?? auth)(response);
      else if (path.endsWith('/attest')) {
        if (faults.attest) faults.attest(response);
        else attest(request, response, Buffer.concat(chunks).toString());
      } else resource(request, response);
    });
  };
  return { address: await serve(handler), seen };
}

const optionsFor = (address: string): TrusteeOptions => ({
  service: { address, timeoutMs: 5_000 },
  tee: 'sample',
  attest: (reportData) =>
    Promise.resolve({ primary: { report_data: Buffer.from(reportData).toString('hex') } }),
});

/** The key of exchanges with faults; that without any makes its own. */
const exchangeKey = await generateKeyPair('RSA-OAEP-256');
const makeKey = () => Promise.resolve(exchangeKey);

async function codeFrom(faults: Faults, changes: Partial<TrusteeOptions> = {}): Promise<string> {
  const { address } = await broker(faults);
  return codeOf(askTrustee({ ...optionsFor(address), makeKey, ...changes }, RESOURCE));
}

const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'released',
    (error: unknown) => (error instanceof ReleaseError ? error.code : String(error)),
  );

describe("Trustee's Key Broker Service", () => {
  test('releases a resource to evidence over its nonce and our key', async () => {
    const { address, seen } = await broker();
    const key = await askTrustee(optionsFor(address), RESOURCE);
    expect(Buffer.from(key).equals(WRAPPING)).toBe(true);
    expect(seen).toEqual(['/kbs/v0/auth', '/kbs/v0/attest', `/kbs/v0/resource/${RESOURCE}`]);
  });

  test('with a nonce of characters that JSON escapes is answered, too', async () => {
    expect(await codeFrom({ nonce: 'quote" backslash\\ \u20ac and more' })).toBe('released');
  });

  test('refuses evidence over something else', async () => {
    const attest = () => Promise.resolve({ primary: { report_data: '00'.repeat(64) } });
    expect(await codeFrom({}, { attest })).toBe('REFUSED');
  });

  test.each(['tiny', 'a/b', 'a/b/c/d', '../b/c', 'a/b/c?x=1', 'a/b/..%2f'])(
    'is not asked for the resource %s',
    async (resource) => {
      const { address, seen } = await broker();
      expect(await codeOf(askTrustee(optionsFor(address), resource))).toBe('REFUSED');
      expect(seen).toEqual([]);
    },
  );

  const answering =
    (body: string, headers: Record<string, string> = {}) =>
    (response: ServerResponse) =>
      response.writeHead(200, headers).end(body);
  const cookie = { 'set-cookie': 'kbs-session-id=abc' };

  test.each<[string, Faults, string]>([
    ['has no nonce', { auth: answering('{}', cookie) }, 'BAD_ANSWER'],
    ['has a nonce that is too short', { auth: answering('{"nonce":"x"}', cookie) }, 'BAD_ANSWER'],
    ['has no session', { auth: answering(`{"nonce":"${'x'.repeat(32)}"}`) }, 'BAD_ANSWER'],
    ['is no JSON', { auth: answering('hello', cookie) }, 'BAD_ANSWER'],
    ['is huge', { auth: answering('x'.repeat(100_000), cookie) }, 'BAD_ANSWER'],
    ['is refused', { auth: (response) => response.writeHead(401).end('{}') }, 'REFUSED'],
  ])('whose challenge %s is refused', async (_name, faults, code) => {
    expect(await codeFrom(faults)).toBe(code);
  });

  test.each<[string, Faults, string]>([
    ['is refused', { attest: (response) => response.writeHead(401).end('{}') }, 'REFUSED'],
    ['has no token', { attest: answering('{}') }, 'BAD_ANSWER'],
    ['has a token with a line break', { attest: answering('{"token":"a.b.c\\r\\nx: y"}') }, 'BAD_ANSWER'],
    ['is huge', { attest: answering('x'.repeat(400_000)) }, 'BAD_ANSWER'],
  ])('whose answer to the attestation %s is refused', async (_name, faults, code) => {
    expect(await codeFrom(faults)).toBe(code);
  });

  const other = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey;
  const sending = (make: (key: Jwk) => unknown): Faults => ({
    resource: (response, key) => response.end(JSON.stringify(make(key))),
  });
  const own = (key: Jwk) => createPublicKey({ key: { ...key }, format: 'jwk' });

  test.each<[string, Faults, string]>([
    ['for another key', sending(() => makeJwe(WRAPPING, other)), 'NOT_FOR_US'],
    ['that is cut', sending((key) => ({ ...makeJwe(WRAPPING, own(key)), ciphertext: '' })), 'NOT_FOR_US'],
    ['with a short tag', sending((key) => ({ ...makeJwe(WRAPPING, own(key)), tag: 'AAAA' })), 'BAD_ANSWER'],
    [
      'with PKCS#1 padding',
      sending((key) => makeJwe(WRAPPING, own(key), { header: { alg: 'RSA1_5', enc: 'A256GCM' } })),
      'BAD_ANSWER',
    ],
    [
      'that is compressed',
      sending((key) =>
        makeJwe(WRAPPING, own(key), { header: { alg: 'RSA-OAEP-256', enc: 'A256GCM', zip: 'DEF' } }),
      ),
      'BAD_ANSWER',
    ],
    [
      'with an unprotected header',
      sending((key) => ({ ...makeJwe(WRAPPING, own(key)), header: {} })),
      'BAD_ANSWER',
    ],
    ['in clear', sending(() => ({ key: WRAPPING.toString('base64') })), 'BAD_ANSWER'],
    ['that is huge', sending(() => 'x'.repeat(50_000)), 'BAD_ANSWER'],
  ])('a resource %s is refused', async (_name, faults, code) => {
    expect(await codeFrom(faults)).toBe(code);
  });

  test('a resource with additional authenticated data opens', async () => {
    expect(await codeFrom(sending((key) => makeJwe(WRAPPING, own(key), { aad: 'AAAA' })))).toBe('released');
  });
});

describe('a JWE', () => {
  test(
    'with any character changed is refused with a coded error',
    async () => {
      const { publicKey, privateKey } = await generateKeyPair('RSA-OAEP-256');
      const valid = makeJwe(WRAPPING, KeyObject.from(publicKey));
      await fc.assert(
        fc.asyncProperty(
          fc.constantFrom(...Object.keys(valid)),
          fc.nat(),
          fc.stringMatching(/^.$/),
          async (member, at, text) => {
            const before = valid[member]!;
            const index = at % before.length;
            const after = before.slice(0, index) + text + before.slice(index + 1);
            fc.pre(after !== before);
            await expect(openJwe({ ...valid, [member]: after }, privateKey)).rejects.toBeInstanceOf(
              ReleaseError,
            );
          },
        ),
        propertyRuns(300),
      );
    },
    PROPERTY_TIMEOUT,
  );
});

describeCorpus("Trustee's own vector", 'standards/vectors/attestation', (directory) => {
  test('of structured runtime data', () => {
    const { input, digest_hex: digest } = JSON.parse(
      readFileSync(join(directory, 'trustee-runtime-data.json'), 'utf8'),
    ) as { input: unknown; digest_hex: string };
    expect(Buffer.from(runtimeDataDigest(input)).toString('hex')).toBe(digest.padEnd(128, '0'));
  });
});
