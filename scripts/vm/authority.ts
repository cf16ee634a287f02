import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  type Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
} from '@peculiar/x509';
import { toHex } from '../../attestation/bytes/bytes.ts';

const { subtle } = webcrypto;
const P256 = { name: 'ECDSA', namedCurve: 'P-256' } as const;
const SIGNING = { name: 'ECDSA', hash: 'SHA-256' } as const;
const NAME = 'CN=Vouchsafe emulated machines';
/** tcg-kp-AIKCertificate: keys that sign quotes. */
const AK_PURPOSE = '2.23.133.8.3';
const DAY_MS = 86_400_000;

/** Whoever vouches for the TPMs of emulated machines, for one run: its key is in memory alone. */
export interface Authority {
  /** SHA-256 of its SubjectPublicKeyInfo, hex: what `--anchor tpm:` names. */
  readonly anchor: string;
  /** The certificate of an attestation key and our own, in DER, one behind the other. */
  certify(spki: Uint8Array): Promise<Uint8Array>;
}

export async function mintAuthority(now = Date.now()): Promise<Authority> {
  const keys = await subtle.generateKey(P256, true, ['sign', 'verify']);
  const spki = new Uint8Array(await subtle.exportKey('spki', keys.publicKey));
  const issue = async (publicKey: webcrypto.CryptoKey, subject: string, extensions: readonly Extension[]) => {
    const certificate = await X509CertificateGenerator.create({
      subject,
      issuer: NAME,
      serialNumber: toHex(webcrypto.getRandomValues(new Uint8Array(8)).map((byte) => (byte & 0x7f) | 1)),
      notBefore: new Date(now - DAY_MS),
      notAfter: new Date(now + DAY_MS),
      publicKey,
      signingKey: keys.privateKey,
      signingAlgorithm: SIGNING,
      extensions: [
        ...extensions,
        await SubjectKeyIdentifierExtension.create(publicKey),
        await AuthorityKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    return new Uint8Array(certificate.rawData);
  };
  const own = await issue(keys.publicKey, NAME, [
    new BasicConstraintsExtension(true, undefined, true),
    new KeyUsagesExtension(KeyUsageFlags.keyCertSign | KeyUsageFlags.cRLSign, true),
  ]);
  return {
    anchor: toHex(new Uint8Array(await subtle.digest('SHA-256', spki))),
    certify: async (keyOfTpm) => {
      const publicKey = await subtle.importKey('spki', keyOfTpm as Uint8Array<ArrayBuffer>, P256, true, [
        'verify',
      ]);
      const leaf = await issue(publicKey, 'CN=emulated machine', [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(KeyUsageFlags.digitalSignature, true),
        new ExtendedKeyUsageExtension([AK_PURPOSE], false),
      ]);
      return Buffer.concat([leaf, own]);
    },
  };
}
