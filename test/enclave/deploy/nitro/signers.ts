import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import { PemConverter, X509CertificateGenerator } from '@peculiar/x509';
import type { EnclaveSigner } from '../../../../enclave/deploy/nitro/signature.ts';

const HASHES = { 'P-256': 'SHA-256', 'P-384': 'SHA-384', 'P-521': 'SHA-512' } as const;

/** A key and a certificate for it, as an operator makes them with OpenSSL. */
export async function issueSigner(namedCurve: keyof typeof HASHES): Promise<EnclaveSigner> {
  const signingAlgorithm = { name: 'ECDSA', namedCurve, hash: HASHES[namedCurve] };
  const keys = await webcrypto.subtle.generateKey(signingAlgorithm, true, ['sign', 'verify']);
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      name: 'CN=images',
      notBefore: new Date('2026-01-01T00:00:00Z'),
      notAfter: new Date('2036-01-01T00:00:00Z'),
      signingAlgorithm,
      keys,
    },
    webcrypto as Crypto,
  );
  const key = await webcrypto.subtle.exportKey('pkcs8', keys.privateKey);
  return { privateKey: PemConverter.encode(key, 'PRIVATE KEY'), certificate: certificate.toString('pem') };
}
