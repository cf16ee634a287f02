import { fromBase64, fromHex, fromUtf8 } from '../bytes/bytes.ts';
import { Refusal } from '../errors.ts';
import { TAG } from './der.ts';

/** DER is asked for; older caching services send hex of it, and file servers may keep PEM (RFC 7468 section 6). */
export function crlToDer(body: Uint8Array): Uint8Array {
  if (body[0] === TAG.sequence) return body;
  const text = fromUtf8(body).trim();
  if (/^[0-9A-Fa-f]+$/.test(text)) return fromHex(text.toLowerCase());
  const [, base64] = /^-----BEGIN X509 CRL-----([A-Za-z0-9+/=\s]*)-----END X509 CRL-----$/.exec(text) ?? [];
  if (base64 === undefined) throw new Refusal('MALFORMED', 'neither DER, hex nor PEM');
  return fromBase64(base64.replaceAll(/\s/g, ''));
}
