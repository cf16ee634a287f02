import 'reflect-metadata';
import { createHash, KeyObject, randomBytes, webcrypto } from 'node:crypto';
import { isIP } from 'node:net';
import {
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  Extension,
  type JsonGeneralName,
  SubjectAlternativeNameExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { element } from '../../../attestation/x509/derWriter.ts';
import { TAG } from '../../../attestation/x509/der.ts';
import type { TlsIdentity } from './identity.ts';

/**
 * Extension with the digest of an evidence document whose keyset holds the certificate's key: an OCTET STRING of 32
 * bytes. Below this arc stand UUIDs in seven parts, so that no registry is needed (Microsoft's OIDGen); the library
 * cannot write the single arc of 128 bits that ITU-T X.667 puts below 2.25.
 */
export const EVIDENCE_EXTENSION = '1.2.840.113556.1.8000.2554.52942.38922.6287.16847.44402.4276359.11716950';

const ALGORITHM = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
/** Clocks of clients may be behind ours by this (ms). */
const CLOCK_SKEW_MS = 3_600_000;

export interface SelfSignedOptions {
  /** Names and addresses under which clients reach the service. */
  readonly hosts: readonly string[];
  /** Seconds since 1970: end of the keyset. */
  readonly notAfter: number;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** Makes a key on P-256 whose certificates sign themselves: what makes them worth trust is the evidence they name. */
export async function makeSelfSigned(options: SelfSignedOptions): Promise<TlsIdentity> {
  let keys: CryptoKeyPair | undefined = await webcrypto.subtle.generateKey(ALGORITHM, true, [
    'sign',
    'verify',
  ]);
  const spki = createHash('sha256')
    .update(KeyObject.from(keys.publicKey).export({ type: 'spki', format: 'der' }))
    .digest();
  return {
    spki,
    namesEvidence: true,
    async present(evidence, take) {
      const held = requireKeys(keys);
      const cert = await makeCertificate(held, evidence, options);
      const key = pemOf(requireKeys(keys).privateKey);
      try {
        take({ key, cert });
      } finally {
        key.fill(0);
      }
    },
    drop() {
      keys = undefined;
    },
  };
}

function requireKeys(keys: CryptoKeyPair | undefined): CryptoKeyPair {
  if (!keys) throw new Error('the TLS key was dropped');
  return keys;
}

async function makeCertificate(
  keys: CryptoKeyPair,
  evidence: Uint8Array | undefined,
  { hosts, notAfter, now }: SelfSignedOptions,
): Promise<string> {
  const names = hosts.map((value): JsonGeneralName => ({ type: isIP(value) ? 'ip' : 'dns', value }));
  const certificate = await X509CertificateGenerator.createSelfSigned(
    {
      serialNumber: serialNumber(),
      name: [{ CN: [hosts[0] ?? 'vouchsafe'] }],
      notBefore: new Date(now() - CLOCK_SKEW_MS),
      notAfter: new Date(notAfter * 1000),
      keys,
      signingAlgorithm: ALGORITHM,
      // No key usage: one without keyCertSign would keep clients from taking the certificate as its own issuer.
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new ExtendedKeyUsageExtension([ExtendedKeyUsage.serverAuth]),
        new SubjectAlternativeNameExtension(names),
        ...(evidence ? [new Extension(EVIDENCE_EXTENSION, false, octetString(evidence))] : []),
      ],
    },
    webcrypto as Crypto,
  );
  return certificate.toString('pem');
}

function octetString(content: Uint8Array): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(element(TAG.octetString, content));
}

/** 16 random bytes, positive and without a leading zero (RFC 5280 section 4.1.2.2). */
function serialNumber(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytes.toString('hex');
}

/** Node takes a private key as PEM only. The text between is a string, which no program can wipe. */
function pemOf(key: CryptoKey): Buffer {
  const der = KeyObject.from(key).export({ type: 'pkcs8', format: 'der' });
  const pem = Buffer.from(
    `-----BEGIN PRIVATE KEY-----\n${der.toString('base64')}\n-----END PRIVATE KEY-----\n`,
  );
  der.fill(0);
  return pem;
}
