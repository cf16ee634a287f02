import { LOG_RECEIPT_MEDIA_TYPE, STATEMENT_MEDIA_TYPE } from '../../attestation/log/transparentStatement.ts';
import { OPERATOR_STATEMENT_TYPE } from '../../attestation/operator/statement.ts';
import { SOFTWARE } from '../config/package.ts';
import { CHAT, COMPLETIONS, EMBEDDINGS, GENERATE, INFER, RESPONSES } from './requestSchemas.ts';
import { ACI_PATHS } from './openapiAci.ts';
import { ARCHIVE_PATHS } from './openapiArchive.ts';
import { CONSOLE_PATHS } from './openapiConsole.ts';
import { KEY_RELEASE_PATHS } from './openapiKeyRelease.ts';
import { LOG_PATHS } from './openapiLog.ts';
import { OBLIVIOUS_PATHS } from './openapiOblivious.ts';
import { answer, content, failure, JSON_TYPE, KEYED, keyed, open, path } from './openapiParts.ts';
import { BUNDLE_MEDIA_TYPE, RECEIPT_MEDIA_TYPE } from './routes/receipts.ts';

const NONCE = { type: 'string', pattern: '^[0-9a-f]{64}$', description: '32 bytes in hex, not all zero' };
const NONCE_HEADER = { name: 'Vouchsafe-Nonce', in: 'header', schema: NONCE };
const FRESH_HEADER = {
  name: 'Vouchsafe-Fresh',
  in: 'header',
  description: 'Wait until a later evidence document covers the receipt.',
  schema: { type: 'string', enum: ['?1'] },
};
const RECEIPT_HEADER = {
  name: 'Vouchsafe-Receipt',
  in: 'header',
  description: 'Under a seal: have the receipt come with the answer.',
  schema: { type: 'string', enum: ['?1'] },
};
const VERSION = path('version', { type: 'string', enum: ['1'] });
const MODEL = path('model', { type: 'string' });
const RECEIPT_ID = path('id', { type: 'string', pattern: '^[0-9a-f]{32}$' });

const RECEIPT_HEADERS = {
  'Vouchsafe-Receipt-Id': { description: 'Id of the receipt, 32 hex digits', schema: { type: 'string' } },
  'Vouchsafe-Commitment-Key': {
    description: 'Key that opens the commitments of the receipt, base64url. Nobody else has it.',
    schema: { type: 'string' },
  },
  'Vouchsafe-Evidence': { description: 'Digest of the cited evidence document', schema: { type: 'string' } },
  'Vouchsafe-Fresh': { description: '?1: covered; ?0: not in time', schema: { type: 'string' } },
};

function inference(
  summary: string,
  body: object,
  parameters: readonly object[] = [],
  stream = false,
): object {
  const type = { [JSON_TYPE]: {}, ...(stream && { 'text/event-stream': {} }) };
  return {
    summary,
    security: KEYED,
    parameters: [...parameters, NONCE_HEADER, FRESH_HEADER, RECEIPT_HEADER],
    requestBody: {
      required: true,
      content: { [JSON_TYPE]: { schema: body }, 'application/vouchsafe-sealed': {} },
    },
    responses: {
      200: { description: 'The answer; its receipt is durable', headers: RECEIPT_HEADERS, content: type },
      400: failure('The request cannot be answered'),
      401: failure('No or unknown API key'),
      404: failure('No such model'),
      409: failure('The sealed request was taken before'),
      413: failure('The body is too large'),
      415: failure('The body is no JSON'),
      422: { description: 'The seal does not open', content: content('application/problem+json') },
      429: failure('Too many requests'),
      500: failure('The model failed'),
      503: failure('No answer can be vouched for now'),
      504: failure('Out of time'),
    },
  };
}

/** Inference that takes and gives raw tensors after the JSON, too. */
function tensors(parameters: readonly object[]): object {
  const described = inference(INFER_SUMMARY, INFER, [...parameters, JSON_LENGTH]) as {
    requestBody: { content: object };
    responses: { 200: { content: object } };
  };
  Object.assign(described.requestBody.content, content('application/octet-stream'));
  Object.assign(described.responses[200].content, content('application/octet-stream'));
  return described;
}

