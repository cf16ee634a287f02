import { createPublicKey, randomBytes } from 'node:crypto';
import { describe, expect, test } from '@jest/globals';
import { parseNitroDocument } from '../../../../attestation/evidence/nitro/parse.ts';
import {
  type DataKeyOptions,
  dataKeySource,
  type SealedModel,
} from '../../../../enclave/keys/release/dataKeys.ts';
import { ReleaseError } from '../../../../enclave/keys/release/errors.ts';
import { unwrapDataKey, wrapDataKey } from '../../../../src/models/sealed/wrappedKey.ts';
import { envelope, serve, toPublicKey, unsignedJws, wrapKeyMaterial } from '../../../support/keyServices.ts';
import { mintNitroAuthority } from '../../../support/nitroAuthority.ts';

const [WRAPPING, DATA_KEY] = [randomBytes(32), randomBytes(32)];
const authority = await mintNitroAuthority();

const NOBODY: DataKeyOptions = {
  from: 'none',
  attester: {
    attest: () => Promise.reject(new Error('not asked')),
    collateral: () => Promise.reject(new Error('not asked')),
    hpkeKeys: () => [],
  },
  unwrap: unwrapDataKey,
  now: () => Date.parse('2026-11-21T12:00:00Z'),
};

function model(holder: string, name: string, wrapped: Uint8Array): SealedModel {
  return { id: 'tiny', sealed: { key: { holder, name, wrapped } } };
}

const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => 'released',
    (error: unknown) => (error instanceof ReleaseError ? error.code : String(error)),
  );

/** Every server here answers a body as a whole. */
function answering(answer: (body: string, url: string) => unknown): Promise<string> {
  return serve((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () =>
      response.end(JSON.stringify(answer(Buffer.concat(chunks).toString(), request.url!))),
    );
  });
}

describe('the source of data keys', () => {
  test('asks AWS KMS with a document of its own', async () => {
    const address = await answering((body) => {
      const { Recipient } = JSON.parse(body) as { Recipient: { AttestationDocument: string } };
      const { publicKey } = parseNitroDocument(Buffer.from(Recipient.AttestationDocument, 'base64'));
      return { CiphertextForRecipient: envelope(DATA_KEY, toPublicKey(publicKey!)).toString('base64') };
    });
    const options: DataKeyOptions = {
      ...NOBODY,
      from: 'aws-kms',
      address,
      region: 'eu-central-1',
      accessKeyId: 'AKIDEXAMPLE',
      secretAccessKey: 'not-a-secret',
      nitroDocument: (key) => authority.mint({ public_key: key }),
    };
    const asked = model('aws-kms', 'alias/models', randomBytes(180));
    expect(Buffer.from(await dataKeySource(options)(asked)).equals(DATA_KEY)).toBe(true);
    expect(await codeOf(dataKeySource({ ...options, region: undefined })(asked))).toBe('REFUSED');
    expect(await codeOf(dataKeySource({ ...options, secretAccessKey: undefined })(asked))).toBe('REFUSED');
  });

  test('unwraps with the key of Azure, and overwrites that', async () => {
    const name = `models/${'0'.repeat(32)}`;
    const sidecar = await answering((body, url) => {
      const { maa_endpoint, runtime_data } = JSON.parse(body) as Record<string, string>;
      expect([url, maa_endpoint]).toEqual(['/attest/maa', 'provider.attest.example']);
      const claims = JSON.parse(Buffer.from(runtime_data!, 'base64').toString()) as object;
      return { token: unsignedJws({ 'x-ms-runtime': claims }) };
    });
    const address = await answering((body, url) => {
      const { target, enc, nonce } = JSON.parse(body) as { target: string; enc: string; nonce: string };
      const claims = JSON.parse(Buffer.from(target.split('.')[1]!, 'base64url').toString()) as {
        'x-ms-runtime': { keys: [object] };
      };
      const [key] = claims['x-ms-runtime'].keys;
      const recipient = createPublicKey({ key: { ...key }, format: 'jwk' });
      const ciphertext = wrapKeyMaterial(recipient, WRAPPING).toString('base64url');
      const keyHsm = Buffer.from(JSON.stringify({ ciphertext })).toString('base64url');
      const kid = `https://vault${url.replace(/\/release.*/, '')}`;
      return {
        value: unsignedJws({ request: { enc, nonce }, response: { key: { key: { kid, key_hsm: keyHsm } } } }),
      };
    });
    const wrappings: Uint8Array[] = [];
    const options: DataKeyOptions = {
      ...NOBODY,
      from: 'azure',
      address,
      attestationAddress: sidecar,
      attestationAuthority: 'provider.attest.example',
      unwrap: (wrapping, ...rest) => {
        wrappings.push(wrapping);
        return unwrapDataKey(wrapping, ...rest);
      },
    };
    const asked = model('azure', name, wrapDataKey(WRAPPING, name, DATA_KEY));
    expect(Buffer.from(await dataKeySource(options)(asked)).equals(DATA_KEY)).toBe(true);
    expect(wrappings.map((bytes) => bytes.every((byte) => byte === 0))).toEqual([true]);
  });

  test.each([
    ['answers without a token', '{"error": "no report"}', 'BAD_ANSWER'],
    ['answers no JSON', 'token', 'BAD_ANSWER'],
    [
      'gives a token with a key of its own',
      JSON.stringify({ token: unsignedJws({ keys: [] }) }),
      'ATTESTATION_FAILED',
    ],
  ])('gets nothing where the sidecar of Azure %s', async (_name, body, code) => {
    let asked = 0;
    const address = await answering(() => asked++);
    const attestationAddress = await serve((_request, response) => response.end(body));
    const options = { ...NOBODY, from: 'azure', address, attestationAddress } as const;
    const source = dataKeySource({ ...options, attestationAuthority: 'provider.attest.example' });
    expect(await codeOf(source(model('azure', `models/${'0'.repeat(32)}`, randomBytes(60))))).toBe(code);
    expect(asked).toBe(0);
  });

  test('asks nobody whom the configuration does not name', async () => {
    let asked = 0;
    const address = await answering(() => asked++);
    const code = (options: Partial<DataKeyOptions>, holder: string): Promise<string> =>
      codeOf(dataKeySource({ ...NOBODY, ...options })(model(holder, 'a/b/c', randomBytes(60))));
    expect(await code({}, 'vouchsafe')).toBe('UNREACHABLE');
    expect(await code({ address }, 'vouchsafe')).toBe('UNREACHABLE');
    expect(await code({ from: 'trustee' }, 'trustee')).toBe('UNREACHABLE');
    expect(await code({ from: 'trustee', address }, 'vouchsafe')).toBe('REFUSED');
    expect(await code({ from: 'trustee', address }, 'trustee')).toBe('ATTESTATION_FAILED');
    expect(await code({ from: 'azure', address }, 'azure')).toBe('ATTESTATION_FAILED');
    expect(await codeOf(dataKeySource({ ...NOBODY, from: 'trustee', address })({ id: 'plain' }))).toBe(
      'REFUSED',
    );
    expect(asked).toBe(0);
  });
});
