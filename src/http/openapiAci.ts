import { answer, failure, KEYED, open, path } from './openapiParts.ts';

const OFF = failure('This service does not speak ACI, or has no such receipt for this key');

/** Attested Confidential Inference (aci/1) beside our own protocol. */
export const ACI_PATHS: Readonly<Record<string, object>> = {
  '/v1/aci/attestation': {
    get: {
      ...open('ACI: a CPU report of its own for a nonce', answer('The attestation report'), {
        400: failure('The nonce is not 64 lower-case hex digits'),
        404: OFF,
        429: failure('Too many wait for a report'),
        501: failure('ACI has no form for reports of this platform'),
        503: failure('The hardware gave no evidence'),
      }),
      parameters: [
        {
          name: 'nonce',
          in: 'query',
          description: 'Without it the report proves no freshness.',
          schema: { type: 'string', pattern: '^[0-9a-f]{64}$' },
        },
      ],
    },
  },
  '/v1/aci/receipts/{id}': {
    get: {
      summary: 'ACI: the receipt of an answer, for an hour',
      security: KEYED,
      parameters: [path('id', { type: 'string', description: 'X-Receipt-Id, or the id of the answer' })],
      responses: { 200: answer('The receipt'), 401: failure('No API key'), 404: OFF },
    },
  },
};
