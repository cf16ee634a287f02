import { fromHex, fromUtf8, isZero } from '../../bytes/bytes.ts';
import { Refusal } from '../../errors.ts';
import { parseCertificate, type Certificate } from '../../x509/certificate.ts';
import { decodeOid, readElement, readElements, readOnly, TAG, type DerElement } from '../../x509/der.ts';
import { EXTENDED_KEY_USAGE, KEY_USAGE } from '../../x509/extensions.ts';

/** An NV index of Azure holds 4096 bytes; no other known one holds more. */
const MAX_PADDED_BYTES = 16 * 1024;
const SUBJECT_KEY_ID = '2.5.29.14';
const AUTHORITY_KEY_ID = '2.5.29.35';
export const SUBJECT_ALT_NAME = '2.5.29.17';
/** Context-specific tags: GeneralName.directoryName (RFC 5280 section 4.2.1.6), AuthorityKeyIdentifier.keyIdentifier. */
const DIRECTORY_NAME = 0xa4;
const KEY_IDENTIFIER = 0x80;
const PRINTABLE_STRING = 0x13;
/** TCG EK Credential Profile, section 3.2.9: names of a TPM. */
const TPM_NAMES = {
  '2.23.133.2.1': 'manufacturer',
  '2.23.133.2.2': 'model',
  '2.23.133.2.3': 'version',
} as const;
/** Bits of KeyUsage (RFC 5280 section 4.2.1.3). */
const KEY_USAGES = { digitalSignature: 0, keyEncipherment: 2, keyAgreement: 4 } as const;

/** Purposes of keys (TCG EK Credential Profile): endorsement keys, attestation keys. */
export const EK_PURPOSE = '2.23.133.8.1';
export const AK_PURPOSE = '2.23.133.8.3';

export type KeyUsage = keyof typeof KEY_USAGES;

/** What a certificate says of the TPM that holds its key. */
export interface TpmName {
  /** Four letters of the TCG vendor id registry, such as `GOOG`. */
  readonly manufacturer: string;
  readonly model: string;
  readonly version: string;
}

/**
 * The certificate in front of the zero bytes that fill an NV index. Anything else behind it is refused: it would be
 * bytes that no signature covers.
 */
export function unpadCertificate(bytes: Uint8Array): Uint8Array {
  if (bytes.length > MAX_PADDED_BYTES) {
    throw new Refusal(
      'MALFORMED',
      `certificate with padding has ${bytes.length} bytes, above ${MAX_PADDED_BYTES}`,
    );
  }
  const { encoded } = readElement(bytes, 'padded certificate');
  if (!isZero(bytes.subarray(encoded.length))) {
    throw new Refusal('MALFORMED', 'bytes other than zero padding follow the certificate');
  }
  return encoded;
}

/** SubjectPublicKeyInfo of a certificate, padded or not, for evidence that carries the key only there. */
export function certificateSpki(bytes: Uint8Array): Uint8Array {
  return parseCertificate(unpadCertificate(bytes)).spki;
}

/** Uses of the key among those that matter here; undefined where the certificate does not limit them. */
export function readKeyUsage(certificate: Certificate): ReadonlySet<KeyUsage> | undefined {
  const value = certificate.extensions.get(KEY_USAGE)?.value;
  if (!value) return undefined;
  const [unused = 8, first] = readOnly(value, TAG.bitString, 'keyUsage').content;
  if (unused > 7 || first === undefined)
    throw new Refusal('MALFORMED', 'keyUsage is no BIT STRING of named bits');
  const names = Object.keys(KEY_USAGES) as KeyUsage[];
  return new Set(names.filter((name) => first & (0x80 >> KEY_USAGES[name])));
}

/** Purposes as dotted OIDs; undefined where the certificate does not limit them. */
export function readPurposes(certificate: Certificate): readonly string[] | undefined {
  const value = certificate.extensions.get(EXTENDED_KEY_USAGE)?.value;
  if (!value) return undefined;
  return inside(readOnly(value, TAG.sequence, 'extendedKeyUsage')).map(({ tag, content }) => {
    if (tag !== TAG.oid) throw new Refusal('MALFORMED', 'extendedKeyUsage is no list of OIDs');
    return decodeOid(content);
  });
}

