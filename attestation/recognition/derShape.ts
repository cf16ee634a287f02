import { fromHex } from '../bytes/bytes.ts';
import { includesBytes, startsWithBytes } from '../bytes/search.ts';
import { TAG } from '../x509/der.ts';

export type DerShape = 'certificate' | 'crl' | 'public-key';

/**
 * What a DER element is, by the tags at its start: tbsCertificate begins with [0], or in version 1 with a serial;
 * tbsCertList with a version or an algorithm, and has a time where a certificate has its validity; a public key with
 * the OID of its algorithm. Lengths may run beyond the bytes: a cut file still has a shape.
 */
export function derShape(bytes: Uint8Array): DerShape | undefined {
  if (isTimestampShape(bytes)) return undefined;
  const inner = contentStart(bytes, 0, TAG.sequence);
  const first = inner === undefined ? undefined : contentStart(bytes, inner, TAG.sequence);
  if (first === undefined) return undefined;
  const tags = tagsFrom(bytes, first, 5);
  if (tags[0] === 0xa0) return 'certificate';
  if (tags[0] === TAG.oid) return 'public-key';
  const isList = tags.some((tag) => tag === TAG.utcTime || tag === TAG.generalizedTime);
  if (isList) return 'crl';
  return tags[0] === TAG.integer && tags[1] === TAG.sequence ? 'certificate' : undefined;
}

const ENUMERATED = 0x0a;
/** unauthorized, the last OCSPResponseStatus (RFC 6960 section 4.2.1). */
const LAST_OCSP_STATUS = 6;

/** An OCSPResponse begins with its status: no certificate, list or key begins with an ENUMERATED. */
export function isOcspShape(bytes: Uint8Array): boolean {
  const status = contentStart(bytes, 0, TAG.sequence);
  if (status === undefined || bytes[status] !== ENUMERATED || bytes[status + 1] !== 1) return false;
  return (bytes[status + 2] ?? Infinity) <= LAST_OCSP_STATUS;
}

/** OBJECT IDENTIFIERs of SignedData and of TSTInfo, encoded. */
const SIGNED_DATA = fromHex('06092a864886f70d010702');
const TST_INFO = fromHex('060b2a864886f70d0109100104');

/** A TimeStampToken is SignedData over a TSTInfo; a response has a status before it. */
export function isTimestampShape(bytes: Uint8Array): boolean {
  const start = contentStart(bytes, 0, TAG.sequence);
  if (start === undefined) return false;
  const isBare = startsWithBytes(bytes.subarray(start), SIGNED_DATA);
  return includesBytes(bytes, TST_INFO) && (isBare || isTimestampResponse(bytes));
}

/** A TimeStampResp begins with a PKIStatusInfo, which begins with an INTEGER. */
export function isTimestampResponse(bytes: Uint8Array): boolean {
  const start = contentStart(bytes, 0, TAG.sequence);
  const status = start === undefined ? undefined : contentStart(bytes, start, TAG.sequence);
  return status !== undefined && bytes[status] === TAG.integer;
}

/** Where the content of the element at an offset begins; undefined for another tag. */
function contentStart(bytes: Uint8Array, offset: number, tag: number): number | undefined {
  const length = bytes[offset + 1];
  if (bytes[offset] !== tag || length === undefined || length > 0x84 || length === 0x80) return undefined;
  return offset + 2 + (length < 0x80 ? 0 : length & 0x7f);
}

/** Tags of the elements that follow each other from an offset, as far as the bytes go. */
function tagsFrom(bytes: Uint8Array, offset: number, count: number): readonly number[] {
  const tags: number[] = [];
  for (let at = offset; at < bytes.length && tags.length < count;) {
    const tag = bytes[at] ?? 0;
    const start = contentStart(bytes, at, tag);
    tags.push(tag);
    if (start === undefined) break;
    const short = bytes[at + 1] ?? 0;
    const length = short < 0x80 ? short : bigEndian(bytes.subarray(at + 2, start));
    at = start + length;
  }
  return tags;
}

function bigEndian(bytes: Uint8Array): number {
  return bytes.reduce((value, byte) => value * 256 + byte, 0);
}
