import { utf8 } from '../../attestation/bytes/bytes.ts';
import { encodeDc } from '../../attestation/cbor/deterministic.ts';
import type { ServiceError, ServiceErrorCode } from './errors.ts';

/** How an API writes its errors. */
export type Dialect = 'ours' | 'openai' | 'aci' | 'oip' | 'grpc' | 'scrapi';

/** The dialect of a path, for errors that no route answers. */
export function dialectOf(path: string): Dialect {
  if (path.startsWith('/v2')) return 'oip';
  if (/^\/(?:entries|\.well-known\/scitt-keys)(?:[/?]|$)/.test(path)) return 'scrapi';
  if (path.startsWith('/v1/aci/')) return 'aci';
  return /^\/v1\/(?:embeddings|completions|chat|responses|models)(?:[/?]|$)/.test(path) ? 'openai' : 'ours';
}

export function errorBody(dialect: Dialect, error: ServiceError): Uint8Array {
  if (dialect === 'scrapi') return encodeProblem(error);
  return utf8(dialect === 'grpc' ? statusText(error) : JSON.stringify(errorValue(dialect, error)));
}

/** Media type of an error. */
export function errorType(dialect: Dialect): string {
  return dialect === 'scrapi' ? 'application/concise-problem-details+cbor' : 'application/json';
}

/** Titles that SCRAPI names; of any other refusal the code is the title. */
const TITLES: Partial<Record<ServiceErrorCode, string>> = {
  STATEMENT_ALGORITHM: 'Bad Signature Algorithm',
  STATEMENT_PAYLOAD: 'Payload Missing',
  STATEMENT_REFUSED: 'Rejected',
  STATEMENT_INVALID: 'Rejected',
  BODY_TOO_LARGE: 'Rejected',
  ENTRY_NOT_FOUND: 'Not Found',
  REGISTRATION_OFF: 'Not Found',
  KEY_NOT_FOUND: 'No such key',
  OVERLOADED: 'Too Many Requests',
};

/** Concise Problem Details (RFC 9290): -1 title, -2 detail. */
function encodeProblem({ code, message, advice }: ServiceError): Uint8Array {
  return encodeDc(
    new Map([
      [-1, TITLES[code] ?? code],
      [-2, `${code}: ${message}. ${advice}`],
    ]),
  );
}

/** The text of a gRPC status. The advice is left out: much of it speaks of HTTP. */
function statusText({ code, message }: ServiceError): string {
  return `${code}: ${message}`;
}

/** The error as a value of JSON. */
export function errorValue(dialect: Dialect, error: ServiceError): object {
  const { code, message, param, advice } = error;
  switch (dialect) {
    case 'ours':
    case 'scrapi':
      return { error: { code, message, advice } };
    case 'openai':
    case 'aci':
      return {
        error: {
          message: `${message}. ${advice}`,
          type: (dialect === 'aci' ? aciType(error) : undefined) ?? openAiType(error),
          param: param ?? null,
          code,
        },
      };
    case 'oip':
      return { error: `${code}: ${message}. ${advice}` };
    case 'grpc':
      return { error: statusText(error) };
  }
}

/** The types that ACI names (its section 10); its other errors have those of OpenAI's API. */
function aciType({ status }: ServiceError): string | undefined {
  if (status === 401) return 'unauthorized';
  return status === 404 ? 'not_found' : undefined;
}

function openAiType({ status, code }: ServiceError): string {
  if (code === 'SESSION_NOT_ACCEPTED') return 'session_not_accepted';
  if (status === 401) return 'authentication_error';
  if (status === 429) return 'rate_limit_error';
  return status < 500 ? 'invalid_request_error' : 'server_error';
}
