import { answer, content, failure, JSON_TYPE, KEYED, path } from './openapiParts.ts';
import { BUNDLE_MEDIA_TYPE, RECEIPT_MEDIA_TYPE } from './routes/receipts.ts';

const ID = path('id', { type: 'string', pattern: '^[0-9a-f]{32}$' });
const DIGEST = path('digest', { type: 'string', pattern: '^[0-9a-f]{64}$' });

const UNAVAILABLE = { 503: failure('The archive does not answer now; it loses nothing') };

/** What a key of a tenant, an auditor or an admin reads: tenants their own alone. */
function read(summary: string, parameters: readonly object[], ok: object): object {
  const responses = {
    200: ok,
    401: failure('No or unknown API key'),
    404: failure('Not there for this key, or the archive is off'),
    ...UNAVAILABLE,
  };
  return { summary, security: KEYED, parameters, responses };
}

/** What auditors and admins alone read. */
function audited(summary: string, ok: object, parameters: readonly object[] = []): object {
  const responses = {
    200: ok,
    401: failure('The key of an auditor is needed'),
    403: failure('A key of another role'),
    404: failure('Not there, or the archive is off'),
    ...UNAVAILABLE,
  };
  return { summary, security: KEYED, parameters, responses };
}

/** What the admin key alone does; it is signed and logged before it takes effect. */
function admin(summary: string, schema: object, parameters: readonly object[] = []): object {
  return {
    summary,
    security: KEYED,
    parameters,
    requestBody: { required: true, content: { [JSON_TYPE]: { schema } } },
    responses: {
      200: answer('Done'),
      201: answer('Done'),
      400: failure('The request is refused'),
      401: failure('The admin key is needed'),
      404: failure('Not there, or the archive is off'),
      409: failure('A hold or the minimum retention keeps it'),
      410: failure('Erased before'),
      ...UNAVAILABLE,
    },
  };
}

const TEXT = { type: 'string' };
const TIME = { description: 'Seconds since 1970, or RFC 3339', type: ['integer', 'string'] };
const RULE = { type: 'string', minLength: 1, maxLength: 256, description: 'Rule that it is done under' };
const SCOPE = {
  type: 'object',
  required: ['rule'],
  properties: { receipt: TEXT, tenant: TEXT, from: TIME, to: TIME, rule: RULE },
};

const FILTERS = [
  'from',
  'to',
  'model',
  'tenant',
  'device',
  'tcb',
  'chip',
  'platform',
  'policy',
  'outcome',
  'instance',
  'limit',
  'cursor',
].map((name) => ({ name, in: 'query', required: false, schema: TEXT }));

/** Paths of the archive. */
export const ARCHIVE_PATHS = {
  '/v1/archive/receipts': {
    get: read(
      'Receipts of all instances, oldest first, in pages',
      FILTERS,
      answer('Rows, and the next cursor'),
    ),
  },
  '/v1/archive/receipts/{id}': {
    get: read('A receipt', [ID], answer('COSE_Sign1', RECEIPT_MEDIA_TYPE)),
  },
  '/v1/archive/receipts/{id}/facts': {
    get: read('What the index says of a receipt', [ID], answer('The row')),
  },
  '/v1/archive/receipts/{id}/bundle': {
    get: read('A receipt with all that a verifier needs', [ID], answer('Bundle', BUNDLE_MEDIA_TYPE)),
  },
  '/v1/archive/receipts/{id}/content': {
    get: read('Request, answer and commitment key, where they were kept', [ID], answer('base64url')),
  },
  '/v1/archive/receipts/{id}/claim': {
    post: {
      ...read('Claims a receipt whose tenant a crash took away', [ID], answer('Claimed')),
      requestBody: { required: true, content: content(JSON_TYPE) },
    },
  },
  '/v1/archive/status': {
    get: audited('State of the archive and of the line of instances', answer('State')),
  },
  '/v1/archive/holds': {
    get: audited('Legal holds', answer('Newest first')),
    post: admin('Places a legal hold on what all members match', SCOPE),
  },
  '/v1/archive/holds/{id}/lift': {
    post: admin('Lifts a legal hold', { type: 'object', required: ['rule'], properties: { rule: RULE } }, [
      ID,
    ]),
  },
  '/v1/archive/erasures': { post: admin('Erases content with its keys', SCOPE) },
  '/v1/archive/acts': { get: audited('Acts, each of them in the log', answer('Newest first')) },
  '/v1/archive/policies': {
    get: audited('Registered policies', answer('Newest first')),
    post: admin('Registers the policy that receipts are indexed under from now on', { type: 'object' }),
  },
  '/v1/archive/policies/{digest}': { get: audited('Text of a policy', answer('The policy'), [DIGEST]) },
} as const;
