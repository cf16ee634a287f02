import { CHUNKED_REQUEST_TYPE, CHUNKED_RESPONSE_TYPE } from '../../attestation/channel/ohttp/chunked.ts';
import { GATEWAY_PATH, KEYS_TYPE } from '../../attestation/channel/ohttp/keyConfig.ts';
import { REQUEST_TYPE, RESPONSE_TYPE } from '../../attestation/channel/ohttp/whole.ts';
import { answer, content, failure, open } from './openapiParts.ts';

/** Oblivious HTTP: what a request asks for, and with which key, is under its seal. */
export const OBLIVIOUS_PATHS: Readonly<Record<string, object>> = {
  [GATEWAY_PATH]: {
    get: open('Key configuration of the gateway, unauthenticated', answer('Key configurations', KEYS_TYPE), {
      304: { description: 'As known' },
    }),
    post: {
      summary: 'Inference, evidence, models and receipts for callers who hide who they are',
      security: [],
      requestBody: {
        required: true,
        content: { ...content(REQUEST_TYPE), ...content(CHUNKED_REQUEST_TYPE) },
      },
      responses: {
        200: {
          description: 'The answer, sealed; its status is inside',
          content: { ...content(RESPONSE_TYPE), ...content(CHUNKED_RESPONSE_TYPE) },
        },
        400: {
          description: 'The request does not open under the current keys',
          content: content('application/problem+json'),
        },
        409: failure('The request was taken before'),
        413: failure('The body is too large'),
        415: failure('The body is no request of Oblivious HTTP'),
        429: failure('Too many requests'),
        503: failure('No request can be opened now'),
      },
    },
  },
};
