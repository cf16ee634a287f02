import { execFileSync, spawnSync } from 'node:child_process';
import { createHash, createPrivateKey, generateKeyPairSync, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from '@jest/globals';
import fc from 'fast-check';
import { parseNitroDocument } from '../../../../attestation/evidence/nitro/parse.ts';
import { askKms, type KmsDecryptAnswer, type KmsOptions } from '../../../../enclave/keys/release/awsKms.ts';
import { openEnvelopedData } from '../../../../enclave/keys/release/envelopedData.ts';
import { ReleaseError } from '../../../../enclave/keys/release/errors.ts';
import { kmsOverHttp } from '../../../../enclave/keys/release/kmsHttp.ts';
import { signPost } from '../../../../enclave/keys/release/signatureV4.ts';
import { envelope, type EnvelopeChanges, serve, toPublicKey } from '../../../support/keyServices.ts';
import { mintNitroAuthority } from '../../../support/nitroAuthority.ts';
import { PROPERTY_TIMEOUT, propertyRuns } from '../../../support/runs.ts';

const DATA_KEY = randomBytes(32);
const WANTED = { model: 'tiny', keyName: 'alias/models', wrapped: randomBytes(180) };
const NOW = Date.parse('2026-11-21T12:00:00Z');
const authority = await mintNitroAuthority();
const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
/** The key of every request that is refused: those that get a key make theirs. */
const requestKey = generateKeyPairSync('rsa', { modulusLength: 2048 });
const makeKey = () => Promise.resolve(requestKey);

/** What the hypervisor signs for a public key, with more where a test wants it. */
function attesting(more: Readonly<Record<string, unknown>> = {}): KmsOptions['attest'] {
  return (key) => authority.mint({ public_key: key, ...more });
}

/** KMS as far as it is used: it encrypts to the key in the document. */
function kms(changes: EnvelopeChanges = {}, plaintext: Uint8Array = DATA_KEY): KmsOptions['decrypt'] {
  return ({ recipient }) => {
    const { publicKey: key } = parseNitroDocument(recipient.attestationDocument);
    return Promise.resolve({
      plaintext: new Uint8Array(0),
      ciphertextForRecipient: envelope(plaintext, toPublicKey(key!), changes),
    });
  };
}

const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'released',
    (error: unknown) => (error instanceof ReleaseError ? error.code : String(error)),
  );

function openingCode(bytes: Uint8Array): string {
  try {
    openEnvelopedData(bytes, privateKey);
    return 'opened';
  } catch (error) {
    return error instanceof ReleaseError ? error.code : String(error);
  }
}

describe('AWS KMS', () => {
  test.each(['indefinite', 'definite'] as const)(
    'releases a key in an envelope of %s lengths',
    async (form) => {
      const key = await askKms({ attest: attesting(), decrypt: kms({ form }) }, WANTED);
      expect(Buffer.from(key).equals(DATA_KEY)).toBe(true);
    },
  );

  test('is asked with another RSA key each time', async () => {
    const asked: string[] = [];
    const attest: KmsOptions['attest'] = (key) => {
      asked.push(createHash('sha256').update(key).digest('hex'));
      return attesting()(key);
    };
    for (let i = 0; i < 2; i++) await askKms({ attest, decrypt: kms() }, WANTED);
    expect(new Set(asked).size).toBe(2);
  });

  test.each<[string, Readonly<Record<string, unknown>>]>([
    ['no public key, as service evidence has none', { public_key: null, user_data: randomBytes(64) }],
    ['the public key and report data of the service', { user_data: randomBytes(64) }],
    ['the public key and a nonce', { nonce: randomBytes(32) }],
    ['another public key', { public_key: publicKey.export({ type: 'spki', format: 'der' }) }],
  ])('is not asked with a document that has %s', async (_name, more) => {
    let asked = false;
    const decrypt: KmsOptions['decrypt'] = (request) => {
      asked = true;
      return kms()(request);
    };
    expect(await codeOf(askKms({ attest: attesting(more), decrypt, makeKey }, WANTED))).toBe(
      'ATTESTATION_FAILED',
    );
    expect(asked).toBe(false);
  });

  test('is not asked with what is no document', async () => {
    const attest = () => Promise.resolve(randomBytes(100));
    expect(await codeOf(askKms({ attest, decrypt: kms(), makeKey }, WANTED))).toBe('ATTESTATION_FAILED');
  });

  test.each<[string, KmsDecryptAnswer, string]>([
    ['the key in clear', { plaintext: randomBytes(32), ciphertextForRecipient: undefined }, 'BAD_ANSWER'],
    ['nothing', { plaintext: undefined, ciphertextForRecipient: undefined }, 'BAD_ANSWER'],
    [
      'an envelope for another key',
      { plaintext: undefined, ciphertextForRecipient: envelope(DATA_KEY, publicKey) },
      'NOT_FOR_US',
    ],
  ])('that answers %s is refused', async (_name, answer, code) => {
    const decrypt = () => Promise.resolve(answer);
    expect(await codeOf(askKms({ attest: attesting(), decrypt, makeKey }, WANTED))).toBe(code);
  });

  test.each([0, 16, 31, 33, 64])('that releases %i bytes is refused', async (length) => {
    const decrypt = kms({}, randomBytes(length));
    expect(await codeOf(askKms({ attest: attesting(), decrypt, makeKey }, WANTED))).toBe('BAD_ANSWER');
  });
});

