import type { Outcome, Reason } from '../../attestation/receipt/claims.ts';
import { ArchiveError } from '../archive/errors.ts';
import { LogError, type LogErrorCode } from '../log/errors.ts';
import { EngineError, type EngineErrorCode } from '../engine/engine.ts';
import { ModelError } from '../models/errors.ts';
import { VouchingError } from '../receipts/errors.ts';
import { ARCHIVE_REFUSALS } from './archiveErrors.ts';

/** Every reason for which a request is refused: its status, and what a person can do about it. The codes are stable. */
export const SERVICE_ERRORS = {
  API_KEY_MISSING: [401, 'Send the header Authorization: Bearer <API key>.'],
  API_KEY_INVALID: [401, 'Use a key that the operator has added.'],
  AUDITOR_KEY_REQUIRED: [
    401,
    'Send the key of an auditor as Authorization: Bearer; keys.auditorKeys has them.',
  ],
  ROLE_FORBIDDEN: [403, 'Ask with a key of the role that the message names.'],
  ADMIN_KEY_REQUIRED: [401, 'Send the admin key as Authorization: Bearer; keys.adminKeySha256 sets it.'],
  NOT_FOUND: [404, 'GET /openapi.json lists all routes.'],
  METHOD_NOT_ALLOWED: [405, 'Use a method of the header Allow.'],
  PATH_INVALID: [400, 'Encode the path as RFC 3986 says.'],
  CONTENT_TYPE_UNSUPPORTED: [
    415,
    'Send what GET /openapi.json says for this path, such as JSON with Content-Type: application/json.',
  ],
  CONTENT_ENCODING_UNSUPPORTED: [415, 'Send the body without compression.'],
  BODY_TOO_LARGE: [413, 'Send less in one request; limits.bodyBytes is the bound.'],
  BODY_INCOMPLETE: [400, 'Send the whole body.'],
  BODY_INVALID: [400, 'Send one JSON object in UTF-8, without duplicate names.'],
  NONCE_INVALID: [400, 'A nonce is exactly 32 bytes, 64 lower-case hex digits, and not all zero.'],
  MODEL_NOT_FOUND: [404, 'GET /v1/models lists the models.'],
  VERSION_NOT_FOUND: [404, 'GET /v2/models/{model} lists its versions.'],
  MODEL_BUSY: [409, 'Ask again when the model is loaded or unloaded.'],
  MODEL_UNLOADABLE: [400, 'Correct the files of the model, then load it again.'],
  DATATYPE_UNSUPPORTED: [400, 'GET /v2/models/{model} says the datatype of each tensor.'],
  PARAMETER_UNSUPPORTED: [
    400,
    'Leave the named parameter out; GET /openapi.json lists those that are known.',
  ],
  SHAPE_MISMATCH: [400, 'Send as many values as the shape has elements, flat or nested as the shape is.'],
  FRAMING_INVALID: [
    400,
    'Inference-Header-Content-Length is the length of the JSON; binary_data_size that of each tensor after it.',
  ],
  INVALID_INPUT: [400, 'Correct the named parameter.'],
  CHAT_TEMPLATE_MISSING: [400, 'Use /v1/completions, or add chat_template.jinja to the folder of the model.'],
  UNSUPPORTED_TASK: [400, 'GET /v1/models says what each model does.'],
  OVERLOADED: [429, 'Ask again later.'],
  TOO_MANY_NONCES: [429, 'Ask again later.'],
  STOPPING: [503, 'The service is stopping. Ask again later or another instance.'],
  NOT_VOUCHING: [503, 'No receipt can be issued now, so nothing is answered. GET /readyz says why.'],
  EVIDENCE_UNAVAILABLE: [503, 'The hardware gave no evidence. Ask again later; GET /readyz says why.'],
  RECEIPT_NOT_FOUND: [404, 'Ask with the key that made the request. Old receipts are in the log only.'],
  LOG_RANGE: [
    404,
    'GET /log/checkpoint says how far the log reaches; what comes later follows with its next one.',
  ],
  LOG_UNREADABLE: [503, 'A file of the log is missing or damaged. Tell the operator.'],
  LOG_NOT_FOUND: [404, 'GET /log/instances lists the logs that are served.'],
  ENTRY_NOT_FOUND: [
    404,
    'Ask with the locator of the registration, or with the id and key of an own request.',
  ],
  KEY_NOT_FOUND: [404, 'GET /.well-known/scitt-keys lists the keys.'],
  REGISTRATION_OFF: [404, 'This service registers no statements; scitt.enabled turns it on.'],
  STATEMENT_REFUSED: [400, 'GET /.well-known/scitt-policy says what is registered.'],
  STATEMENT_ALGORITHM: [400, 'Sign with ES256, ES384, ES512 or Ed25519.'],
  STATEMENT_PAYLOAD: [400, 'Send the payload inside the statement.'],
  STATEMENT_INVALID: [400, 'Send one tagged COSE_Sign1 as RFC 9943 has it.'],
  OPERATOR_STATEMENT_REFUSED: [
    400,
    'Sign a statement about this instance with `vouchsafe operator sign`, and send its bytes.',
  ],
  KEY_RELEASE_OFF: [404, 'This node releases no keys; keyRelease.keys and keyRelease.policy turn it on.'],
  KEY_REQUEST_INVALID: [400, 'Ask with a Vouchsafe service of this version.'],
  KEY_NONCE_UNKNOWN: [409, 'POST /v1/key-release/nonce gives a nonce that is good once, for two minutes.'],
  KEY_RELEASE_REFUSED: [403, 'The evidence does not satisfy the policy of this node: the message says why.'],
  WRAPPING_KEY_UNKNOWN: [404, 'Put the key into the folder keyRelease.keys as <name>.key.'],
  WRAPPED_KEY_REFUSED: [422, 'Seal the model with the key of this node, under the same name.'],
  ACI_OFF: [
    404,
    'This service does not speak ACI; aci.enabled turns it on. GET /v1/attestation has evidence.',
  ],
  ACI_PLATFORM_UNSUPPORTED: [
    501,
    'ACI knows reports of TDX and SEV-SNP alone. GET /v1/attestation has evidence of this platform.',
  ],
  SESSION_NOT_ACCEPTED: [412, 'Leave aci_session_ids out: this service answers itself.'],
  ...ARCHIVE_REFUSALS,
  SEALED_MALFORMED: [400, 'Seal the request as the client of this project does.'],
  SEALED_PATH_MISMATCH: [400, 'Send the sealed method and path on the outside, too.'],
  SEALED_REPLAY: [409, 'Seal each request anew.'],
  SEALED_FULL: [
    503,
    'This keyset has taken all sealed requests that it can tell apart. Ask another instance.',
  ],
  PAGE_NOT_BUILT: [503, 'Run `npm run build` where the service is installed, then ask again.'],
  CANCELLED: [499, 'The client went away.'],
  DEADLINE_EXCEEDED: [504, 'Ask for less, or again later.'],
  ENGINE_UNAVAILABLE: [503, 'The engine is being restarted. Ask again later.'],
  ENGINE_FAILED: [500, 'The model failed on this input.'],
  INTERNAL: [500, 'Tell the operator the request id.'],
} as const satisfies Record<string, readonly [number, string]>;

