import { type IncomingMessage, request as connect, type ServerResponse } from 'node:http';
import { errorBody } from '../http/dialect.ts';
import { failureHead } from '../http/endpoint.ts';
import { ServiceError } from '../http/errors.ts';

/** Headers of one connection (RFC 9110 section 7.6.1). */
const HOP_BY_HOP = ['connection', 'keep-alive', 'transfer-encoding'];

/**
 * Hands a request over to the signing process as it is, byte for byte: what is sealed to its key, and everything that
 * is no inference. Bounds and refusals are its own.
 */
export function passTo(socket: string): (request: IncomingMessage, response: ServerResponse) => void {
  return (request, response) => {
    const upstream = connect({
      socketPath: socket,
      method: request.method,
      path: request.url,
      headers: { ...request.headers, connection: 'close' },
    });
    upstream.on('response', (answer) => {
      for (const [name, value] of Object.entries(answer.headers)) {
        if (value !== undefined && !HOP_BY_HOP.includes(name)) response.setHeader(name, value);
      }
      response.writeHead(answer.statusCode ?? 502);
      answer.on('error', () => response.destroy());
      answer.pipe(response);
    });
    upstream.on('error', () => {
      refuse(response);
    });
    response.on('close', () => upstream.destroy());
    request.pipe(upstream);
  };
}

function refuse(response: ServerResponse): void {
  if (response.headersSent) {
    response.destroy();
    return;
  }
  const failure = new ServiceError('STOPPING', 'the signing process does not answer');
  const body = errorBody('ours', failure);
  const { status, contentType, retryAfter } = failureHead(failure);
  if (retryAfter !== undefined) response.setHeader('retry-after', retryAfter);
  response.writeHead(status, { 'content-type': contentType, 'content-length': body.length });
  response.end(body);
}