describe('an enveloped key', () => {
  const SHA1 = Buffer.from('300906052b0e03021a0500', 'hex');

  test.each<[string, EnvelopeChanges]>([
    ['two recipients', { recipients: 2 }],
    ['no recipient', { recipients: 0 }],
    ['attributes', { attributes: true }],
    ['OAEP with SHA-1', { hash: SHA1 }],
    ['a cipher of 128 bits', { cipherOid: '608648016503040102' }],
    ['a content key of 16 bytes', { contentKey: randomBytes(16) }],
    ['a content key of 33 bytes', { contentKey: randomBytes(33) }],
  ])('with %s is refused', (_name, changes) => {
    expect(openingCode(envelope(DATA_KEY, publicKey, changes))).toBe('BAD_ANSWER');
  });

  test('that is cut anywhere, or has bytes after it, is refused', () => {
    for (const form of ['definite', 'indefinite'] as const) {
      const whole = envelope(DATA_KEY, publicKey, { form });
      for (let length = 0; length < whole.length; length += 7) {
        expect(openingCode(whole.subarray(0, length))).toBe('BAD_ANSWER');
      }
      expect(openingCode(Buffer.concat([whole, Buffer.alloc(1)]))).toBe('BAD_ANSWER');
    }
    expect(openingCode(Buffer.alloc(20_000))).toBe('BAD_ANSWER');
  });

  test('of endless nesting is refused', () => {
    expect(openingCode(Buffer.from('3080'.repeat(4000), 'hex'))).toBe('BAD_ANSWER');
    expect(openingCode(Buffer.concat([Buffer.from('30822000', 'hex'), Buffer.alloc(0x2000)]))).toBe(
      'BAD_ANSWER',
    );
  });

  test(
    'of any bytes, or with any byte changed, is refused with a coded error or opens',
    () => {
      const valid = envelope(DATA_KEY, publicKey);
      const bytes = fc.oneof(
        fc.uint8Array({ maxLength: 300 }),
        fc.tuple(fc.nat(valid.length - 1), fc.nat(255)).map(([at, byte]) => {
          const changed = Uint8Array.from(valid);
          changed[at] = byte;
          return changed;
        }),
      );
      fc.assert(
        fc.property(bytes, (encoded) => {
          expect(['opened', 'BAD_ANSWER', 'NOT_FOR_US']).toContain(openingCode(encoded));
        }),
        propertyRuns(300),
      );
    },
    PROPERTY_TIMEOUT,
  );

  const hasOpenssl = spawnSync('openssl', ['version']).status === 0;
  (hasOpenssl ? test : test.skip)(
    `of another implementation opens${hasOpenssl ? '' : ' (skipped: no openssl)'}`,
    () => {
      const folder = mkdtempSync(join(tmpdir(), 'vouchsafe-cms-'));
      const at = (name: string): string => join(folder, name);
      const openssl = (...words: string[]): void => {
        execFileSync('openssl', words, { stdio: 'ignore' });
      };
      try {
        writeFileSync(at('plain'), DATA_KEY);
        openssl('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-keyout', at('key.pem'), '-out', at('cert.pem'), '-subj', '/CN=recipient'); // prettier-ignore
        const oaep = ['rsa_padding_mode:oaep', 'rsa_oaep_md:sha256', 'rsa_mgf1_md:sha256'];
        const options = oaep.flatMap((option) => ['-keyopt', option]);
        for (const stream of [['-stream'], []]) {
          openssl('cms', '-encrypt', '-binary', '-aes256', '-outform', 'DER', '-keyid', ...stream, '-in', at('plain'), '-out', at('out'), '-recip', at('cert.pem'), ...options); // prettier-ignore
          const opened = openEnvelopedData(
            readFileSync(at('out')),
            createPrivateKey(readFileSync(at('key.pem'))),
          );
          expect(Buffer.from(opened).equals(DATA_KEY)).toBe(true);
        }
      } finally {
        rmSync(folder, { recursive: true });
      }
    },
  );
});

