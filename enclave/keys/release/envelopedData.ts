import { constants, createDecipheriv, type KeyObject, privateDecrypt } from 'node:crypto';
import { concat, toHex } from '../../../attestation/bytes/bytes.ts';
import { BER, type BerElement, parseBer } from './ber.ts';
import { ReleaseError } from './errors.ts';

/** KMS encrypts at most 4 KiB: its ciphertext, the wrapped content key and some headers. */
const MAX_BYTES = 16 * 1024;
const CONTENT_KEY_BYTES = 32;
const IV_BYTES = 16;

/** Contents of OBJECT IDENTIFIERs, in hex. */
const OID = {
  envelopedData: '2a864886f70d010703',
  data: '2a864886f70d010701',
  rsaOaep: '2a864886f70d010107',
  mgf1: '2a864886f70d010108',
  sha256: '608648016503040201',
  aes256Cbc: '60864801650304012a',
} as const;

/**
 * Opens CMS EnvelopedData (RFC 5652 section 6.1) as AWS KMS makes it: one recipient by RSAES-OAEP with SHA-256, the
 * content under AES-256-CBC. Any other algorithm, several recipients, and every attribute are refused. CBC does not say
 * that the content is genuine: that rests on TLS to KMS, and a wrong data key opens no sealed file.
 */
export function openEnvelopedData(encoded: Uint8Array, privateKey: KeyObject): Uint8Array {
  if (encoded.length > MAX_BYTES) throw refused(`has ${encoded.length} bytes, at most ${MAX_BYTES}`);
  const [type, wrapper] = children(parseBer(encoded), BER.sequence, 2);
  requireOid(type, OID.envelopedData);
  const [enveloped] = children(wrapper, BER.zero, 1);
  // A fourth member, or an originatorInfo before the recipients, would be something that nobody here asked for.
  const [version, recipients, content] = children(enveloped, BER.sequence, 3);
  primitive(version, BER.integer);
  const [recipient] = children(recipients, BER.set, 1);
  const contentKey = unwrap(recipient, privateKey);
  try {
    return decrypt(content, contentKey);
  } finally {
    contentKey.fill(0);
  }
}

/** KeyTransRecipientInfo. Who the recipient is said to be counts for nothing: the key opens it or does not. */
function unwrap(recipient: BerElement | undefined, privateKey: KeyObject): Uint8Array {
  const [version, , algorithm, encryptedKey] = children(recipient, BER.sequence, 4);
  primitive(version, BER.integer);
  requireOaepSha256(algorithm);
  const ciphertext = primitive(encryptedKey, BER.octetString);
  let key: Buffer;
  try {
    key = privateDecrypt(
      { key: privateKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' },
      ciphertext,
    );
  } catch {
    throw new ReleaseError('NOT_FOR_US', 'the content key does not open with the key of this request');
  }
  if (key.length !== CONTENT_KEY_BYTES) throw refused('the content key is not 32 bytes');
  return key;
}

/** RSAES-OAEP-params (RFC 8017 appendix A.2.1) with SHA-256 twice and an empty label. */
function requireOaepSha256(algorithm: BerElement | undefined): void {
  const [oid, params] = children(algorithm, BER.sequence, 2);
  requireOid(oid, OID.rsaOaep);
  const [hash, mask] = children(params, BER.sequence, 2);
  requireSha256(children(hash, BER.zero, 1)[0]);
  const [mgf1, maskHash] = children(children(mask, BER.one, 1)[0], BER.sequence, 2);
  requireOid(mgf1, OID.mgf1);
  requireSha256(maskHash);
}

/** With NULL parameters or none (RFC 4055 section 2.1). */
function requireSha256(algorithm: BerElement | undefined): void {
  if (algorithm?.tag !== BER.sequence || algorithm.children.length > 2)
    throw refused('an algorithm is malformed');
  const [oid, parameters] = algorithm.children;
  requireOid(oid, OID.sha256);
  if (parameters && primitive(parameters, BER.null).length > 0) throw refused('NULL has content');
}

function decrypt(content: BerElement | undefined, key: Uint8Array): Uint8Array {
  const [type, algorithm, encrypted] = children(content, BER.sequence, 3);
  requireOid(type, OID.data);
  const [cipher, parameters] = children(algorithm, BER.sequence, 2);
  requireOid(cipher, OID.aes256Cbc);
  const iv = primitive(parameters, BER.octetString);
  if (iv.length !== IV_BYTES) throw refused('the initialisation vector is not 16 bytes');
  const ciphertext = octets(encrypted);
  const decipher = createDecipheriv('aes-256-cbc', key, iv);
  const opened = decipher.update(ciphertext);
  try {
    return Uint8Array.from(Buffer.concat([opened, decipher.final()]));
  } catch {
    throw refused('the content does not open');
  } finally {
    opened.fill(0);
  }
}

/** [0] IMPLICIT OCTET STRING: whole, or in pieces. */
function octets(element: BerElement | undefined): Uint8Array {
  if (element?.tag === BER.zeroPrimitive) return element.content;
  if (element?.tag !== BER.zero) throw refused('there is no encrypted content');
  return concat(...element.children.map((piece) => primitive(piece, BER.octetString)));
}

function children(element: BerElement | undefined, tag: number, count: number): readonly BerElement[] {
  if (element?.tag === tag && element.children.length === count) return element.children;
  throw refused('is of another form than KMS makes it');
}

function primitive(element: BerElement | undefined, tag: number): Uint8Array {
  if (element?.tag === tag) return element.content;
  throw refused('is of another form than KMS makes it');
}

function requireOid(element: BerElement | undefined, oid: string): void {
  if (toHex(primitive(element, BER.oid)) !== oid) throw refused('names another algorithm or type');
}

function refused(why: string): ReleaseError {
  return new ReleaseError('BAD_ANSWER', `the enveloped key ${why}`);
}
