import type { IncomingMessage } from 'node:http';
import { ServiceError } from './errors.ts';

/** Longest silence while a body is on its way, as for heads: who sends nothing holds no place (ms). */
const SILENCE_MS = 10_000;

/** The exact bytes of a body: the receipt commits to them. What is too large is read to its end and dropped. */
export function readBody(
  request: IncomingMessage,
  limit: number,
  silenceMs = SILENCE_MS,
): Promise<Uint8Array> {
  if (request.headers['content-encoding'] !== undefined) {
    throw new ServiceError('CONTENT_ENCODING_UNSUPPORTED', 'the body is encoded');
  }
  if (Number(request.headers['content-length'] ?? 0) > limit) throw tooLarge(limit);
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    const silence = setTimeout(() => {
      chunks.length = 0;
      length = Infinity;
      reject(new ServiceError('BODY_INCOMPLETE', `nothing more of the body came for ${silenceMs} ms`));
    }, silenceMs);
    const onData = (chunk: Buffer): void => {
      silence.refresh();
      length += chunk.length;
      if (length <= limit) chunks.push(chunk);
      else {
        // Still read, without being kept: closing now would lose the answer on its way.
        chunks.length = 0;
        clearTimeout(silence);
        reject(tooLarge(limit));
      }
    };
    request.on('data', onData);
    request.once('end', () => {
      clearTimeout(silence);
      if (length > limit) return;
      resolve(chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks, length));
    });
    request.once('error', () => {
      clearTimeout(silence);
      reject(new ServiceError('BODY_INCOMPLETE', 'the body ended before its end'));
    });
  });
}

function tooLarge(limit: number): ServiceError {
  return new ServiceError('BODY_TOO_LARGE', `the body has more than ${limit} bytes`);
}

/** Media type of a request, without parameters, in lower case. */
export function mediaType(contentType: string | undefined): string {
  return (contentType ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '';
}

/** A parameter of a media type, by its name in lower case; undefined where it is not there. */
export function mediaParameter(contentType: string | undefined, name: string): string | undefined {
  const parameters = (contentType ?? '').split(';').slice(1);
  const found = parameters.map((parameter) => parameter.trim().split('=', 2));
  return found.find(([key]) => key?.toLowerCase() === name)?.[1];
}

/** Throws unless the type is JSON. */
export function requireJson(contentType: string | undefined): void {
  if (mediaType(contentType) !== 'application/json') {
    throw new ServiceError('CONTENT_TYPE_UNSUPPORTED', 'the body is not declared as application/json');
  }
}
