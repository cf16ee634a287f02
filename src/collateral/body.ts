import { concat } from '../../attestation/bytes/bytes.ts';
import { CollateralError } from './errors.ts';

/**
 * The whole body, given up as soon as it is longer than `maxBytes`: by its declared length before a byte is read,
 * else at the chunk that goes beyond. Lengths are those after decompression.
 */
export async function readBody(
  response: Response,
  maxBytes: number,
  host: string,
  signal: AbortSignal,
): Promise<Uint8Array> {
  const declared = Number(response.headers.get('content-length') ?? 0);
  if (declared > maxBytes) {
    await dropBody(response);
    throw oversize(host, maxBytes);
  }
  if (!response.body) return new Uint8Array(0);
  const reader = response.body.getReader();
  const chunks: Uint8Array[] = [];
  let total = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return concat(...chunks);
      total += value.length;
      if (total > maxBytes) throw oversize(host, maxBytes);
      chunks.push(value);
    }
  } catch (error) {
    if (error instanceof CollateralError) throw error;
    signal.throwIfAborted();
    const message = `${host} broke the connection after ${total} bytes`;
    throw new CollateralError('truncated', message, { cause: error, transient: true });
  } finally {
    void reader.cancel().catch(() => undefined);
  }
}

/** An answer that is not read would hold its connection. */
export async function dropBody(response: Response): Promise<void> {
  await response.body?.cancel().catch(() => undefined);
}

function oversize(host: string, maxBytes: number): CollateralError {
  return new CollateralError('oversize', `${host} sends more than ${maxBytes} bytes`);
}
