import { z } from 'zod';
import { fromBase64, toBase64, utf8 } from '../../../attestation/bytes/bytes.ts';
import { Refusal } from '../../../attestation/errors.ts';
import type { KmsOptions } from './awsKms.ts';
import { ReleaseError } from './errors.ts';
import { exchange, type KeyService, readJson } from './exchange.ts';
import { type AwsCredentials, signPost } from './signatureV4.ts';

const JSON_TYPE = 'application/x-amz-json-1.1';
const TARGET = 'TrentService.Decrypt';
/** An enveloped key of at most 16 KiB in base64, and the names around it. */
const MAX_ANSWER_BYTES = 32 * 1024;

const answerSchema = z.object({
  Plaintext: z.string().nullish(),
  CiphertextForRecipient: z.string().nullish(),
});

export interface KmsHttpOptions {
  /** `https://kms.<region>.amazonaws.com`, or an endpoint in the VPC. */
  readonly service: KeyService;
  readonly region: string;
  readonly credentials: () => Promise<AwsCredentials>;
  readonly now: () => number;
}

/** Decrypt of AWS KMS over HTTP. */
export function kmsOverHttp({ service, region, credentials, now }: KmsHttpOptions): KmsOptions['decrypt'] {
  return async ({ keyId, ciphertextBlob, recipient }) => {
    const body = utf8(
      JSON.stringify({
        KeyId: keyId,
        CiphertextBlob: toBase64(ciphertextBlob),
        Recipient: {
          AttestationDocument: toBase64(recipient.attestationDocument),
          KeyEncryptionAlgorithm: recipient.keyEncryptionAlgorithm,
        },
      }),
    );
    const headers = await signPost({
      host: new URL(service.address).host,
      region,
      service: 'kms',
      headers: { 'content-type': JSON_TYPE, 'x-amz-target': TARGET },
      body,
      credentials: await credentials(),
      now: now(),
    });
    const answer = await exchange(
      { ...service, apiKey: undefined },
      { method: 'POST', path: '/', headers, body, maxBytes: MAX_ANSWER_BYTES },
    );
    const parsed = answerSchema.safeParse(readJson(answer.body, 'the answer of KMS'));
    if (!parsed.success) throw new ReleaseError('BAD_ANSWER', 'the answer of KMS has another form');
    const { Plaintext: plaintext, CiphertextForRecipient: ciphertext } = parsed.data;
    return { plaintext: readBytes(plaintext), ciphertextForRecipient: readBytes(ciphertext) };
  };
}

function readBytes(text: string | null | undefined): Uint8Array | undefined {
  try {
    return text === null || text === undefined ? undefined : fromBase64(text);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    throw new ReleaseError('BAD_ANSWER', 'the answer of KMS has another form');
  }
}
