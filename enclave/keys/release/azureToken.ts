import { z } from 'zod';
import { utf8 } from '../../../attestation/bytes/bytes.ts';
import type { AzureOptions } from './azure.ts';
import { ReleaseError } from './errors.ts';
import { exchange, type Fetch, readJson } from './exchange.ts';

/** A token of Azure Attestation has some ten thousand characters. */
const MAX_TOKEN_ANSWER_BYTES = 256 * 1024;
/** A name of the key for the reader of the token: the vault takes the key by its use. */
const KEY_ID = 'vouchsafe-key-release';

const answerSchema = z.object({ token: z.string().min(1) });

export interface AzureTokenOptions {
  /** The `skr` sidecar of microsoft/confidential-sidecar-containers in the same group of containers. */
  readonly address: string;
  /** Host of the attestation provider that the release policy names, such as `sharedweu.weu.attest.azure.net`. */
  readonly authority: string;
  readonly fetch?: Fetch | undefined;
}

/**
 * Tokens of Azure Attestation by way of the sidecar, which asks the hardware and the provider: `POST /attest/maa`. What
 * the runtime data say comes back in the claim `x-ms-runtime`; that the token has the key of the request is checked by
 * who uses it. A false sidecar gets no key: the vault judges the provider's signature.
 */
export function azureTokens({ address, authority, fetch }: AzureTokenOptions): AzureOptions['attest'] {
  return async (publicKey) => {
    const runtimeData = JSON.stringify({ keys: [{ ...publicKey, kid: KEY_ID, key_ops: ['encrypt'] }] });
    const { body } = await exchange(
      { address, fetch },
      {
        method: 'POST',
        path: '/attest/maa',
        contentType: 'application/json',
        body: utf8(
          JSON.stringify({
            maa_endpoint: authority,
            runtime_data: Buffer.from(runtimeData).toString('base64'),
          }),
        ),
        maxBytes: MAX_TOKEN_ANSWER_BYTES,
      },
    );
    const answer = answerSchema.safeParse(readJson(body, 'the answer of the sidecar'));
    if (answer.success) return answer.data.token;
    throw new ReleaseError('BAD_ANSWER', 'the answer of the attestation sidecar has no token');
  };
}
