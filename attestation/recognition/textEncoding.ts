import { fromBase64, fromHex } from '../bytes/bytes.ts';
import { latin1 } from '../bytes/search.ts';
import { Refusal } from '../errors.ts';

/** The text in which bytes were written. */
export type TextEncoding = 'hex' | 'base64' | 'base64 of hex';

export interface Decoded {
  readonly bytes: Uint8Array;
  readonly encoding: TextEncoding;
}

/** Longest text that is decoded, in bytes: evidence that travels as text is small. */
const MAX_TEXT_BYTES = 16 * 1024 * 1024;
/** Shorter ones are words. */
const MIN_TEXT_BYTES = 32;

/**
 * The bytes that a text of nothing but hex or base64 (of either alphabet) stands for. Old clients of NVIDIA's service
 * write base64 of hex text, so that is undone twice.
 */
export function decodeText(bytes: Uint8Array): Decoded | undefined {
  const once = decodeOnce(bytes);
  if (once?.encoding !== 'base64') return once;
  const twice = decodeOnce(once.bytes);
  return twice?.encoding === 'hex' ? { bytes: twice.bytes, encoding: 'base64 of hex' } : once;
}

function decodeOnce(bytes: Uint8Array): Decoded | undefined {
  if (bytes.length < MIN_TEXT_BYTES || bytes.length > MAX_TEXT_BYTES) return undefined;
  const compact = latin1(bytes).replaceAll(/\s/g, '');
  if (compact.length % 2 === 0 && !/[^0-9a-fA-F]/.test(compact)) {
    return { bytes: fromHex(compact.toLowerCase()), encoding: 'hex' };
  }
  if (/[^A-Za-z0-9+/_=-]/.test(compact) || /=[^=]/.test(compact)) return undefined;
  return base64Of(compact);
}

/** Padding may be left out; bits that stand for nothing are no base64 of anything. */
function base64Of(text: string): Decoded | undefined {
  const digits = text.replace(/=+$/, '').replaceAll('-', '+').replaceAll('_', '/');
  try {
    const bytes = fromBase64(digits.padEnd(Math.ceil(digits.length / 4) * 4, '='));
    return { bytes, encoding: 'base64' };
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}