describe('KMS over HTTP', () => {
  const credentials = { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: 'not-a-secret', sessionToken: 'token' };
  const options = (address: string) => ({
    service: { address, timeoutMs: 5_000 },
    region: 'eu-central-1',
    credentials: () => Promise.resolve(credentials),
    now: () => NOW,
  });

  async function bodyOf(request: IncomingMessage): Promise<string> {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    return Buffer.concat(chunks).toString();
  }

  test('sends what Decrypt takes, signed, and reads what it gives', async () => {
    let headers: IncomingMessage['headers'] = {};
    let body: unknown;
    const address = await serve((request, response) => {
      void bodyOf(request).then((text) => {
        headers = request.headers;
        body = JSON.parse(text) as unknown;
        const { Recipient } = body as { Recipient: { AttestationDocument: string } };
        const { publicKey: key } = parseNitroDocument(Buffer.from(Recipient.AttestationDocument, 'base64'));
        const sealed = envelope(DATA_KEY, toPublicKey(key!)).toString('base64');
        response.setHeader('content-type', 'application/x-amz-json-1.1');
        response.end(
          JSON.stringify({ CiphertextForRecipient: sealed, KeyId: 'arn:aws:kms:key', Plaintext: '' }),
        );
      });
    });
    const decrypt = kmsOverHttp(options(address));
    const key = await askKms({ attest: attesting(), decrypt }, WANTED);
    expect(Buffer.from(key).equals(DATA_KEY)).toBe(true);
    expect(body).toMatchObject({
      KeyId: 'alias/models',
      CiphertextBlob: WANTED.wrapped.toString('base64'),
      Recipient: { KeyEncryptionAlgorithm: 'RSAES_OAEP_SHA_256' },
    });
    expect(headers).toMatchObject({
      'x-amz-target': 'TrentService.Decrypt',
      'content-type': 'application/x-amz-json-1.1',
      'x-amz-date': '20261121T120000Z',
      'x-amz-security-token': 'token',
      authorization: expect.stringMatching(
        /^AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE\/20261121\/eu-central-1\/kms\/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-security-token;x-amz-target, Signature=[0-9a-f]{64}$/,
      ) as unknown,
    });
  });

  test.each<[string, number, string, string]>([
    ['AccessDeniedException', 400, '{"__type":"AccessDeniedException"}', 'REFUSED'],
    ['no credentials', 401, '{}', 'REFUSED'],
    ['no JSON', 200, 'hello', 'BAD_ANSWER'],
    ['no base64', 200, '{"CiphertextForRecipient":"*"}', 'BAD_ANSWER'],
    ['another form', 200, '{"CiphertextForRecipient":1}', 'BAD_ANSWER'],
    ['nothing for the recipient', 200, '{"Plaintext":""}', 'BAD_ANSWER'],
    ['a huge body', 200, `{"CiphertextForRecipient":"${'A'.repeat(100_000)}"}`, 'BAD_ANSWER'],
  ])('refuses %s', async (_name, status, body, code) => {
    const address = await serve((_request, response) => response.writeHead(status).end(body));
    const decrypt = kmsOverHttp(options(address));
    expect(await codeOf(askKms({ attest: attesting(), decrypt }, WANTED))).toBe(code);
  });

  test('signs as the test suite of Signature Version 4 has it (post-vanilla)', async () => {
    const { authorization } = await signPost({
      host: 'example.amazonaws.com',
      region: 'us-east-1',
      service: 'service',
      headers: {},
      body: new Uint8Array(0),
      credentials: {
        accessKeyId: 'AKIDEXAMPLE',
        secretAccessKey: 'wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY',
      },
      now: Date.parse('2015-08-30T12:36:00Z'),
    });
    expect(authorization).toContain(
      'SignedHeaders=host;x-amz-date, Signature=5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b',
    );
  });
});
