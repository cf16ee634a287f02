import xz from 'xz-decompress';
import { ImageError } from '../errors.ts';

/** Most bytes that a file may unpack to. */
const MAX_BYTES = 2 ** 30;

/**
 * Unpacks a .xz file with the decoder of Linux (xz-embedded), which compares every check in it, and refuses what is cut
 * off or followed by something. No more than `maxBytes` are kept of what a small file may unpack to.
 */
export async function unpackXz(file: Uint8Array, maxBytes = MAX_BYTES): Promise<Uint8Array> {
  const source = new Blob([file as Uint8Array<ArrayBuffer>]).stream();
  const reader = new xz.XzReadableStream(source).getReader();
  const parts: Uint8Array[] = [];
  let total = 0;
  try {
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      total += part.value.length;
      if (total > maxBytes) throw damaged(`it unpacks to more than ${maxBytes} bytes`);
      // A view of the decoder's own memory, which it writes again.
      parts.push(part.value.slice());
    }
  } catch (error) {
    throw error instanceof ImageError ? error : damaged('it is damaged, or no .xz file', { cause: error });
  } finally {
    await reader.cancel().catch(() => undefined);
  }
  return Buffer.concat(parts);
}

function damaged(detail: string, options?: ErrorOptions): ImageError {
  return new ImageError('IMAGE_INPUT_MALFORMED', `xz: ${detail}`, options);
}