export type ServiceErrorCode = keyof typeof SERVICE_ERRORS;

/** Seconds after which a client may ask again. */
const RETRY_AFTER: Partial<Record<ServiceErrorCode, number>> = {
  OVERLOADED: 1,
  TOO_MANY_NONCES: 1,
  STOPPING: 5,
  NOT_VOUCHING: 5,
  EVIDENCE_UNAVAILABLE: 5,
  ENGINE_UNAVAILABLE: 2,
  ARCHIVE_STORE_UNAVAILABLE: 5,
  ARCHIVE_BLOBS_UNAVAILABLE: 5,
};

/** A refusal of one request. The message names members and bounds, never values of the request. */
export class ServiceError extends Error {
  readonly code: ServiceErrorCode;
  /** Member of the request that is at fault. */
  readonly param: string | undefined;

  constructor(code: ServiceErrorCode, message: string, param?: string) {
    super(message);
    this.name = 'ServiceError';
    this.code = code;
    this.param = param;
  }

  get status(): number {
    return SERVICE_ERRORS[this.code][0];
  }

  /** What a person can do about it. */
  get advice(): string {
    return SERVICE_ERRORS[this.code][1];
  }

  get retryAfter(): number | undefined {
    return RETRY_AFTER[this.code];
  }
}

const ENGINE_CODES = {
  INVALID_INPUT: 'INVALID_INPUT',
  UNKNOWN_MODEL: 'MODEL_NOT_FOUND',
  MODEL_REFUSED: 'ENGINE_UNAVAILABLE',
  MODEL_BUSY: 'MODEL_BUSY',
  QUEUE_FULL: 'OVERLOADED',
  UNSUPPORTED_TASK: 'UNSUPPORTED_TASK',
  CANCELLED: 'CANCELLED',
  DEADLINE_EXCEEDED: 'DEADLINE_EXCEEDED',
  ENGINE_UNAVAILABLE: 'ENGINE_UNAVAILABLE',
  ENGINE_FAILED: 'ENGINE_FAILED',
} as const satisfies Record<EngineErrorCode, ServiceErrorCode>;

