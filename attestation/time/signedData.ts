import { concat } from '../bytes/bytes.ts';
import { Refusal } from '../errors.ts';
import type { HashName } from '../crypto/provider.ts';
import { decodeOid, decodeUint, decodeUnsigned, DerReader, TAG, type DerElement } from '../x509/der.ts';
import { checkName } from '../x509/name.ts';
import { hashOf } from '../x509/signature.ts';

const SIGNED_DATA = '1.2.840.113549.1.7.2';
export const TST_INFO = '1.2.840.113549.1.9.16.1.4';
/** Context tags of ContentInfo, SignedData and SignerInfo (RFC 5652 sections 3 and 5). */
const TAGS = {
  content: 0xa0,
  certificates: 0xa0,
  crls: 0xa1,
  keyId: 0x80,
  signed: 0xa0,
  unsigned: 0xa1,
} as const;
/** Longest token, certificates included. */
const MAX_BYTES = 64 * 1024;
/** More of each than any authority sends would only serve to make the verifier work. */
const MAX_ITEMS = 16;

/** How the SignerInfo names its certificate. */
export type SignerId =
  { readonly issuerName: Uint8Array; readonly serial: Uint8Array } | { readonly keyId: Uint8Array };

/** A CMS SignedData with one signer and its content inside (RFC 5652), as RFC 3161 restricts it; not verified. */
export interface SignedData {
  readonly content: Uint8Array;
  /** DER certificates in the order found; not parsed. */
  readonly certificates: readonly Uint8Array[];
  readonly signer: SignerId;
  readonly hash: HashName;
  /** The signed attributes as they are signed: under the tag of a SET OF (section 5.4). */
  readonly signedAttributes: Uint8Array;
  /** The only value of each signed attribute, by OID. */
  readonly attributes: ReadonlyMap<string, DerElement>;
  /** Encoded AlgorithmIdentifier. */
  readonly signatureAlgorithm: Uint8Array;
  readonly signature: Uint8Array;
}

/** Parses a ContentInfo in DER; BER's indefinite lengths are refused. */
export function parseSignedData(der: Uint8Array): SignedData {
  if (der.length > MAX_BYTES)
    throw new Refusal('MALFORMED', `token of ${der.length} bytes exceeds ${MAX_BYTES}`);
  const info = new DerReader(der, 'timestamp token').enterLast(TAG.sequence);
  if (decodeOid(info.take(TAG.oid).content) !== SIGNED_DATA) {
    throw new Refusal('MALFORMED', 'timestamp token: not SignedData');
  }
  const fields = info.enterLast(TAGS.content).enterLast(TAG.sequence);
  // Version 3: the content is no id-data (section 5.1). Later ones carry certificates that are not of X.509.
  if (decodeUint(fields.take(), 'SignedData version') !== 3) {
    throw new Refusal('UNSUPPORTED', 'the SignedData is not of version 3');
  }
  bounded(fields.enter(TAG.set), 'digest algorithms');
  const content = readContent(fields.enter(TAG.sequence));
  const certificates = fields.has(TAGS.certificates)
    ? bounded(fields.enter(TAGS.certificates), 'certificates').map(certificateBytes)
    : [];
  fields.optional(TAGS.crls);
  const signers = fields.enterLast(TAG.set);
  const signer = signers.enterLast(TAG.sequence);
  return { content, certificates, ...readSigner(signer) };
}

function readContent(fields: DerReader): Uint8Array {
  if (decodeOid(fields.take(TAG.oid).content) !== TST_INFO) {
    throw new Refusal('MALFORMED', 'timestamp token: its content is no TSTInfo');
  }
  const wrapper = fields.enterLast(TAGS.content);
  const { content } = wrapper.take(TAG.octetString);
  wrapper.end();
  return content;
}

function certificateBytes({ tag, encoded }: DerElement): Uint8Array {
  if (tag === TAG.sequence) return encoded;
  throw new Refusal('UNSUPPORTED', 'the token carries a certificate that is not of X.509');
}

function readSigner(fields: DerReader): Omit<SignedData, 'content' | 'certificates'> {
  const version = decodeUint(fields.take(), 'SignerInfo version');
  const signer = readSignerId(fields, version);
  const hash = hashOf(fields.take(TAG.sequence));
  if (!hash) throw new Refusal('UNSUPPORTED', 'the token is signed over another hash than SHA-2');
  const signed = fields.take(TAGS.signed);
  const signatureAlgorithm = fields.take(TAG.sequence).encoded;
  const { content: signature } = fields.take(TAG.octetString);
  fields.optional(TAGS.unsigned);
  fields.end();
  const signedAttributes = concat(Uint8Array.of(TAG.set), signed.encoded.subarray(1));
  return {
    signer,
    hash,
    signedAttributes,
    attributes: readAttributes(signed),
    signatureAlgorithm,
    signature,
  };
}

/** Version 1 names issuer and serial, version 3 the subject key identifier (section 5.3). */
function readSignerId(fields: DerReader, version: number): SignerId {
  if (version === 3) return { keyId: fields.take(TAGS.keyId).content };
  if (version !== 1) throw new Refusal('UNSUPPORTED', 'the SignerInfo is of an unknown version');
  const id = fields.enter(TAG.sequence);
  const name = id.take(TAG.sequence);
  checkName(name, 'issuer of the signer');
  const serial = decodeUnsigned(id.take(), 'serial of the signer');
  id.end();
  return { issuerName: name.encoded, serial };
}

/** Each attribute once, with one value: of two, one verifier would read the first and another the last. */
function readAttributes({ content }: DerElement): ReadonlyMap<string, DerElement> {
  const attributes = new Map<string, DerElement>();
  for (const { tag, content: attribute } of bounded(new DerReader(content, 'attributes'), 'attributes')) {
    if (tag !== TAG.sequence) throw new Refusal('MALFORMED', 'a signed attribute is no SEQUENCE');
    const fields = new DerReader(attribute, 'signed attribute');
    const oid = decodeOid(fields.take(TAG.oid).content);
    const values = fields.enterLast(TAG.set);
    const value = values.take();
    values.end();
    if (attributes.has(oid)) throw new Refusal('MALFORMED', `signed attribute ${oid} is there twice`);
    attributes.set(oid, value);
  }
  return attributes;
}

function bounded(list: DerReader, what: string): readonly DerElement[] {
  const items: DerElement[] = [];
  while (!list.done) {
    if (items.length === MAX_ITEMS) throw new Refusal('MALFORMED', `more than ${MAX_ITEMS} ${what}`);
    items.push(list.take());
  }
  return items;
}
