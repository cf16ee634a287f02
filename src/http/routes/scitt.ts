import { toHex } from '../../../attestation/bytes/bytes.ts';
import { encodeDc } from '../../../attestation/cbor/deterministic.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { sha256With } from '../../../attestation/crypto/provider.ts';
import { Refusal, type RefusalCode } from '../../../attestation/errors.ts';
import { leafHash } from '../../../attestation/log/merkle.ts';
import { STATEMENT_MEDIA_TYPE } from '../../../attestation/log/transparentStatement.ts';
import { entryKindOf } from '../../../attestation/receipt/entryKind.ts';
import { VouchingError } from '../../receipts/errors.ts';
import { Registrar, type Registered } from '../../receipts/registrar.ts';
import { mediaType, readBody } from '../body.ts';
import { CACHE, cacheable } from '../caching.ts';
import { dialectOf } from '../dialect.ts';
import { type Action, type Answer, type Context, endpoint, type Route } from '../endpoint.ts';
import { ServiceError, type ServiceErrorCode } from '../errors.ts';
import { type NamedKey, nameKey, RetiredKeys } from '../retiredKeys.ts';
import type { Service } from '../service.ts';
import { logReceipt } from './scittReceipts.ts';

const COSE_MEDIA_TYPE = 'application/cose';
const CBOR_MEDIA_TYPE = 'application/cbor';
const RECEIPT_ID = /^[0-9a-f]{32}$/;
/** Log index and the first 16 bytes of the leaf hash: an index alone would name what another log has there. */
const LOCATOR = /^(0|[1-9][0-9]{0,14})-([0-9a-f]{32})$/;

const sha256 = sha256With(nodeCrypto);

/** The API of a SCITT transparency service (draft-ietf-scitt-scrapi). */
export function scittRoutes(service: Service): readonly Route[] {
  const { config, vouching } = service;
  const registrar = config.scitt.enabled ? new Registrar(vouching, config.scitt) : undefined;
  const route = (method: Route['method'], path: string, name: string, action: Action): Route => ({
    method,
    path,
    handler: endpoint(service, { route: name, dialect: dialectOf(path) }, action),
  });
  const findKeys = servedKeys(service);
  return [
    route('post', '/entries', 'registration', register(service, registrar)),
    route('get', '/entries/:id', 'entry', entryReceipt(service)),
    route('get', '/.well-known/scitt-keys', 'scitt keys', keys(findKeys)),
    route('get', '/.well-known/scitt-keys/:kid', 'scitt keys', key(findKeys)),
    route('get', '/.well-known/scitt-policy', 'scitt policy', policy(registrar)),
  ];
}

/** `POST /entries`: answers when statement and record are durable, with the receipt and its place. */
function register(service: Service, registrar: Registrar | undefined): Action {
  const { admission, gate } = service;
  return async ({ request }) => {
    const tenant = gate.tenantOf(request);
    if (!registrar) throw new ServiceError('REGISTRATION_OFF', 'statements are not registered here');
    const type = mediaType(request.headers['content-type']);
    if (type !== COSE_MEDIA_TYPE && type !== STATEMENT_MEDIA_TYPE) {
      throw new ServiceError('CONTENT_TYPE_UNSUPPORTED', `the body is not declared as ${COSE_MEDIA_TYPE}`);
    }
    // Bodies take places, which bounds their memory.
    admission.enter(tenant);
    try {
      const bytes = await readBody(request, service.config.scitt.maxBytes);
      const registered = await registrar.register(bytes, tenant ?? 'anonymous').catch(throwRefused);
      const headers = { location: `/entries/${locatorOf(registered)}` };
      return { ...(await receiptAnswer(service, registered.index)), status: 201, headers };
    } finally {
      admission.leave(tenant);
    }
  };
}

function throwRefused(error: unknown): never {
  throw error instanceof Refusal ? refused(error) : error;
}

const REFUSED: Partial<Record<RefusalCode, ServiceErrorCode>> = {
  MALFORMED: 'STATEMENT_INVALID',
  EVIDENCE_INCOMPLETE: 'STATEMENT_PAYLOAD',
  ALGORITHM_MISMATCH: 'STATEMENT_ALGORITHM',
};

