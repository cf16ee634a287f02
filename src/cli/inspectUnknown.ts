import { toHex } from '../../attestation/bytes/bytes.ts';

const SHOWN_BYTES = 16;
const SHOWN_MEMBERS = 8;
/** Texts beyond this are not read for the sake of a message. */
const MAX_JSON_BYTES = 4 * 1024 * 1024;

/** What can be said of a file of no known kind, to tell a wrong file from a damaged one. */
export function unknownText(bytes: Uint8Array): string {
  if (bytes.length === 0) return 'it is empty';
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  return jsonText(buffer) ?? pemText(buffer) ?? bytesText(bytes);
}

function pemText(buffer: Buffer): string | undefined {
  const label = /-----BEGIN ([A-Z0-9 ]{1,40})-----/.exec(buffer.toString('latin1', 0, 4096))?.[1];
  if (label === undefined) return undefined;
  return label.includes('PRIVATE KEY')
    ? 'it holds a private key, of which nothing is shown'
    : `it is PEM of ${label}`;
}

function bytesText(bytes: Uint8Array): string {
  const start = textStart(bytes) ?? toHex(bytes.subarray(0, SHOWN_BYTES));
  return bytes.length === 1 ? `one byte, ${start}` : `${bytes.length} bytes that begin with ${start}`;
}

/** The first words of what is ASCII as far as it is looked at. */
function textStart(bytes: Uint8Array): string | undefined {
  const text = Buffer.from(bytes.subarray(0, SHOWN_BYTES)).toString('latin1');
  return /^[\t\n\r -~]{4,}$/.test(text) ? `«${text.replaceAll(/\s+/g, ' ').trim()}»` : undefined;
}

/** The names of a JSON object's members, or that it is an array; undefined for what is no JSON. */
function jsonText(buffer: Buffer): string | undefined {
  if (buffer.length > MAX_JSON_BYTES || !/^\s*[{[]/.test(buffer.toString('latin1', 0, 64))) return undefined;
  try {
    const value: unknown = JSON.parse(buffer.toString('utf8'));
    if (Array.isArray(value))
      return `it is a JSON array of ${value.length} value${value.length === 1 ? '' : 's'}`;
    const names = Object.keys(value as object);
    const shown = names.slice(0, SHOWN_MEMBERS).map((name) => name.slice(0, 40));
    const more = names.length - shown.length;
    return `it is a JSON object of ${shown.join(', ') || 'no members'}${more > 0 ? ` and ${more} more` : ''}`;
  } catch (error) {
    if (error instanceof SyntaxError) return 'it looks like JSON and is none';
    throw error;
  }
}
