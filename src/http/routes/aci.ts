import { type Aci } from '../../receipts/aci/aci.ts';
import { AciPlatformError } from '../../receipts/aci/describe.ts';
import { aciReceiptId } from '../aci.ts';
import { type Action, endpoint, json, type Route } from '../endpoint.ts';
import { ServiceError } from '../errors.ts';
import type { Headed } from '../request.ts';
import type { Service } from '../service.ts';

const NONCE = /^[0-9a-f]{64}$/;

/** Attested Confidential Inference, where it is turned on. */
export function aciRoutes(service: Service): readonly Route[] {
  const get = (path: string, route: string, action: Action): Route => ({
    method: 'get',
    path,
    handler: endpoint(service, { route, dialect: 'aci' }, action),
  });
  return [
    get('/v1/aci/attestation', 'aci attestation', attestation(service)),
    get('/v1/aci/receipts/:id', 'aci receipt', receipt(service)),
  ];
}

/** `GET /v1/aci/attestation?nonce=`: public, as one asks before one trusts. */
function attestation(service: Service): Action {
  return async ({ request }) => {
    const aci = requireAci(service);
    const nonce = readNonce(request.query['nonce']);
    try {
      return json(await aci.report(nonce));
    } catch (error) {
      if (!(error instanceof AciPlatformError)) throw error;
      throw new ServiceError('ACI_PLATFORM_UNSUPPORTED', error.message);
    }
  };
}

/** Null where none is given: then the report proves nothing of its age. A nonce of zeros is one, too. */
function readNonce(value: unknown): string | null {
  if (value === undefined) return null;
  if (typeof value === 'string' && NONCE.test(value)) return value;
  throw new ServiceError('NONCE_INVALID', 'the nonce is not 64 lower-case hex digits', 'nonce');
}

/** `GET /v1/aci/receipts/{id}`, with the key that made the request. */
function receipt(service: Service): Action {
  return async ({ request }) => {
    const aci = requireAci(service);
    const tenant = tenantOf(service, request);
    const id = aciReceiptId(request.params['id']);
    const body = id === undefined ? undefined : await aci.receipt(id, tenant);
    if (!body) throw notFound();
    return { status: 200, contentType: 'application/json', body };
  };
}

/** A wrong key is answered as if there were no receipt; a missing one is not. */
function tenantOf({ gate }: Service, request: Headed): string | undefined {
  try {
    return gate.tenantOf(request);
  } catch (error) {
    if (error instanceof ServiceError && error.code !== 'API_KEY_MISSING') throw notFound();
    throw error;
  }
}

function notFound(): ServiceError {
  return new ServiceError('RECEIPT_NOT_FOUND', 'no receipt with this id was issued for this key');
}

function requireAci({ aci }: Service): Aci {
  if (aci) return aci;
  throw new ServiceError('ACI_OFF', 'this service does not speak ACI');
}
