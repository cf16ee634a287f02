import { LOG_RECEIPT_MEDIA_TYPE } from '../../attestation/log/transparentStatement.ts';
import { answer, content, failure, KEYED, open, path } from './openapiParts.ts';

const OCTETS = 'application/octet-stream';
const COSE = 'application/cose';
const PROBLEM = 'application/concise-problem-details+cbor';

const INSTANCE = path('instance', { type: 'string', pattern: '^[0-9a-f]{32}$' });
const TILE = path('tile', { type: 'string', description: '<L>/<N>[.p/<W>] or entries/<N>[.p/<W>]' });
const OUT_OF_RANGE = { 404: failure('Beyond the published log, or no such log') };
const NOT_AUDITOR = {
  401: failure('The key of an auditor is needed'),
  403: failure('A key of another role'),
};

function number(name: string): object {
  return { name, in: 'query', required: true, schema: { type: 'integer', minimum: 0 } };
}

/** What anybody may read of a log. */
function shared(summary: string, parameters: readonly object[], ok: object, more: object = {}): object {
  return {
    ...open(summary, ok, { 304: { description: 'As known' }, ...OUT_OF_RANGE, ...more }),
    parameters,
  };
}

/** What auditors alone may read. */
function audited(summary: string, parameters: readonly object[], ok: object): object {
  return { ...shared(summary, parameters, ok, NOT_AUDITOR), security: KEYED };
}

/** A log as C2SP tlog-tiles below its prefix. */
function tree(prefix: string, where: readonly object[]): Readonly<Record<string, object>> {
  return {
    [`${prefix}/checkpoint`]: {
      get: shared('Newest published checkpoint', where, answer('Signed note', 'text/plain')),
    },
    [`${prefix}/tile/{tile}`]: {
      get: {
        ...shared(
          'Tile of hashes, or bundle of entries',
          [...where, TILE],
          answer('Tile', OCTETS),
          NOT_AUDITOR,
        ),
        description: 'Bundles of entries are for auditors.',
        security: [{}, ...KEYED],
      },
    },
    [`${prefix}/proof/inclusion`]: {
      get: audited('Inclusion proof', [...where, number('index'), number('size')], answer('Path in base64')),
    },
    [`${prefix}/proof/consistency`]: {
      get: shared('Consistency proof', [...where, number('from'), number('to')], answer('Path in base64')),
    },
  };
}

/** What lies beside the entries of an instance. */
function files(prefix: string, where: readonly object[]): Readonly<Record<string, object>> {
  const get = (summary: string, pattern: string, ok: object): object => ({
    get: audited(summary, [...where, path('file', { type: 'string', pattern })], ok),
  });
  const number = '(0|[1-9][0-9]{0,14})';
  const digest = '[0-9a-f]{64}';
  return {
    [`${prefix}/evidence/{file}`]: get(
      'Evidence document, or the digest of its collateral',
      `^${number}\\.(cbor|collateral)$`,
      answer('Document', OCTETS),
    ),
    [`${prefix}/collateral/{file}`]: get(
      'Collateral by digest',
      `^${digest}\\.cbor$`,
      answer('Collateral', OCTETS),
    ),
    [`${prefix}/anchors`]: { get: audited('Sizes that outsiders saw', where, answer('Ascending')) },
    [`${prefix}/anchors/{file}`]: get('Anchor by size', `^${number}\\.cbor$`, answer('Anchor', OCTETS)),
    [`${prefix}/acts/{file}`]: get('Ids of an act', `^${digest}\\.cbor$`, answer('Ids', OCTETS)),
  };
}

function scrapi(summary: string, ok: object, more: object = {}): object {
  const refusal = { description: 'Refused', content: content(PROBLEM) };
  return { summary, security: KEYED, responses: { ...ok, 401: refusal, 404: refusal, ...more } };
}

const REGISTRATION = {
  ...scrapi(
    'Registers a signed statement (off by default)',
    { 201: answer('COSE Receipt; Location names the entry', COSE) },
    {
      400: { description: 'The statement is refused', content: content(PROBLEM) },
      413: { description: 'The statement is too large', content: content(PROBLEM) },
      415: { description: 'Not declared as COSE', content: content(PROBLEM) },
      503: { description: 'Nothing can be logged now', content: content(PROBLEM) },
    },
  ),
  requestBody: { required: true, content: content(COSE) },
};

/** The log and the transparency service. */
export const LOG_PATHS = {
  '/log': { get: shared('The log of this instance', [], answer('Origin, key, size')) },
  '/log/vkey': { get: shared('Key of checkpoints, unauthenticated', [], answer('vkey', 'text/plain')) },
  '/log/receipt/inclusion': {
    get: audited(
      'COSE Receipt',
      [number('index'), number('size')],
      answer('RFC 9942', LOG_RECEIPT_MEDIA_TYPE),
    ),
  },
  '/log/receipt/consistency': {
    get: audited('COSE Receipt', [number('from'), number('to')], answer('RFC 9942', LOG_RECEIPT_MEDIA_TYPE)),
  },
  '/log/instances': { get: shared('Logs of all instances', [], answer('Instances, oldest first')) },
  '/log/instances/{instance}': { get: shared('One log', [INSTANCE], answer('Origin and size')) },
  ...tree('/log', []),
  ...tree('/log/instances/{instance}', [INSTANCE]),
  ...files('/log/instances/{instance}', [INSTANCE]),
  '/entries': { post: REGISTRATION },
  '/entries/{id}': {
    get: {
      ...scrapi('COSE Receipt of an entry', { 200: answer('RFC 9942', COSE) }),
      parameters: [path('id', { type: 'string' })],
    },
  },
  '/.well-known/scitt-keys': {
    get: shared('Keys of COSE Receipts', [], answer('COSE Key Set', 'application/cbor')),
  },
  '/.well-known/scitt-keys/{kid}': {
    get: {
      ...scrapi('Key of COSE Receipts', { 200: answer('COSE_Key', 'application/cbor') }),
      security: [],
      parameters: [path('kid', { type: 'string' })],
    },
  },
  '/.well-known/scitt-policy': { get: shared('Registration policy', [], answer('The policy')) },
} as const;
