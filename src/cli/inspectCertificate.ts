import { fromBase64, isZero, toHex } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { DEFAULT_ANCHORS } from '../../attestation/defaultAnchors.ts';
import { Refusal } from '../../attestation/errors.ts';
import { publicKeyKind } from '../../attestation/evidence/tpm/key.ts';
import { parseCertificate, type Certificate } from '../../attestation/x509/certificate.ts';
import { parseCrl } from '../../attestation/x509/crl.ts';
import { DerReader, readElement, TAG } from '../../attestation/x509/der.ts';
import { readAlgorithm, schemeOf } from '../../attestation/x509/signature.ts';
import { extensionRows } from './inspectExtensions.ts';
import { readable, timeText, type Section } from './inspectSection.ts';
import { derShape } from '../../attestation/recognition/derShape.ts';
import type { Row } from './receiptText.ts';

/** Of one file: more are no chain. */
const MAX_BLOCKS = 64;
const MAX_PEM_BYTES = 2 * 1024 * 1024;
/** Entries of a revocation list that are shown. */
const SHOWN_ENTRIES = 10;

const RSA_PSS = '1.2.840.113549.1.1.10';
const SIGNATURE_NAMES: Readonly<Record<string, string>> = {
  '1.2.840.10045.4.3.2': 'ECDSA with SHA-256',
  '1.2.840.10045.4.3.3': 'ECDSA with SHA-384',
  '1.2.840.10045.4.3.4': 'ECDSA with SHA-512',
  '1.2.840.113549.1.1.5': 'RSASSA-PKCS1-v1_5 with SHA-1',
  '1.2.840.113549.1.1.11': 'RSASSA-PKCS1-v1_5 with SHA-256',
  '1.2.840.113549.1.1.12': 'RSASSA-PKCS1-v1_5 with SHA-384',
  '1.2.840.113549.1.1.13': 'RSASSA-PKCS1-v1_5 with SHA-512',
  '1.3.101.112': 'Ed25519',
};

/** Certificates in DER, padded or not, in their order; one that cannot be read does not hide the others. */
export function certificateSections(ders: readonly Uint8Array[], title: string): readonly Section[] {
  return ders.flatMap((der, i) => {
    const name = `${title} ${i + 1}`;
    return readable(name, () => [certificateSection(parseCertificate(unpad(der)), name)]);
  });
}

/** The element in front of the zeros that fill an NV index of a TPM; anything else behind it stays and is refused. */
function unpad(der: Uint8Array): Uint8Array {
  const { encoded } = readElement(der, 'certificate');
  return isZero(der.subarray(encoded.length)) ? encoded : der;
}

export function certificateSection(certificate: Certificate, title: string): Section {
  const { subject, issuer, serial, notBefore, notAfter, spki, isCa, pathLength } = certificate;
  const authority = isCa ? `yes${pathLength === undefined ? '' : `, path length ${pathLength}`}` : 'no';
  return {
    title,
    rows: [
      ['subject', subject || 'empty'],
      ['issuer', issuer === subject && subject !== '' ? `${issuer} (itself)` : issuer],
      ['serial', toHex(serial)],
      ['valid', `${timeText(notBefore)} to ${timeText(notAfter)}`],
      ...keyRows(spki),
      ['authority', authority],
      ['signature', signatureText(certificate.signatureAlgorithm)],
      ...extensionRows(certificate),
      ['SHA-256', sha256(certificate.der)],
      ['bytes', String(certificate.der.length)],
    ],
  };
}

/** What kind of key it is and whether it is one of the pinned roots. */
export function keyRows(spki: Uint8Array): readonly Row[] {
  const digest = sha256(spki);
  const names = DEFAULT_ANCHORS.filter(({ spkiSha256 }) => spkiSha256 === digest).map(
    ({ name, role, simulated }) => `${name} (${role}${simulated ? ', SIMULATED' : ''})`,
  );
  return [
    ['key', keyText(spki)],
    ['SPKI SHA-256', digest],
    ['pinned as', names.join(', ') || 'not a pinned anchor'],
  ];
}

function keyText(spki: Uint8Array): string {
  try {
    const key = publicKeyKind(spki);
    return key.kind === 'rsa' ? `RSA of ${key.bits} bits` : `EC on ${key.curve}`;
  } catch (error) {
    if (error instanceof Refusal) return `other: ${error.message}`;
    throw error;
  }
}

/** What signed, by its algorithm identifier. */
export function signatureText(algorithm: Uint8Array): string {
  const { oid } = readAlgorithm(algorithm, 'signature algorithm');
  const name = SIGNATURE_NAMES[oid];
  return oid === RSA_PSS ? `RSASSA-PSS${hashOfPss(algorithm)}` : (name ?? oid);
}

