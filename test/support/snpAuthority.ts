import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import {
  BasicConstraintsExtension,
  Extension,
  KeyUsagesExtension,
  X509CertificateGenerator,
  X509CrlGenerator,
} from '@peculiar/x509';
import type { SnpAnchor } from '../../attestation/evidence/snp/anchors.ts';
import type { SnpProduct } from '../../attestation/evidence/snp/product.ts';
import { CA_USAGE, spkiSha256Of, VALIDITY } from './mintedAuthority.ts';

const { subtle } = webcrypto;
/** RSA-2048 where AMD has RSA-4096: minted for every run of the tests. */
const RSA = {
  name: 'RSA-PSS',
  hash: 'SHA-384',
  modulusLength: 2048,
  publicExponent: Uint8Array.of(1, 0, 1),
};
const PSS = { name: 'RSA-PSS', hash: 'SHA-384', saltLength: 48 };
const AMD_ARC = '1.3.6.1.4.1.3704.1.';

/** An instant at which everything minted here is in date. */
export const NOW = Date.parse('2026-06-01T00:00:00Z');
export const ASK_SERIAL = '010001';

type Keys = webcrypto.CryptoKeyPair;

export interface VekOptions {
  /** Content of each extension below AMD's arc; merged over those of a Genoa VCEK, undefined leaves one out. */
  readonly extensions?: Readonly<Record<string, Uint8Array | undefined>>;
  readonly notAfter?: Date;
}

/** A minted ARK and ASK, with the means to issue what AMD issues. */
export interface SnpAuthority {
  readonly ark: Uint8Array;
  readonly ask: Uint8Array;
  readonly anchor: SnpAnchor;
  issueVek(keys: Keys, options?: VekOptions): Promise<Uint8Array>;
  issueCrl(options: CrlOptions): Promise<Uint8Array>;
}

export interface CrlOptions {
  /** The name in the list; the signer stays the ARK. */
  readonly issuer?: string;
  readonly revoked?: readonly string[];
  readonly thisUpdate?: Date;
  readonly nextUpdate?: Date;
  readonly revokedAt?: Date;
  readonly extensions?: readonly Extension[];
}

export function derInteger(value: number): Uint8Array {
  return value < 0x80 ? Uint8Array.of(2, 1, value) : Uint8Array.of(2, 2, value >> 8, value & 0xff);
}

export function ia5String(text: string): Uint8Array {
  return Uint8Array.of(0x16, text.length, ...new TextEncoder().encode(text));
}

export const CHIP_ID = Uint8Array.from({ length: 64 }, (_, i) => i + 1);

/** Extensions of a Genoa VCEK at bootloader 10, TEE 0, SNP 27, microcode 200. */
const VCEK_EXTENSIONS: Readonly<Record<string, Uint8Array | undefined>> = {
  '1': derInteger(0),
  '2': ia5String('Genoa'),
  '3.1': derInteger(10),
  '3.2': derInteger(0),
  '3.3': derInteger(27),
  '3.8': derInteger(200),
  '4': CHIP_ID,
};

export function generateChipKeys(curve = 'P-384'): Promise<Keys> {
  return subtle.generateKey({ name: 'ECDSA', namedCurve: curve }, true, ['sign', 'verify']);
}

/** Mints a root and an intermediate for the product. */
export async function mintAuthority(product: SnpProduct = 'genoa'): Promise<SnpAuthority> {
  const [arkKeys, askKeys] = await Promise.all([generateRsa(), generateRsa()]);
  const ark = await issueCa('CN=ARK-Minted', arkKeys, 'CN=ARK-Minted', arkKeys, '010000');
  const ask = await issueCa('CN=SEV-Minted', askKeys, 'CN=ARK-Minted', arkKeys, ASK_SERIAL);
  const spkiSha256 = await spkiSha256Of(arkKeys);
  return {
    ark,
    ask,
    anchor: { role: 'amd-ark', name: 'ARK-Minted', product, spkiSha256, simulated: true },
    issueVek: (keys, options) => issueVek(keys, askKeys, options),
    issueCrl: (options) => issueCrl(arkKeys, options),
  };
}

