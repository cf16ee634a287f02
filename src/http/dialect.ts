import { utf8 } from '../../attestation/bytes/bytes.ts';
import type { ServiceError } from './errors.ts';

/** How an API writes its errors. */
export type Dialect = 'ours' | 'openai' | 'oip' | 'grpc';

/** The dialect of a path, for errors that no route answers. */
export function dialectOf(path: string): Dialect {
  if (path.startsWith('/v2')) return 'oip';
  return /^\/v1\/(?:embeddings|completions|chat|responses|models)(?:[/?]|$)/.test(path) ? 'openai' : 'ours';
}

export function errorBody(dialect: Dialect, error: ServiceError): Uint8Array {
  return utf8(dialect === 'grpc' ? statusText(error) : JSON.stringify(errorValue(dialect, error)));
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
      return { error: { code, message, advice } };
    case 'openai':
      return {
        error: {
          message: `${message}. ${advice}`,
          type: openAiType(error.status),
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

function openAiType(status: number): string {
  if (status === 401) return 'authentication_error';
  if (status === 429) return 'rate_limit_error';
  return status < 500 ? 'invalid_request_error' : 'server_error';
}