/** What reading a log comes to. Whatever else fails there keeps receipts from being issued. */
const LOG_CODES: Partial<Record<LogErrorCode, ServiceErrorCode>> = {
  LOG_CORRUPT: 'LOG_UNREADABLE',
  LOG_OUT_OF_RANGE: 'LOG_RANGE',
};

/** Any failure as a refusal. What nobody foresaw says nothing of itself: its text may hold content. */
export function toServiceError(error: unknown): ServiceError {
  if (error instanceof ServiceError) return error;
  if (error instanceof EngineError) return new ServiceError(ENGINE_CODES[error.code], error.message);
  if (error instanceof ModelError) {
    return new ServiceError('MODEL_UNLOADABLE', `${error.code}: ${error.message}. ${error.advice}`);
  }
  if (error instanceof ArchiveError) return new ServiceError(`ARCHIVE_${error.code}`, error.message);
  if (error instanceof LogError) return new ServiceError(LOG_CODES[error.code] ?? 'NOT_VOUCHING', error.code);
  if (error instanceof VouchingError) {
    const code = error.code === 'ISSUING_STOPPED' ? 'NOT_VOUCHING' : error.code;
    return new ServiceError(code, error.message);
  }
  return new ServiceError('INTERNAL', 'the request failed');
}

/** How an answer ended, as its receipt says. */
export interface Ending {
  readonly outcome: Outcome;
  readonly reason: Reason | undefined;
}

export const COMPLETE: Ending = { outcome: 'complete', reason: undefined };

const ENDINGS: Partial<Record<ServiceErrorCode, Ending>> = {
  INVALID_INPUT: { outcome: 'refused', reason: 'INVALID_INPUT' },
  DATATYPE_UNSUPPORTED: { outcome: 'refused', reason: 'INVALID_INPUT' },
  PARAMETER_UNSUPPORTED: { outcome: 'refused', reason: 'INVALID_INPUT' },
  SHAPE_MISMATCH: { outcome: 'refused', reason: 'INVALID_INPUT' },
  FRAMING_INVALID: { outcome: 'refused', reason: 'INVALID_INPUT' },
  SESSION_NOT_ACCEPTED: { outcome: 'refused', reason: 'INVALID_INPUT' },
  BODY_INVALID: { outcome: 'refused', reason: 'INVALID_INPUT' },
  CHAT_TEMPLATE_MISSING: { outcome: 'refused', reason: 'UNSUPPORTED_TASK' },
  UNSUPPORTED_TASK: { outcome: 'refused', reason: 'UNSUPPORTED_TASK' },
  CANCELLED: { outcome: 'aborted', reason: 'CANCELLED' },
  DEADLINE_EXCEEDED: { outcome: 'error', reason: 'DEADLINE_EXCEEDED' },
  ENGINE_UNAVAILABLE: { outcome: 'error', reason: 'ENGINE_UNAVAILABLE' },
  STOPPING: { outcome: 'error', reason: 'ENGINE_UNAVAILABLE' },
  ENGINE_FAILED: { outcome: 'error', reason: 'ENGINE_FAILED' },
  INTERNAL: { outcome: 'error', reason: 'ENGINE_FAILED' },
};

/** What a receipt says of a failure after admission; undefined where the request was not admitted after all. */
export function endingOf({ code }: ServiceError): Ending | undefined {
  return ENDINGS[code];
}
