import { status } from '@grpc/grpc-js';
import { ARCHIVE_REFUSALS, type ArchiveRefusal } from '../http/archiveErrors.ts';
import type { ServiceErrorCode } from '../http/errors.ts';

/** By the HTTP status: calls over gRPC meet those of content that cannot be kept now, the rest is for HTTP alone. */
const BY_HTTP: Readonly<Record<number, status>> = {
  400: status.INVALID_ARGUMENT,
  403: status.PERMISSION_DENIED,
  404: status.NOT_FOUND,
  500: status.INTERNAL,
  503: status.UNAVAILABLE,
};

const ARCHIVE_STATUSES = Object.fromEntries(
  Object.entries(ARCHIVE_REFUSALS).map(([code, [http]]) => [
    code,
    BY_HTTP[http] ?? status.FAILED_PRECONDITION,
  ]),
) as Readonly<Record<ArchiveRefusal, status>>;

/** The gRPC status of every refusal. The codes themselves travel in `vouchsafe-code`. */
export const STATUSES = {
  API_KEY_MISSING: status.UNAUTHENTICATED,
  API_KEY_INVALID: status.UNAUTHENTICATED,
  AUDITOR_KEY_REQUIRED: status.UNAUTHENTICATED,
  ROLE_FORBIDDEN: status.PERMISSION_DENIED,
  ADMIN_KEY_REQUIRED: status.UNAUTHENTICATED,
  NOT_FOUND: status.UNIMPLEMENTED,
  METHOD_NOT_ALLOWED: status.UNIMPLEMENTED,
  PATH_INVALID: status.UNIMPLEMENTED,
  CONTENT_TYPE_UNSUPPORTED: status.INVALID_ARGUMENT,
  CONTENT_ENCODING_UNSUPPORTED: status.UNIMPLEMENTED,
  BODY_TOO_LARGE: status.RESOURCE_EXHAUSTED,
  BODY_INCOMPLETE: status.INVALID_ARGUMENT,
  BODY_INVALID: status.INVALID_ARGUMENT,
  NONCE_INVALID: status.INVALID_ARGUMENT,
  MODEL_NOT_FOUND: status.NOT_FOUND,
  VERSION_NOT_FOUND: status.NOT_FOUND,
  MODEL_BUSY: status.FAILED_PRECONDITION,
  MODEL_UNLOADABLE: status.FAILED_PRECONDITION,
  DATATYPE_UNSUPPORTED: status.INVALID_ARGUMENT,
  PARAMETER_UNSUPPORTED: status.INVALID_ARGUMENT,
  SHAPE_MISMATCH: status.INVALID_ARGUMENT,
  FRAMING_INVALID: status.INVALID_ARGUMENT,
  INVALID_INPUT: status.INVALID_ARGUMENT,
  CHAT_TEMPLATE_MISSING: status.FAILED_PRECONDITION,
  UNSUPPORTED_TASK: status.FAILED_PRECONDITION,
  OVERLOADED: status.RESOURCE_EXHAUSTED,
  TOO_MANY_NONCES: status.RESOURCE_EXHAUSTED,
  STOPPING: status.UNAVAILABLE,
  NOT_VOUCHING: status.UNAVAILABLE,
  EVIDENCE_UNAVAILABLE: status.UNAVAILABLE,
  RECEIPT_NOT_FOUND: status.NOT_FOUND,
  LOG_RANGE: status.NOT_FOUND,
  LOG_UNREADABLE: status.UNAVAILABLE,
  LOG_NOT_FOUND: status.NOT_FOUND,
  ENTRY_NOT_FOUND: status.NOT_FOUND,
  KEY_NOT_FOUND: status.NOT_FOUND,
  REGISTRATION_OFF: status.NOT_FOUND,
  STATEMENT_REFUSED: status.INVALID_ARGUMENT,
  STATEMENT_ALGORITHM: status.INVALID_ARGUMENT,
  STATEMENT_PAYLOAD: status.INVALID_ARGUMENT,
  STATEMENT_INVALID: status.INVALID_ARGUMENT,
  OPERATOR_STATEMENT_REFUSED: status.INVALID_ARGUMENT,
  ...ARCHIVE_STATUSES,
  SEALED_MALFORMED: status.INVALID_ARGUMENT,
  SEALED_PATH_MISMATCH: status.INVALID_ARGUMENT,
  SEALED_REPLAY: status.INVALID_ARGUMENT,
  SEALED_FULL: status.UNAVAILABLE,
  CANCELLED: status.CANCELLED,
  DEADLINE_EXCEEDED: status.DEADLINE_EXCEEDED,
  ENGINE_UNAVAILABLE: status.UNAVAILABLE,
  ENGINE_FAILED: status.INTERNAL,
  INTERNAL: status.INTERNAL,
} as const satisfies Record<ServiceErrorCode, status>;

/** Trailing metadata with the stable code of a refusal. */
export const CODE_NAME = 'vouchsafe-code';

/** What grpc-js refuses before or after the call is ours, as our codes say it. */
export const LIBRARY_CODES: Partial<Record<status, ServiceErrorCode>> = {
  [status.RESOURCE_EXHAUSTED]: 'BODY_TOO_LARGE',
  [status.UNIMPLEMENTED]: 'CONTENT_ENCODING_UNSUPPORTED',
  [status.DEADLINE_EXCEEDED]: 'DEADLINE_EXCEEDED',
  [status.INTERNAL]: 'BODY_INVALID',
};
