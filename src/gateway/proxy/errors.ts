import { ClientError, type ClientErrorCode } from '../../client/errors.ts';

/** Why the proxy itself gave no answer: HTTP status, and what a person can do about it. Codes are stable. */
export const PROXY_ERRORS = {
  NO_UPSTREAM: [
    503,
    'No upstream is accepted, and nothing of the request was sent. GET /status of the proxy says why; it keeps trying.',
  ],
  STOPPING: [503, 'The proxy is stopping. Start it again.'],
  OVERLOADED: [429, 'The proxy has as many requests as it takes. Ask again later.'],
  NOT_FOUND: [
    404,
    'The proxy has the inference paths of OpenAI under /v1, those of the Open Inference Protocol under /v2, GET /v1/models and GET /status.',
  ],
  METHOD_NOT_ALLOWED: [405, 'Use a method of the header Allow.'],
  HOST_REFUSED: [
    421,
    'Ask by the address that the proxy printed at its start: another name may be a page that wants to use it.',
  ],
  ORIGIN_REFUSED: [403, 'Pages of other origins get no answers: use the proxy from a program.'],
  CONTENT_TYPE_UNSUPPORTED: [415, 'Send JSON with Content-Type: application/json.'],
  CONTENT_ENCODING_UNSUPPORTED: [415, 'Send the body without compression.'],
  API_KEY_INVALID: [401, 'An API key is at most 4,096 visible characters of ASCII, after the word Bearer.'],
  BODY_TOO_LARGE: [413, 'Send less in one request, or start the proxy with a larger --max-body.'],
  BODY_INCOMPLETE: [400, 'Send the whole body.'],
  BODY_INVALID: [400, 'Send one JSON object in UTF-8, without duplicate names.'],
  REDACTION_UNSUPPORTED: [
    400,
    'Personal data is found in text only. Send text, or start the proxy without --redact.',
  ],
  REDACTION_FAILED: [500, 'Nothing was sent. Start the proxy without --redact to send text as it is.'],
  INTERNAL: [500, 'Report this with the log of the proxy.'],
} as const satisfies Record<string, readonly [number, string]>;

export type ProxyErrorCode = keyof typeof PROXY_ERRORS;

export interface ProxyErrorDetails extends ErrorOptions {
  /** Seconds after which asking again makes sense. */
  readonly retryAfter?: number;
  /** Methods that the path has, for `METHOD_NOT_ALLOWED`. */
  readonly allow?: string;
}

/** A failure of the proxy itself. */
export class ProxyError extends Error {
  readonly code: ProxyErrorCode;
  readonly retryAfter: number | undefined;
  readonly allow: string | undefined;

  constructor(code: ProxyErrorCode, message: string, details: ProxyErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'ProxyError';
    this.code = code;
    this.retryAfter = details.retryAfter;
    this.allow = details.allow;
  }
}

/** A failure as the caller is told it. */
export interface Failure {
  readonly status: number;
  readonly code: ProxyErrorCode | ClientErrorCode;
  readonly message: string;
  readonly advice: string;
  readonly retryAfter: number | undefined;
  readonly allow: string | undefined;
  /** Asking again gives the same: clients that retry by themselves are told so. */
  readonly isFinal: boolean;
}

/** Of clients of OpenAI's API: they retry 5xx by themselves unless this says otherwise. */
const STATUSES: Partial<Record<ClientErrorCode, number>> = {
  KEYSET_CHANGED: 503,
  EVIDENCE_REFUSED: 503,
  EVIDENCE_NOT_JUDGED: 503,
  EVIDENCE_STALE: 503,
  REQUEST_UNSUPPORTED: 400,
  REQUEST_UNSEALABLE: 400,
  STORE_FAILED: 500,
  STORE_FULL: 500,
};
const BAD_GATEWAY = 502;
/** What was refused once may not be asked for again and again until something passes. */
const FINAL: readonly ClientErrorCode[] = [
  'RESPONSE_REFUSED',
  'TLS_REFUSED',
  'RECEIPT_MISSING',
  'RECEIPT_REFUSED',
  'RECEIPT_NOT_JUDGED',
];

export function failureOf(error: unknown): Failure {
  if (error instanceof ProxyError) {
    const [status, advice] = PROXY_ERRORS[error.code];
    const { code, message, retryAfter, allow } = error;
    return { status, code, message, advice, retryAfter, allow, isFinal: false };
  }
  if (error instanceof ClientError) {
    const { code, message, advice } = error;
    const isFinal = FINAL.includes(code);
    return {
      status: STATUSES[code] ?? BAD_GATEWAY,
      code,
      message,
      advice,
      retryAfter: undefined,
      allow: undefined,
      isFinal,
    };
  }
  return failureOf(new ProxyError('INTERNAL', 'the proxy failed'));
}

/** The failure in the form of the API of a path: the Open Inference Protocol's below /v2, else OpenAI's. */
export function failureBody(path: string, { status, code, message, advice }: Failure): object {
  if (path.startsWith('/v2/')) return { error: `${code}: ${message}. ${advice}` };
  return { error: { message: `${message}. ${advice}`, type: typeOf(status), param: null, code } };
}

function typeOf(status: number): string {
  if (status === 401) return 'authentication_error';
  if (status === 429) return 'rate_limit_error';
  return status < 500 ? 'invalid_request_error' : 'server_error';
}

/** Errors of a connection that was never made: nothing was sent over it. */
const NEVER_CONNECTED: readonly unknown[] = [
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'EHOSTDOWN',
  'UND_ERR_CONNECT_TIMEOUT',
];
/** Errors before a request is sealed. */
const NOT_SEALED: readonly ClientErrorCode[] = [
  'EVIDENCE_REFUSED',
  'EVIDENCE_NOT_JUDGED',
  'EVIDENCE_STALE',
  'SUITE_UNAVAILABLE',
  'TLS_REFUSED',
];
/** Errors in errors. */
const MAX_DEPTH = 4;

/**
 * Whether nothing of a request was sent: there was no connection, or its evidence was refused when it was renewed. Then
 * another upstream may be asked.
 */
export function isUnsent(error: unknown): boolean {
  if (error instanceof ProxyError) return error.code === 'NO_UPSTREAM';
  if (!(error instanceof ClientError)) return false;
  if (error.code === 'UNREACHABLE') return neverConnected(error.cause);
  return NOT_SEALED.includes(error.code);
}

function neverConnected(cause: unknown, depth = 0): boolean {
  if (typeof cause !== 'object' || cause === null || depth > MAX_DEPTH) return false;
  const { code, syscall, cause: inner } = cause as NodeJS.ErrnoException;
  if (NEVER_CONNECTED.includes(code) || (code === 'ETIMEDOUT' && syscall === 'connect')) return true;
  return neverConnected(inner, depth + 1);
}
