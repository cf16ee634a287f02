import { CollateralError } from './errors.ts';

/**
 * Media types by kind of answer; the first is what is asked for. Besides those that vendors name in their interfaces
 * stand those by which file servers, and so mirrors, send the same files: `.der` and `.pem` are
 * `application/x-x509-ca-cert` to most of them.
 */
const MEDIA_TYPES = {
  certificate: [
    'application/pkix-cert',
    'application/x-x509-ca-cert',
    'application/octet-stream',
    'binary/octet-stream',
  ],
  pem: [
    'application/x-pem-file',
    'application/pem-certificate-chain',
    'application/x-x509-ca-cert',
    'text/plain',
    'application/octet-stream',
    'binary/octet-stream',
  ],
  crl: [
    'application/pkix-crl',
    'application/x-pkcs7-crl',
    'application/x-x509-ca-cert',
    'application/x-pem-file',
    'text/plain',
    'application/octet-stream',
    'binary/octet-stream',
  ],
  json: ['application/json'],
  ocsp: ['application/ocsp-response'],
} as const;

export type MediaKind = keyof typeof MEDIA_TYPES;

/** What goes into `Accept`: the vendors' own type, and anything, for servers that know no types. */
export function acceptOf(kind: MediaKind): string {
  return `${MEDIA_TYPES[kind][0]}, */*;q=0.1`;
}

/** An answer without a type may be taken for `application/octet-stream` (RFC 9110 section 8.3). */
export function requireMedia(headers: Headers, kind: MediaKind, host: string): void {
  const [type = ''] = (headers.get('content-type') ?? 'application/octet-stream').split(';');
  const name = type.trim().toLowerCase();
  const known: readonly string[] = MEDIA_TYPES[kind];
  if (known.includes(name)) return;
  throw new CollateralError(
    'media-type',
    `${host} sends ${describe(name)} where ${known[0] ?? ''} was asked for`,
  );
}

/** Headers are text of strangers. */
function describe(type: string): string {
  return /^[a-z0-9.+-]{1,64}\/[a-z0-9.+-]{1,64}$/.test(type) ? type : 'an unreadable type';
}
