import { createPublicKey, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { askAzure, type AzureOptions } from '../../../../enclave/keys/release/azure.ts';
import { ReleaseError } from '../../../../enclave/keys/release/errors.ts';
import { encryptOaep, serve, unsignedJws, wrapKeyMaterial } from '../../../support/keyServices.ts';

const WRAPPING = randomBytes(32);
const DATA_KEY = randomBytes(32);
const KEY_NAME = `models/${'0'.repeat(32)}`;
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
/** For requests that are refused: those that get a key make theirs. */
const requestKey = generateKeyPairSync('rsa', { modulusLength: 3072 });
const SHARED_KEY: Partial<AzureOptions> = { makeKey: () => Promise.resolve(requestKey) };
const RSA_MATERIAL = rsa.privateKey.export({ type: 'pkcs8', format: 'der' });

interface Jwk {
  readonly kty: 'RSA';
  readonly n: string;
  readonly e: string;
}

/** What the vault says, as it would be sent. */
interface Answer {
  request: { nonce: string; enc: string };
  response: { key: { key: { kid: string; key_hsm: string } } };
}

interface Faults {
  readonly material?: Uint8Array;
  readonly recipient?: KeyObject;
  readonly change?: (answer: Answer, ciphertext: Buffer) => void;
  readonly status?: number;
  readonly body?: string;
  readonly onRequest?: (body: Record<string, unknown>, headers: Record<string, unknown>) => void;
}

const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');
const hsmKey = (ciphertext: Uint8Array): string =>
  encode({
    schema_version: '1.0',
    header: { kid: 'TpmEphemeralEncryptionKey', alg: 'dir', enc: 'RSA_AES_KEY_WRAP_256' },
    ciphertext: Buffer.from(ciphertext).toString('base64url'),
  });

/** A vault that releases to the key in the token. */
async function vault(faults: Faults = {}): Promise<string> {
  const address = await serve((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const body = JSON.parse(Buffer.concat(chunks).toString()) as {
        target: string;
        enc: string;
        nonce: string;
      };
      faults.onRequest?.({ ...body, url: request.url }, request.headers);
      if (faults.status !== undefined || faults.body !== undefined) {
        response.writeHead(faults.status ?? 200).end(faults.body ?? '{}');
        return;
      }
      const claims = JSON.parse(Buffer.from(body.target.split('.')[1]!, 'base64url').toString()) as {
        'x-ms-runtime': { keys: [Jwk] };
      };
      const [jwk] = claims['x-ms-runtime'].keys;
      const recipient = faults.recipient ?? createPublicKey({ key: { ...jwk }, format: 'jwk' });
      const ciphertext = wrapKeyMaterial(recipient, faults.material ?? WRAPPING);
      const answer: Answer = {
        request: { nonce: body.nonce, enc: body.enc },
        response: { key: { key: { kid: `https://vault/keys/${KEY_NAME}`, key_hsm: hsmKey(ciphertext) } } },
      };
      faults.change?.(answer, ciphertext);
      response.end(JSON.stringify({ value: unsignedJws(answer) }));
    });
  });
  return address;
}

const attest: AzureOptions['attest'] = (key) =>
  Promise.resolve(
    unsignedJws({
      iss: 'https://maa',
      'x-ms-runtime': { keys: [{ ...key, kid: 'k', key_ops: ['encrypt'] }] },
    }),
  );

async function ask(
  faults: Faults = {},
  changes: Partial<AzureOptions> = {},
  wrapped: Uint8Array = randomBytes(60),
) {
  const service = { address: await vault(faults), apiKey: 'access-token', timeoutMs: 5_000 };
  return askAzure({ service, attest, ...changes }, KEY_NAME, wrapped);
}

const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'released',
    (error: unknown) => (error instanceof ReleaseError ? error.code : String(error)),
  );