/** Inference whose whole answers are errors. */
function events(parameters: readonly object[]): object {
  const described = inference(STREAM_SUMMARY, GENERATE, parameters) as {
    responses: { 200: { content: object } };
  };
  described.responses[200].content = content('text/event-stream');
  return described;
}

const JSON_LENGTH = {
  name: 'Inference-Header-Content-Length',
  in: 'header',
  description: 'Bytes of JSON before the raw tensors; 0: the body is one raw tensor.',
  schema: { type: 'integer', minimum: 0 },
};

/** A route of the model repository. */
function repository(summary: string, parameters: readonly object[], properties: object): object {
  return {
    summary,
    security: KEYED,
    parameters,
    requestBody: { content: { [JSON_TYPE]: { schema: { type: 'object', properties } } } },
    responses: {
      200: answer('Done'),
      400: failure('The request or the model is refused'),
      401: failure('The admin key is needed'),
      404: failure('No such model'),
      409: failure('The model is being loaded or unloaded'),
    },
  };
}

const GENERATE_SUMMARY = 'Text in, text out';
const STREAM_SUMMARY = 'Text in, text out as it comes; the last event has no text';
const INFER_SUMMARY = 'Tensors in, tensors out';
const DESCRIBE = 'Inputs and outputs of a model';
const READY = 'Whether a model can be asked';