function generateRsa(): Promise<Keys> {
  return subtle.generateKey(RSA, true, ['sign', 'verify']);
}

async function issueCa(subject: string, keys: Keys, issuer: string, signer: Keys, serialNumber: string) {
  const certificate = await X509CertificateGenerator.create({
    subject,
    issuer,
    serialNumber,
    ...VALIDITY,
    publicKey: keys.publicKey,
    signingKey: signer.privateKey,
    signingAlgorithm: PSS,
    extensions: [
      new BasicConstraintsExtension(true, undefined, true),
      new KeyUsagesExtension(CA_USAGE, true),
    ],
  });
  return new Uint8Array(certificate.rawData);
}

async function issueVek(keys: Keys, askKeys: Keys, options: VekOptions = {}): Promise<Uint8Array> {
  const extensions = Object.entries({ ...VCEK_EXTENSIONS, ...options.extensions });
  const certificate = await X509CertificateGenerator.create({
    subject: 'CN=SEV-VCEK',
    issuer: 'CN=SEV-Minted',
    serialNumber: '00',
    ...VALIDITY,
    ...(options.notAfter && { notAfter: options.notAfter }),
    publicKey: keys.publicKey,
    signingKey: askKeys.privateKey,
    signingAlgorithm: PSS,
    extensions: extensions.flatMap(([arc, value]) =>
      value ? [new Extension(AMD_ARC + arc, false, value as Uint8Array<ArrayBuffer>)] : [],
    ),
  });
  return new Uint8Array(certificate.rawData);
}

async function issueCrl(arkKeys: Keys, options: CrlOptions): Promise<Uint8Array> {
  const revocationDate = options.revokedAt ?? new Date('2026-02-01T00:00:00Z');
  const crl = await X509CrlGenerator.create({
    issuer: options.issuer ?? 'CN=ARK-Minted',
    thisUpdate: options.thisUpdate ?? new Date('2026-03-01T00:00:00Z'),
    nextUpdate: options.nextUpdate ?? new Date('2027-03-01T00:00:00Z'),
    signingKey: arkKeys.privateKey,
    signingAlgorithm: PSS,
    entries: (options.revoked ?? []).map((serialNumber) => ({ serialNumber, revocationDate })),
    extensions: [...(options.extensions ?? [])],
  });
  return new Uint8Array(crl.rawData);
}

/** A Genoa report of version 5 that `VCEK_EXTENSIONS` endorses, not yet signed. */
export function genoaReport(): Uint8Array {
  const report = new Uint8Array(1184);
  const view = new DataView(report.buffer);
  view.setUint32(0x000, 5, true);
  view.setBigUint64(0x008, 0x30000n, true);
  view.setUint32(0x034, 1, true);
  report.fill(0x5a, 0x050, 0x090); // report data
  report.fill(0xa5, 0x090, 0x0c0); // measurement
  for (const offset of [0x038, 0x180, 0x1e0, 0x1f0]) report.set([10, 0, 0, 0, 0, 0, 27, 200], offset);
  report.set([0x19, 0x11, 0x01], 0x188);
  report.set(CHIP_ID, 0x1a0);
  return report;
}

/** Signs bytes 0x000 to 0x29f and writes R and S as the firmware does: little endian, 72 bytes each. */
export async function signReport(report: Uint8Array, keys: Keys): Promise<Uint8Array> {
  const signed = report.slice();
  const algorithm = { name: 'ECDSA', hash: 'SHA-384' };
  const signature = new Uint8Array(await subtle.sign(algorithm, keys.privateKey, report.slice(0, 0x2a0)));
  const size = signature.length / 2;
  signed.set(signature.slice(0, size).reverse(), 0x2a0);
  signed.set(signature.slice(size).reverse(), 0x2e8);
  return signed;
}

/** A critical extension that nothing here processes. */
export function criticalExtension(oid: string): Extension {
  return new Extension(oid, true, Uint8Array.of(0x30, 0));
}