/** The parameters say all of it: no issuer's key is needed to read them. */
function hashOfPss(algorithm: Uint8Array): string {
  try {
    const scheme = schemeOf(algorithm, new Uint8Array());
    return 'hash' in scheme ? ` with ${scheme.hash.replace('sha', 'SHA-')}` : '';
  } catch (error) {
    if (error instanceof Refusal) return '';
    throw error;
  }
}

function sha256(bytes: Uint8Array): string {
  return toHex(nodeCrypto.hash('sha256', bytes));
}

function crlSection(der: Uint8Array, title: string): Section {
  const { issuer, thisUpdate, nextUpdate, revoked, signatureAlgorithm } = parseCrl(der);
  const shown = [...revoked].slice(0, SHOWN_ENTRIES);
  const entries = shown.map(([serial, time]): Row => ['revoked', `${serial} since ${timeText(time)}`]);
  const more = revoked.size - shown.length;
  return {
    title,
    rows: [
      ['issuer', issuer],
      ['valid', `${timeText(thisUpdate)} to ${timeText(nextUpdate)}`],
      ['revoked entries', String(revoked.size)],
      ...entries,
      ...(more > 0 ? [['not shown', `${more} more entries`] as const] : []),
      ['signature', signatureText(signatureAlgorithm)],
      ['SHA-256', sha256(der)],
      ['bytes', String(der.length)],
    ],
  };
}

/** Elements of DER one behind the other, with zeros at the end, each as what it is. */
export function derSections(bytes: Uint8Array): readonly Section[] {
  const reader = new DerReader(bytes, 'DER');
  const elements: Uint8Array[] = [];
  let offset = 0;
  while (offset < bytes.length && !isZero(bytes.subarray(offset))) {
    if (elements.length === MAX_BLOCKS) throw new Refusal('MALFORMED', `more than ${MAX_BLOCKS} elements`);
    const { encoded } = reader.take();
    elements.push(encoded);
    offset += encoded.length;
  }
  return elementSections(elements.map((der) => () => der));
}

const LABELS = ['CERTIFICATE', 'X509 CRL', 'PUBLIC KEY'];
const PEM_BLOCK = /-----BEGIN ([A-Z0-9 ]{1,40})-----([A-Za-z0-9+/=\s]*)-----END \1-----/g;

/** Blocks of PEM in their order; text around them is passed over. */
export function pemSections(bytes: Uint8Array): readonly Section[] {
  if (bytes.length > MAX_PEM_BYTES) throw new Refusal('MALFORMED', `PEM of more than ${MAX_PEM_BYTES} bytes`);
  const blocks = [...Buffer.from(bytes).toString('latin1').matchAll(PEM_BLOCK)];
  if (blocks.length === 0) throw new Refusal('MALFORMED', 'there is no whole PEM block');
  if (blocks.length > MAX_BLOCKS) throw new Refusal('MALFORMED', `more than ${MAX_BLOCKS} PEM blocks`);
  return elementSections(
    blocks.map(([, label = '', body = '']) => () => {
      if (!LABELS.includes(label)) throw new Refusal('UNSUPPORTED', `a PEM block of ${label} is not shown`);
      return unpad(fromBase64(body.replaceAll(/\s/g, '')));
    }),
  );
}

/** Of several elements one that cannot be read does not hide the others. */
function elementSections(elements: readonly (() => Uint8Array)[]): readonly Section[] {
  const [only] = elements;
  if (only && elements.length === 1) return [elementSection(only())];
  return elements.flatMap((element, i) => readable(`element ${i + 1}`, () => [elementSection(element(), i)]));
}

function elementSection(der: Uint8Array, position?: number): Section {
  const number = position === undefined ? '' : ` ${position + 1}`;
  switch (derShape(der)) {
    case 'certificate':
      return certificateSection(parseCertificate(der), `certificate${number}`);
    case 'crl':
      return crlSection(der, `CRL${number}`);
    case 'public-key':
      return publicKeySection(der, `public key${number}`);
    case undefined:
      throw new Refusal('UNSUPPORTED', 'the DER is no certificate, revocation list or public key');
  }
}

/** A bare key says nothing of who holds it. */
function publicKeySection(spki: Uint8Array, title: string): Section {
  const reader = new DerReader(spki, 'public key');
  reader.skip(TAG.sequence);
  reader.end();
  return { title, rows: [...keyRows(spki), ['bytes', String(spki.length)]] };
}