/** `GET /openapi.json`. Every route is here; a test compares. */
export const OPENAPI = {
  openapi: '3.1.0',
  info: {
    title: SOFTWARE.name,
    version: SOFTWARE.version,
    description: 'Inference with receipts: each answer is signed inside attested hardware.',
  },
  components: { securitySchemes: { apiKey: { type: 'http', scheme: 'bearer' } } },
  paths: {
    '/v1/embeddings': { post: inference('Embeddings as OpenAI has them', EMBEDDINGS) },
    '/v1/completions': { post: inference('Completions as OpenAI has them', COMPLETIONS, [], true) },
    '/v1/chat/completions': { post: inference('Chats as OpenAI has them: text', CHAT, [], true) },
    '/v1/responses': { post: inference('Responses as OpenAI has them: text', RESPONSES, [], true) },
    '/v1/models': { get: keyed('Models', [], answer('All models')) },
    '/v1/models/{model}': { get: keyed('One model', [MODEL], answer('The model')) },
    '/v1/attestation': {
      get: {
        ...open('Evidence made for a nonce', answer('Evidence, place of the nonce, collateral'), {
          400: failure('No usable nonce'),
          429: failure('Too many nonces wait'),
          503: failure('The hardware gave no evidence'),
        }),
        parameters: [{ name: 'nonce', in: 'query', required: true, schema: NONCE }],
      },
    },
    '/v1/keyset': { get: open('Keys of this instance, unauthenticated', answer('The keyset')) },
    '/v1/receipts/{id}': {
      get: keyed('A receipt', [RECEIPT_ID, FRESH_HEADER], answer('COSE_Sign1', RECEIPT_MEDIA_TYPE)),
    },
    '/v1/receipts/{id}/statement': {
      get: keyed(
        'A receipt as a SCITT transparent statement',
        [RECEIPT_ID, FRESH_HEADER],
        answer('COSE_Sign1 with a COSE Receipt', STATEMENT_MEDIA_TYPE),
      ),
    },
    '/v1/receipts/{id}/inclusion': {
      get: keyed(
        'Place of a receipt in the log',
        [RECEIPT_ID, FRESH_HEADER],
        answer('COSE Receipt', LOG_RECEIPT_MEDIA_TYPE),
      ),
    },
    '/v1/receipts/{id}/bundle': {
      get: keyed(
        'A receipt with all that a verifier needs',
        [RECEIPT_ID, FRESH_HEADER],
        answer('Bundle', BUNDLE_MEDIA_TYPE),
      ),
    },
    '/v1/operator-statement': {
      put: {
        summary: 'Has the evidence carry a statement of whoever answers for this instance',
        security: KEYED,
        requestBody: { required: true, content: content(OPERATOR_STATEMENT_TYPE) },
        responses: {
          200: answer('The first evidence document that carries it'),
          400: failure('The statement is refused'),
          401: failure('The admin key is needed'),
          413: failure('The body is too large'),
          415: failure('The body is no operator statement'),
          503: failure('No evidence can be made now'),
        },
      },
    },
    '/v1/keys/rotate': {
      post: {
        summary: 'Has new keys follow those in use',
        security: KEYED,
        responses: {
          200: answer('The new generation, and the first evidence that vouches for it'),
          401: failure('The admin key is needed'),
          503: failure('No evidence can be made now: the former keys go on'),
        },
      },
    },
    ...LOG_PATHS,
    ...KEY_RELEASE_PATHS,
    ...OBLIVIOUS_PATHS,
    ...ACI_PATHS,
    ...ARCHIVE_PATHS,
    ...CONSOLE_PATHS,
    '/v2': { get: keyed('This server', [], answer('Name, version, extensions')) },
    '/v2/health/live': { get: open('Whether the process answers', answer('It does')) },
    '/v2/health/ready': { get: open('Whether requests are answered', answer('Yes'), { 503: failure('No') }) },
    '/v2/models/{model}': { get: keyed(DESCRIBE, [MODEL], answer('The model')) },
    '/v2/models/{model}/versions/{version}': { get: keyed(DESCRIBE, [MODEL, VERSION], answer('The model')) },
    '/v2/models/{model}/ready': { get: keyed(READY, [MODEL], answer('It can')) },
    '/v2/models/{model}/versions/{version}/ready': { get: keyed(READY, [MODEL, VERSION], answer('It can')) },
    '/v2/repository/index': {
      post: repository('Models of the store and their states', [], { ready: { type: 'boolean' } }),
    },
    '/v2/repository/models/{model}/load': {
      post: repository('Loads a model, or loads it anew', [MODEL], { parameters: { type: 'object' } }),
    },
    '/v2/repository/models/{model}/unload': {
      post: repository('Unloads a model once its requests have ended', [MODEL], {
        parameters: { type: 'object', properties: { unload_dependents: { type: 'boolean' } } },
      }),
    },
    '/v2/models/{model}/infer': { post: tensors([MODEL]) },
    '/v2/models/{model}/versions/{version}/infer': { post: tensors([MODEL, VERSION]) },
    '/v2/models/{model}/generate': { post: inference(GENERATE_SUMMARY, GENERATE, [MODEL]) },
    '/v2/models/{model}/versions/{version}/generate': {
      post: inference(GENERATE_SUMMARY, GENERATE, [MODEL, VERSION]),
    },
    '/v2/models/{model}/generate_stream': { post: events([MODEL]) },
    '/v2/models/{model}/versions/{version}/generate_stream': { post: events([MODEL, VERSION]) },
    '/livez': { get: open('Whether the process answers', answer('It does')) },
    '/readyz': {
      get: open('What stands in the way of answers', answer('Nothing'), { 503: failure('The obstacles') }),
    },
    '/metrics': {
      get: { ...open('Metrics for Prometheus', answer('Metrics', 'text/plain')), security: KEYED },
    },
    '/.well-known/hpke-keys': {
      get: open(
        'The X25519 key of the keyset in use, as clients of EHBP read it; what it is worth says only the evidence',
        answer('One bare key configuration (RFC 9458 section 3.1)', 'application/ohttp-keys'),
      ),
    },
    '/verify': {
      get: open('The verifier as one page that needs no network', answer('The page', 'text/html')),
    },
    '/console': {
      get: open(
        'The console of operators as one page; what it shows needs the admin key',
        answer('The page', 'text/html'),
      ),
    },
    '/openapi.json': { get: open('This document', answer('OpenAPI 3.1')) },
  },
} as const;