describe('secure key release of Azure', () => {
  test('releases a symmetric key, wrapped to the key in the token', async () => {
    let sent: Record<string, unknown> = {};
    const released = await ask({
      onRequest: (body, { authorization }) => (sent = { ...body, authorization }),
    });
    expect(released).toEqual({ wrapping: new Uint8Array(WRAPPING) });
    expect(sent).toMatchObject({
      url: `/keys/${KEY_NAME}/release?api-version=7.4`,
      enc: 'RSA_AES_KEY_WRAP_256',
      authorization: 'Bearer access-token',
    });
  });

  test('releases an RSA key, which opens the data key and stays inside', async () => {
    const wrapped = encryptOaep(rsa.publicKey, DATA_KEY);
    expect(await ask({ material: RSA_MATERIAL }, {}, wrapped)).toEqual({ dataKey: new Uint8Array(DATA_KEY) });
  });

  test('is asked with another RSA key each time, of 3072 bits', async () => {
    const asked: string[] = [];
    const seen: AzureOptions['attest'] = (key) => {
      asked.push(key.n);
      return attest(key);
    };
    for (let i = 0; i < 2; i++) await ask({}, { attest: seen });
    expect(new Set(asked).size).toBe(2);
    expect(asked.map((n) => Buffer.from(n, 'base64url').length)).toEqual([384, 384]);
  });

  test.each<[string, Faults, string]>([
    ['answers 401', { status: 401 }, 'REFUSED'],
    ['answers 403, as its policy says no', { status: 403, body: '{"error":{}}' }, 'REFUSED'],
    ['sends no JSON', { body: 'hello' }, 'BAD_ANSWER'],
    ['sends no JWS', { body: '{"value":"x"}' }, 'BAD_ANSWER'],
    ['sends another form', { body: JSON.stringify({ value: unsignedJws({}) }) }, 'BAD_ANSWER'],
    ['sends a huge body', { body: JSON.stringify({ value: 'x'.repeat(400_000) }) }, 'BAD_ANSWER'],
    ['answers another nonce', { change: ({ request }) => (request.nonce = 'AAAA') }, 'NOT_FOR_US'],
    [
      'wraps in another way',
      { change: ({ request }) => (request.enc = 'CKM_RSA_AES_KEY_WRAP') },
      'NOT_FOR_US',
    ],
    [
      'releases another key',
      { change: ({ response }) => (response.key.key.kid = 'https://vault/keys/other/1') },
      'NOT_FOR_US',
    ],
    [
      'wraps for somebody else',
      { recipient: generateKeyPairSync('rsa', { modulusLength: 3072 }).publicKey },
      'NOT_FOR_US',
    ],
    [
      'cuts the key',
      { change: ({ response }, bytes) => (response.key.key.key_hsm = hsmKey(bytes.subarray(0, -8))) },
      'NOT_FOR_US',
    ],
    [
      'cuts it short',
      { change: ({ response }, bytes) => (response.key.key.key_hsm = hsmKey(bytes.subarray(0, 100))) },
      'BAD_ANSWER',
    ],
    ['releases no key material', { material: randomBytes(20) }, 'BAD_ANSWER'],
    [
      'releases a key on a curve',
      {
        material: generateKeyPairSync('ec', { namedCurve: 'prime256v1' }).privateKey.export({
          type: 'pkcs8',
          format: 'der',
        }),
      },
      'BAD_ANSWER',
    ],
    ['releases an RSA key that does not open ours', { material: RSA_MATERIAL }, 'NOT_FOR_US'],
  ])('that %s is refused', async (_name, faults, code) => {
    expect(await codeOf(ask(faults, SHARED_KEY))).toBe(code);
  });

  test.each<[string, AzureOptions['attest']]>([
    ['has no key', () => Promise.resolve(unsignedJws({}))],
    ['has another key', ({ e }) => attest({ kty: 'RSA', n: 'AAAA', e })],
    ['is none', () => Promise.resolve('nonsense')],
  ])('is not asked with a token that %s', async (_name, other) => {
    let asked = false;
    const faults = { onRequest: () => (asked = true) };
    expect(['ATTESTATION_FAILED', 'BAD_ANSWER']).toContain(
      await codeOf(ask(faults, { ...SHARED_KEY, attest: other })),
    );
    expect(asked).toBe(false);
  });

  test.each(['models', 'models/1', `../${KEY_NAME}`, `${KEY_NAME}/x`, `models/${'0'.repeat(31)}?`])(
    'is not asked for the key %s',
    async (keyName) => {
      const service = { address: await vault() };
      expect(await codeOf(askAzure({ service, attest, ...SHARED_KEY }, keyName, randomBytes(60)))).toBe(
        'REFUSED',
      );
    },
  );
});