export function readSubjectKeyId(certificate: Certificate): Uint8Array | undefined {
  const value = certificate.extensions.get(SUBJECT_KEY_ID)?.value;
  return value && readOnly(value, TAG.octetString, 'subjectKeyIdentifier').content;
}

export function readAuthorityKeyId(certificate: Certificate): Uint8Array | undefined {
  const value = certificate.extensions.get(AUTHORITY_KEY_ID)?.value;
  if (!value) return undefined;
  const parts = inside(readOnly(value, TAG.sequence, 'authorityKeyIdentifier'));
  return parts.find(({ tag }) => tag === KEY_IDENTIFIER)?.content;
}

/**
 * The name of the TPM in subjectAltName. Where that extension is critical, names of another kind are refused, for a
 * critical extension is processed whole or not at all. An empty subject needs it critical (RFC 5280 section 4.1.2.6).
 */
export function readTpmName(certificate: Certificate): TpmName | undefined {
  const extension = certificate.extensions.get(SUBJECT_ALT_NAME);
  const hasSubject = certificate.subjectName.length > 2;
  if (!hasSubject && !extension?.critical) {
    throw new Refusal('MALFORMED', 'the certificate has neither a subject nor a critical subjectAltName');
  }
  if (!extension) return undefined;
  const names = inside(readOnly(extension.value, TAG.sequence, 'subjectAltName'));
  const directoryNames = names.filter(({ tag }) => tag === DIRECTORY_NAME);
  if (extension.critical && (directoryNames.length !== names.length || names.length === 0)) {
    throw new Refusal('CERT_CHAIN_INVALID', 'the critical subjectAltName has names that are not processed');
  }
  return tpmNameOf(directoryNames);
}

function tpmNameOf(directoryNames: readonly DerElement[]): TpmName | undefined {
  const found = new Map<string, string>();
  for (const [oid, value] of directoryNames.flatMap(readAttributes)) {
    const name = Object.hasOwn(TPM_NAMES, oid) ? TPM_NAMES[oid as keyof typeof TPM_NAMES] : undefined;
    if (!name) continue;
    if (found.has(name)) throw new Refusal('MALFORMED', `subjectAltName names the TPM ${name} twice`);
    found.set(name, readText(value));
  }
  if (found.size === 0) return undefined;
  const [manufacturer, model, version] = ['manufacturer', 'model', 'version'].map((name) => found.get(name));
  if (manufacturer === undefined || model === undefined || version === undefined) {
    throw new Refusal('MALFORMED', `subjectAltName names of the TPM only ${[...found.keys()].join(', ')}`);
  }
  return { manufacturer: readManufacturer(manufacturer), model, version };
}

/** Attributes of a directoryName: the Name inside its explicit tag, sets of pairs of OID and value. */
function readAttributes({ content }: DerElement): readonly (readonly [string, DerElement])[] {
  const name = inside(readOnly(content, TAG.sequence, 'directoryName'));
  return name.flatMap(inside).map((attribute) => {
    const [oid, value, extra] = inside(attribute);
    if (oid?.tag !== TAG.oid || !value || extra) {
      throw new Refusal('MALFORMED', 'directoryName has an attribute that is no pair of OID and value');
    }
    return [decodeOid(oid.content), value];
  });
}

function readText({ tag, content }: DerElement): string {
  if (tag !== TAG.utf8String && tag !== PRINTABLE_STRING) {
    throw new Refusal('MALFORMED', `a name of the TPM has string type ${tag}`);
  }
  return fromUtf8(content);
}

/** `id:474F4F47` is `GOOG`: eight hex digits of four letters, the last ones zero where it is shorter. */
function readManufacturer(text: string): string {
  const digits = /^id:([0-9A-Fa-f]{8})$/.exec(text)?.[1];
  if (digits === undefined)
    throw new Refusal('MALFORMED', 'the TPM manufacturer is not id: and 8 hex digits');
  return fromUtf8(fromHex(digits.toLowerCase())).replace(/\0+$/, '');
}

function inside({ content }: DerElement): readonly DerElement[] {
  return readElements(content, 'extension');
}