function refused({ code, message }: Refusal): ServiceError {
  return new ServiceError(REFUSED[code] ?? 'STATEMENT_REFUSED', `${code}: ${message}`);
}

function locatorOf({ index, entry }: Registered): string {
  return `${index}-${leafPrefix(entry)}`;
}

function leafPrefix(entry: Uint8Array): string {
  return toHex(leafHash(sha256, entry).subarray(0, 16));
}

/**
 * `GET /entries/{id}`: the COSE Receipt of a registered statement by its locator, or of an own answer by the id of
 * its receipt. It holds hashes alone, never an entry.
 */
function entryReceipt(service: Service): Action {
  return async ({ request }) => {
    const { id } = request.params;
    const text = typeof id === 'string' ? id : '';
    const index = RECEIPT_ID.test(text)
      ? ownIndex(service, text, request)
      : await foreignIndex(service, text, request);
    if (index === undefined) throw new ServiceError('ENTRY_NOT_FOUND', 'no such entry is known for this key');
    return receiptAnswer(service, index);
  };
}

async function receiptAnswer(service: Service, index: number): Promise<Answer> {
  return { status: 200, contentType: COSE_MEDIA_TYPE, body: await logReceipt(service, index) };
}

function ownIndex({ gate, vouching }: Service, id: string, request: Context['request']): number | undefined {
  const tenant = gate.tenantOf(request);
  try {
    return vouching.indexOf(id, tenant);
  } catch (error) {
    if (error instanceof VouchingError && error.code === 'RECEIPT_NOT_FOUND') return undefined;
    throw error;
  }
}

/** Only what was registered is found so: leaf hashes are public, and receipts of tenants have them, too. */
async function foreignIndex(
  { gate, vouching }: Service,
  locator: string,
  request: Context['request'],
): Promise<number | undefined> {
  gate.roleOf(request);
  const [, digits, prefix] = LOCATOR.exec(locator) ?? [];
  const index = Number(digits);
  if (digits === undefined || index >= vouching.log.durableSize) return undefined;
  const entry = await vouching.log.entry(index);
  return leafPrefix(entry) === prefix && entryKindOf(entry) === 'foreign' ? index : undefined;
}

type FindKeys = () => Promise<readonly NamedKey[]>;

/** The keys of this instance first, then those of former ones, newest first. */
function servedKeys({ vouching, logs }: Service): FindKeys {
  const retired = new RetiredKeys(logs.former);
  return async () => {
    const own = vouching.keysets.map(({ inclusion }) => nameKey(inclusion));
    return [...own, ...(await retired.all()).toReversed()];
  };
}

/** `GET /.well-known/scitt-keys`: a COSE Key Set. Unauthenticated: keys are taken from verified evidence. */
function keys(find: FindKeys): Action {
  return async ({ request }) => {
    const body = encodeDc((await find()).map(({ key }) => key));
    return cacheable(request, { status: 200, contentType: CBOR_MEDIA_TYPE, body }, CACHE.shortly);
  };
}

/** `GET /.well-known/scitt-keys/{kid}`, the kid in base64url: it is a thumbprint and no text. */
function key(find: FindKeys): Action {
  return async ({ request }) => {
    const found = (await find()).find(({ name }) => name === request.params['kid']);
    if (!found) throw new ServiceError('KEY_NOT_FOUND', 'no key has this kid');
    const body = encodeDc(found.key);
    return cacheable(request, { status: 200, contentType: CBOR_MEDIA_TYPE, body }, CACHE.shortly);
  };
}

/** `GET /.well-known/scitt-policy`: what the log has the SHA-256 of. */
function policy(registrar: Registrar | undefined): Action {
  return ({ request }) => {
    if (!registrar) throw new ServiceError('REGISTRATION_OFF', 'statements are not registered here');
    const answer = { status: 200, contentType: 'application/json', body: registrar.policy };
    return cacheable(request, answer, CACHE.shortly);
  };
}
