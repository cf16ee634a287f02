import 'reflect-metadata';
import {
  BasicConstraintsExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  X509Certificate,
  X509Crl,
} from '@peculiar/x509';
import { toHex } from '../../../attestation/bytes/bytes.ts';
import type { Certificate } from '../../../attestation/x509/certificate.ts';
import { serialKey, type Crl } from '../../../attestation/x509/crl.ts';

type Source = Uint8Array<ArrayBuffer>;

/** What a certificate says, as plain data, by an unrelated implementation: `@peculiar/x509`. Throws where it does. */
export function libraryCertificate(der: Uint8Array) {
  const certificate = new X509Certificate(der as Source);
  const constraints = certificate.getExtension(BasicConstraintsExtension);
  const usage = certificate.getExtension(KeyUsagesExtension)?.usages;
  return {
    signature: toHex(new Uint8Array(certificate.signature)),
    spki: toHex(new Uint8Array(certificate.publicKey.rawData)),
    subject: certificate.subject,
    issuer: certificate.issuer,
    subjectName: toHex(new Uint8Array(certificate.subjectName.toArrayBuffer())),
    issuerName: toHex(new Uint8Array(certificate.issuerName.toArrayBuffer())),
    serial: certificate.serialNumber,
    notBefore: certificate.notBefore.getTime(),
    notAfter: certificate.notAfter.getTime(),
    extensions: certificate.extensions.map(({ type, critical, value }) => ({
      type,
      critical,
      value: toHex(new Uint8Array(value)),
    })),
    isCa: constraints?.ca ?? false,
    pathLength: constraints?.pathLength,
    maySignCertificates: usage === undefined ? undefined : (usage & KeyUsageFlags.keyCertSign) !== 0,
    maySignCrls: usage === undefined ? undefined : (usage & KeyUsageFlags.cRLSign) !== 0,
  };
}

/** The same of our own. */
export function ourCertificate(certificate: Certificate): ReturnType<typeof libraryCertificate> {
  return {
    signature: toHex(certificate.signature),
    spki: toHex(certificate.spki),
    subject: certificate.subject,
    issuer: certificate.issuer,
    subjectName: toHex(certificate.subjectName),
    issuerName: toHex(certificate.issuerName),
    serial: toHex(certificate.serial),
    notBefore: certificate.notBefore,
    notAfter: certificate.notAfter,
    extensions: [...certificate.extensions].map(([type, { critical, value }]) => ({
      type,
      critical,
      value: toHex(value),
    })),
    isCa: certificate.isCa,
    pathLength: certificate.pathLength,
    maySignCertificates: certificate.maySignCertificates,
    maySignCrls: certificate.maySignCrls,
  };
}

export function libraryCrl(der: Uint8Array) {
  const crl = new X509Crl(der as Source);
  return {
    signature: toHex(new Uint8Array(crl.signature)),
    issuer: crl.issuer,
    issuerName: toHex(new Uint8Array(crl.issuerName.toArrayBuffer())),
    thisUpdate: crl.thisUpdate.getTime(),
    nextUpdate: crl.nextUpdate?.getTime(),
    revoked: earliest(
      crl.entries.map(({ serialNumber, revocationDate }) => [
        serialKey(Uint8Array.from(Buffer.from(serialNumber, 'hex'))),
        revocationDate.getTime(),
      ]),
    ),
  };
}

/** Of entries for one serial the earlier date counts; as serials are compared, -1 and 255 are one. */
function earliest(entries: readonly (readonly [string, number])[]): readonly (readonly [string, number])[] {
  const dates = new Map<string, number>();
  for (const [serial, date] of entries) dates.set(serial, Math.min(date, dates.get(serial) ?? date));
  return [...dates];
}

export function ourCrl(crl: Crl): ReturnType<typeof libraryCrl> {
  return {
    signature: toHex(crl.signature),
    issuer: crl.issuer,
    issuerName: toHex(crl.issuerName),
    thisUpdate: crl.thisUpdate,
    nextUpdate: crl.nextUpdate,
    revoked: [...crl.revoked],
  };
}
