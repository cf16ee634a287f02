import { toHex } from '../../../attestation/bytes/bytes.ts';
import { KEY_ANSWER_TYPE, KEY_REQUEST_TYPE } from '../../../attestation/channel/keyRelease.ts';
import { KeyReleaseError, type KeyReleaser } from '../../receipts/keyReleaser.ts';
import { mediaType, readBody } from '../body.ts';
import { type Action, type Context, endpoint, json, type Route } from '../endpoint.ts';
import { ServiceError, type ServiceErrorCode } from '../errors.ts';
import type { Service } from '../service.ts';

/** An evidence document of 4 MiB and the collateral of 64 devices. */
const MAX_BODY_BYTES = 24 * 1024 * 1024;
/** Bodies are large and an appraisal takes tens of milliseconds: more at once only wait for each other. */
const MAX_AT_ONCE = 4;

/** Release of data keys to attested instances, where this node does that. */
export function keyReleaseRoutes(service: Service): readonly Route[] {
  const post = (path: string, route: string, action: Action): Route => ({
    method: 'post',
    path,
    handler: endpoint(service, { route, dialect: 'ours' }, action),
  });
  return [
    post('/v1/key-release/nonce', 'key release nonce', giveNonce(service)),
    post('/v1/key-release', 'key release', releaseKey(service)),
  ];
}

/** `POST /v1/key-release/nonce`: a nonce for one request. */
function giveNonce(service: Service): Action {
  return ({ request }) => {
    service.gate.tenantOf(request);
    const { nonce, seconds } = give(service);
    return json({ format: 'vouchsafe/key-release-nonce/1', nonce: toHex(nonce), seconds });
  };
}

function give(service: Service): ReturnType<KeyReleaser['nonce']> {
  try {
    return requireReleaser(service).nonce();
  } catch (error) {
    throw toRefusal(error);
  }
}

/** `POST /v1/key-release`: evidence for that nonce in, the data key sealed to its keyset out. */
function releaseKey(service: Service): Action {
  const { gate, log } = service;
  let busy = 0;
  return async ({ request }: Context) => {
    const tenant = gate.tenantOf(request);
    const releaser = requireReleaser(service);
    if (mediaType(request.headers['content-type']) !== KEY_REQUEST_TYPE) {
      throw new ServiceError('CONTENT_TYPE_UNSUPPORTED', `the body is not declared as ${KEY_REQUEST_TYPE}`);
    }
    if (busy >= MAX_AT_ONCE) throw new ServiceError('OVERLOADED', `${MAX_AT_ONCE} releases are under way`);
    busy++;
    try {
      const body = Uint8Array.from(await readBody(request, MAX_BODY_BYTES));
      const { answer, release } = await releaser.release(body, tenant ?? 'anonymous');
      log.info('data key released', release);
      return { status: 200, contentType: KEY_ANSWER_TYPE, body: answer };
    } catch (error) {
      if (error instanceof KeyReleaseError) {
        log.warn('data key not released', { code: error.code, reason: error.message, tenant });
      }
      throw toRefusal(error);
    } finally {
      busy--;
    }
  };
}

function requireReleaser({ keyReleaser }: Service): KeyReleaser {
  if (keyReleaser) return keyReleaser;
  throw new ServiceError('KEY_RELEASE_OFF', 'this node releases no keys');
}

const CODES = {
  REQUEST_MALFORMED: 'KEY_REQUEST_INVALID',
  NONCE_UNKNOWN: 'KEY_NONCE_UNKNOWN',
  NONCES_EXHAUSTED: 'TOO_MANY_NONCES',
  EVIDENCE_REFUSED: 'KEY_RELEASE_REFUSED',
  EVIDENCE_NOT_JUDGED: 'KEY_RELEASE_REFUSED',
  KEY_UNKNOWN: 'WRAPPING_KEY_UNKNOWN',
  KEY_REFUSED: 'WRAPPED_KEY_REFUSED',
} as const satisfies Record<KeyReleaseError['code'], ServiceErrorCode>;

function toRefusal(error: unknown): unknown {
  if (!(error instanceof KeyReleaseError)) return error;
  return new ServiceError(CODES[error.code], `${error.code}: ${error.message}`);
}
