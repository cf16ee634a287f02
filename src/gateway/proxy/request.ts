import type { IncomingMessage } from 'node:http';
import { ProxyError } from './errors.ts';

/** What a path is. */
export type Target =
  | { readonly kind: 'inference'; readonly path: string; readonly takesTensors: boolean }
  | { readonly kind: 'open'; readonly path: string }
  | { readonly kind: 'status' | 'live' | 'ready' };

const INFERENCE =
  /^\/v1\/(?:embeddings|completions|chat\/completions|responses)$|^\/v2\/models\/[^/]+(?:\/versions\/[^/]+)?\/(infer|generate|generate_stream)$/;
/** What services tell everybody. */
const OPEN = /^\/v1\/models(?:\/[^/]+)?$|^\/v2(?:\/models\/[^/]+(?:\/versions\/[^/]+)?(?:\/ready)?)?$/;
const OWN: Readonly<Record<string, 'status' | 'live' | 'ready'>> = {
  '/status': 'status',
  '/livez': 'live',
  '/readyz': 'ready',
  '/v2/health/live': 'live',
  '/v2/health/ready': 'ready',
};

export function targetOf(method: string, url: string): Target {
  const [path = ''] = url.split('?');
  const inference = INFERENCE.exec(path);
  if (inference) {
    requireMethod(method, path, 'POST');
    return { kind: 'inference', path: url, takesTensors: inference[1] === 'infer' };
  }
  const own = OWN[path];
  const isOpen = OPEN.test(path);
  if (!isOpen && !own) throw new ProxyError('NOT_FOUND', `there is nothing at ${method} ${shown(path)}`);
  requireMethod(method, path, 'GET');
  return own ? { kind: own } : { kind: 'open', path: url };
}

function requireMethod(method: string, path: string, allow: 'GET' | 'POST'): void {
  if (method === allow || (allow === 'GET' && method === 'HEAD')) return;
  throw new ProxyError('METHOD_NOT_ALLOWED', `${shown(path)} is asked by ${allow}`, { allow });
}

function shown(path: string): string {
  return path.slice(0, 100).replaceAll(/[^\x21-\x7e]/g, '?');
}

/**
 * A page in a browser on this machine can send requests here, too, under any name that its owner gives to this address.
 * It always says so: by a name that is none of this machine, by its origin, or by a content type that needs no leave.
 */
export function requireProgram({ headers }: IncomingMessage, isLoopback: boolean): void {
  const { host = '', origin } = headers;
  if (isLoopback && !isLocalHost(host)) {
    throw new ProxyError('HOST_REFUSED', 'the header Host names no address of this machine');
  }
  if (origin !== undefined && !isLocalOrigin(origin)) {
    throw new ProxyError('ORIGIN_REFUSED', 'a page of another origin asks');
  }
}

function isLocalHost(host: string): boolean {
  return /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d{1,5})?$/i.test(host);
}

function isLocalOrigin(origin: string): boolean {
  return /^https?:\/\/(.+)$/.exec(origin)?.slice(1).every(isLocalHost) ?? false;
}

const API_KEY = /^[\x21-\x7e]{1,4096}$/;

/** The API key of the caller; undefined where there is none. */
export function callerKey({ headers }: IncomingMessage): string | undefined {
  const { authorization } = headers;
  if (authorization === undefined || authorization === '') return undefined;
  const [, key] = /^Bearer +(.*)$/i.exec(authorization) ?? [];
  if (key === undefined || !API_KEY.test(key)) {
    throw new ProxyError('API_KEY_INVALID', 'the header Authorization has no API key');
  }
  return key;
}

/** The answer waits until hardware covers its receipt. */
const FRESH = 'vouchsafe-fresh';
const JSON_LENGTH = 'inference-header-content-length';

/** The headers that are the request's: the type goes under the seal, the key beside it. */
export function sealedHeaders(request: IncomingMessage, takesTensors: boolean): Record<string, string> {
  const { 'content-type': type = '', 'content-encoding': encoding, [JSON_LENGTH]: length } = request.headers;
  if (encoding !== undefined && encoding !== 'identity') {
    throw new ProxyError('CONTENT_ENCODING_UNSUPPORTED', 'the body is compressed');
  }
  const framing: Record<string, string> = takesTensors && typeof length === 'string' ? framed(length) : {};
  requireType(type, JSON_LENGTH in framing);
  const key = callerKey(request);
  return {
    'content-type': type === '' ? 'application/octet-stream' : type,
    ...framing,
    ...(key !== undefined && { authorization: `Bearer ${key}` }),
    ...(request.headers[FRESH] === '?1' && { [FRESH]: '?1' }),
  };
}

function framed(length: string): Record<string, string> {
  if (/^\d{1,10}$/.test(length)) return { [JSON_LENGTH]: length };
  throw new ProxyError('BODY_INVALID', 'Inference-Header-Content-Length is no count of bytes');
}

function requireType(given: string, isFramed: boolean): void {
  const type = given.split(';')[0]?.trim().toLowerCase() ?? '';
  if (type === 'application/json') return;
  if (isFramed && (type === '' || type === 'application/octet-stream')) return;
  throw new ProxyError('CONTENT_TYPE_UNSUPPORTED', 'the body is not said to be JSON');
}

/** The whole body, refused beyond `maxBytes`. What comes then is read and not kept, or the refusal would be lost. */
export function readBody(request: IncomingMessage, maxBytes: number): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    if (Number(request.headers['content-length'] ?? 0) > maxBytes) reject(tooLarge(maxBytes));
    request.on('data', (chunk: Buffer) => {
      length += chunk.length;
      if (length <= maxBytes) chunks.push(chunk);
      else {
        chunks.length = 0;
        reject(tooLarge(maxBytes));
      }
    });
    request.once('end', () => {
      resolve(Buffer.concat(chunks));
    });
    request.once('error', (cause) => {
      reject(new ProxyError('BODY_INCOMPLETE', 'the body did not come to its end', { cause }));
    });
  });
}

function tooLarge(maxBytes: number): ProxyError {
  return new ProxyError('BODY_TOO_LARGE', `the body is larger than ${maxBytes} bytes`);
}
