import 'reflect-metadata';
import type { X509Certificate } from 'node:crypto';
import { X509Certificate as LibraryCertificate } from '@peculiar/x509';
import { EVIDENCE_EXTENSION } from '../../enclave/keys/tls/selfSigned.ts';

/** Digest of the evidence that a certificate names; undefined where it names none. */
export function evidenceNamedBy({ raw }: Pick<X509Certificate, 'raw'>): Buffer | undefined {
  const extension = new LibraryCertificate(raw).getExtension(EVIDENCE_EXTENSION);
  if (!extension) return undefined;
  const value = Buffer.from(extension.value);
  if (value.subarray(0, 2).toString('hex') !== '0420') throw new TypeError('no OCTET STRING of 32 bytes');
  return value.subarray(2);
}
