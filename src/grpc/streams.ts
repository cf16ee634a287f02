import { constants, type Http2Server, type ServerHttp2Stream } from 'node:http2';
import type { Server } from '@grpc/grpc-js';
import { errorBody } from '../http/dialect.ts';
import { ServiceError } from '../http/errors.ts';
import { CODE_NAME, STATUSES } from './status.ts';

/** Longest silence while a message is on its way, as over HTTP (ms). */
const SILENCE_MS = 10_000;

/** How often is looked whether the end of an answer has gone out (ms). */
const LINGER_MS = 50;

/** Bounds of what is below grpc-js. */
export interface StreamBounds {
  /** Most connections at once; more are closed. */
  readonly connections: number;
  /** Longest time for an answer to be made, and again for it to go out (ms). */
  readonly timeoutMs: number;
  readonly silenceMs?: number;
}

/** Bounds connections and streams of a server that is bound. grpc-js has no options for it. */
export function boundServer(server: Server, bounds: StreamBounds): void {
  const { http2Servers } = server as unknown as { readonly http2Servers?: ReadonlyMap<Http2Server, unknown> };
  if (!http2Servers || http2Servers.size === 0) throw new Error('grpc-js shows no HTTP/2 server to bound');
  for (const below of http2Servers.keys()) {
    below.maxConnections = bounds.connections;
    below.on('stream', (stream) => {
      boundStream(stream, bounds);
    });
  }
}

/**
 * Ends what grpc-js leaves open: a stream that was answered, but whose client has not ended its half, keeps what came
 * of its message; an answer that the client does not read keeps its place.
 */
export function boundStream(
  stream: ServerHttp2Stream,
  { timeoutMs, silenceMs = SILENCE_MS }: Omit<StreamBounds, 'connections'>,
): void {
  stream.once('finish', () => {
    closeOnceSent(stream);
  });
  stream.setTimeout(silenceMs, () => {
    if (!stream.readableEnded && !stream.headersSent && !stream.closed) refuseSilence(stream, silenceMs);
  });
  const end = setTimeout(() => {
    stream.close(constants.NGHTTP2_CANCEL);
    // A connection that takes no bytes takes no reset either.
    stream.destroy();
  }, 2 * timeoutMs);
  stream.once('close', () => {
    clearTimeout(end);
  });
}

/** Head and trailers may wait for others of the connection after `finish`, and a closed stream would not send them. */
function closeOnceSent(stream: ServerHttp2Stream): void {
  if (stream.closed || stream.readableEnded) return;
  if (stream.state.localClose === 1) stream.close(constants.NGHTTP2_NO_ERROR);
  else setTimeout(closeOnceSent, LINGER_MS, stream).unref();
}

function refuseSilence(stream: ServerHttp2Stream, silenceMs: number): void {
  const failure = new ServiceError('BODY_INCOMPLETE', `nothing more of the message came for ${silenceMs} ms`);
  const head = {
    ':status': 200,
    'content-type': 'application/grpc+proto',
    'grpc-status': STATUSES[failure.code],
    'grpc-message': encodeURI(Buffer.from(errorBody('grpc', failure)).toString()),
    [CODE_NAME]: failure.code,
  };
  stream.respond(head, { endStream: true });
  // Else what comes late could have grpc-js answer a second time, which throws.
  stream.close(constants.NGHTTP2_NO_ERROR);
}
