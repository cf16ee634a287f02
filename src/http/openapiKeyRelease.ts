import { KEY_ANSWER_TYPE, KEY_REQUEST_TYPE } from '../../attestation/channel/keyRelease.ts';
import { answer, content, failure, KEYED } from './openapiParts.ts';

const UNKNOWN_KEY = failure('No or unknown API key');
const OFF = failure('This node releases no keys, or has no key of this name');

/** Release of data keys of sealed models. */
export const KEY_RELEASE_PATHS: Readonly<Record<string, object>> = {
  '/v1/key-release/nonce': {
    post: {
      summary: 'A nonce for one release of a data key',
      security: KEYED,
      responses: {
        200: answer('Nonce, and for how many seconds it is good'),
        401: UNKNOWN_KEY,
        404: OFF,
        429: failure('Too many nonces are out'),
      },
    },
  },
  '/v1/key-release': {
    post: {
      summary: 'Releases a data key to an instance whose evidence is accepted',
      security: KEYED,
      requestBody: { required: true, content: content(KEY_REQUEST_TYPE) },
      responses: {
        200: answer('The data key, sealed to the keyset of the evidence', KEY_ANSWER_TYPE),
        400: failure('The request is malformed'),
        401: UNKNOWN_KEY,
        403: failure('The evidence is not accepted'),
        404: OFF,
        409: failure('The nonce is unknown, was used, or has ended'),
        413: failure('The body is too large'),
        415: failure('The body is no key request'),
        422: failure('The data key was wrapped by another key'),
        429: failure('Too many requests'),
        503: failure('The release cannot be logged now'),
      },
    },
  },
};
