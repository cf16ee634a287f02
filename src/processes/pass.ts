import { Agent, type IncomingMessage, request as connect, type ServerResponse } from 'node:http';
import { errorBody } from '../http/dialect.ts';
import { failureHead } from '../http/endpoint.ts';
import { ServiceError } from '../http/errors.ts';

/** Idle connections end before the signing process ends them (ms). */
const IDLE_MS = 30_000;
/** Headers of one connection (RFC 9110 section 7.6.1). */
const HOP_BY_HOP = ['connection', 'keep-alive', 'transfer-encoding'];

/**
 * Hands a request over to the signing process as it is, byte for byte: what is sealed to its key, and everything that
 * is no inference. Bounds and refusals are its own.
 */
export function passTo(socket: string): (request: IncomingMessage, response: ServerResponse) => void {
  // Connections that stay: one that closes after an early refusal would lose it while the body is still on its way.
  const agent = new Agent({ keepAlive: true, timeout: IDLE_MS });
  return (request, response) => {
    const upstream = connect({
      agent,
      socketPath: socket,
      method: request.method,
      path: request.url,
      headers: { ...request.headers, connection: 'keep-alive' },
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
