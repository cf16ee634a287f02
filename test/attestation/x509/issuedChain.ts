import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import type { CryptoProvider } from '../../../attestation/crypto/provider.ts';
import { parseCertificate, type Certificate } from '../../../attestation/x509/certificate.ts';
import {
  authorityExtensions,
  issueCertificate,
  signerExtension,
  type CertificateTemplate,
} from '../../../enclave/collect/simulated/certificate.ts';
import { commonName } from './encodedCertificate.ts';

export const NOT_BEFORE = Date.parse('2025-01-01T00:00:00Z');
export const NOT_AFTER = Date.parse('2035-01-01T00:00:00Z');
/** An instant at which everything issued here is in date. */
export const NOW = Date.parse('2026-06-01T00:00:00Z');

export type Role = 'leaf' | 'intermediate' | 'root';
/** What a certificate of the chain has in place of its own fields. */
export type Changes = Partial<Record<Role, Partial<CertificateTemplate> & { readonly signedBy?: KeyObject }>>;

const keys: Record<Role | 'stranger', { readonly publicKey: KeyObject; readonly privateKey: KeyObject }> = {
  leaf: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  intermediate: generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  root: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  stranger: generateKeyPairSync('ec', { namedCurve: 'P-256' }),
};
/** A key that issued nothing. */
export const STRANGER = keys.stranger.privateKey;

/** Leaf, intermediate and root in DER, each issued by the next. */
export function issueChain(changes: Changes = {}): readonly Uint8Array[] {
  return [
    issue('leaf', 'intermediate', [signerExtension()], changes),
    issue('intermediate', 'root', authorityExtensions(0, 'certificates'), changes),
    issue('root', 'root', authorityExtensions(1, 'certificates-and-crls'), changes),
  ];
}

export function parsedChain(changes: Changes = {}): readonly Certificate[] {
  return issueChain(changes).map(parseCertificate);
}

function issue(role: Role, issuer: Role, extensions: readonly Uint8Array[], changes: Changes): Uint8Array {
  const { signedBy = keys[issuer].privateKey, ...changed } = changes[role] ?? {};
  const template: CertificateTemplate = {
    subject: commonName(role),
    serial: Uint8Array.of(role.length),
    notBefore: new Date(NOT_BEFORE),
    notAfter: new Date(NOT_AFTER),
    publicKey: keys[role].publicKey,
    extensions,
    ...changed,
  };
  return issueCertificate(template, { name: commonName(issuer), key: signedBy });
}

/** Node's cryptography, counting the signatures that it is asked to verify. */
export function countingCrypto(): { readonly crypto: CryptoProvider; readonly verified: () => number } {
  let count = 0;
  const verify: CryptoProvider['verify'] = (...question) => {
    count++;
    return nodeCrypto.verify(...question);
  };
  return { crypto: { ...nodeCrypto, verify }, verified: () => count };
}
