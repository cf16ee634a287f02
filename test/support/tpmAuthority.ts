import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  Extension,
  ExtendedKeyUsageExtension,
  SubjectKeyIdentifierExtension,
  X509CertificateGenerator,
  X509CrlGenerator,
} from '@peculiar/x509';
import type { Anchor, AnchorRole } from '../../attestation/anchors.ts';
import { concat, fromHex, utf8 } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import type { HashName } from '../../attestation/crypto/provider.ts';
import type { PcrBank } from '../../attestation/evidence/evidence.ts';
import { spkiSha256Of, VALIDITY } from './mintedAuthority.ts';

const { subtle } = webcrypto;
const RSA = { hash: 'SHA-256', publicExponent: Uint8Array.of(1, 0, 1) };
const CA_SIGNING = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };
const WEB_HASH = { sha1: 'SHA-1', sha256: 'SHA-256', sha384: 'SHA-384', sha512: 'SHA-512' } as const;
const HASH_ID = { sha1: 0x0004, sha256: 0x000b, sha384: 0x000c, sha512: 0x000d } as const;
const SCHEME_ID = { rsassa: 0x0014, rsapss: 0x0016, ecdsa: 0x0018 } as const;

/** An instant at which everything minted here is in date. */
export const NOW = Date.parse('2026-06-01T00:00:00Z');

export type Keys = webcrypto.CryptoKeyPair;
export type Scheme = keyof typeof SCHEME_ID;

// Keys.

export function generateRsa(scheme: 'rsassa' | 'rsapss' = 'rsassa', modulusLength = 2048): Promise<Keys> {
  const name = scheme === 'rsassa' ? 'RSASSA-PKCS1-v1_5' : 'RSA-PSS';
  return subtle.generateKey({ name, modulusLength, ...RSA }, true, ['sign', 'verify']);
}

export function generateEc(namedCurve: 'P-256' | 'P-384' | 'P-521' = 'P-256'): Promise<Keys> {
  return subtle.generateKey({ name: 'ECDSA', namedCurve }, true, ['sign', 'verify']);
}

export async function spkiOf({ publicKey }: Keys): Promise<Uint8Array> {
  return new Uint8Array(await subtle.exportKey('spki', publicKey));
}

export function jwkOf({ publicKey }: Keys): Promise<webcrypto.JsonWebKey> {
  return subtle.exportKey('jwk', publicKey);
}

// Numbers and sized buffers of TPM structures.

export function u16(value: number): Uint8Array {
  return Uint8Array.of(value >> 8, value);
}

export function u32(value: number): Uint8Array {
  return Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
}

function u64(value: bigint): Uint8Array {
  return fromHex(value.toString(16).padStart(16, '0'));
}

export function sized(content: Uint8Array): Uint8Array {
  return concat(u16(content.length), content);
}

// Quotes.

export interface Selection {
  readonly hash: HashName;
  readonly pcrs: readonly number[];
  /** Bytes of the bit map, 3 by default. */
  readonly size?: number;
}

export interface QuoteFields {
  readonly magic?: number;
  readonly type?: number;
  readonly qualifiedSigner?: Uint8Array;
  readonly extraData?: Uint8Array;
  readonly clock?: bigint;
  readonly resetCount?: number;
  readonly restartCount?: number;
  readonly safe?: number;
  readonly firmwareVersion?: bigint;
  readonly selection?: readonly Selection[];
  readonly pcrDigest?: Uint8Array;
}

/** Values of all 24 registers: register i holds bytes of value i + 1. */
export function mintPcrs(hash: HashName): PcrBank {
  const size = nodeCrypto.hash(hash, new Uint8Array()).length;
  return {
    hash,
    values: new Map(Array.from({ length: 24 }, (_, i) => [i, new Uint8Array(size).fill(i + 1)])),
  };
}

export function pcrDigest(
  selection: readonly Selection[],
  banks: readonly PcrBank[],
  hash: HashName,
): Uint8Array {
  const values = selection.flatMap(({ hash: bank, pcrs }) =>
    pcrs.map((index) => banks.find((other) => other.hash === bank)!.values.get(index)!),
  );
  return nodeCrypto.hash(hash, concat(...values));
}

export const EXTRA_DATA = new Uint8Array(32).fill(0x77);
export const FIRMWARE = 0x2020031200120003n;
export const ALL_SHA256: readonly Selection[] = [
  { hash: 'sha256', pcrs: Array.from({ length: 24 }, (_, i) => i) },
];

/** TPMS_ATTEST of a quote over all SHA-256 registers that `mintPcrs` fills, with the fields changed. */
export function encodeAttest(fields: QuoteFields = {}): Uint8Array {
  const selection = fields.selection ?? ALL_SHA256;
  const digest = fields.pcrDigest ?? pcrDigest(ALL_SHA256, [mintPcrs('sha256')], 'sha256');
  return concat(
    u32(fields.magic ?? 0xff544347),
    u16(fields.type ?? 0x8018),
    sized(fields.qualifiedSigner ?? concat(u16(HASH_ID.sha256), new Uint8Array(32).fill(0x51))),
    sized(fields.extraData ?? EXTRA_DATA),
    u64(fields.clock ?? 123_456n),
    u32(fields.resetCount ?? 3),
    u32(fields.restartCount ?? 1),
    Uint8Array.of(fields.safe ?? 1),
    u64(fields.firmwareVersion ?? FIRMWARE),
    u32(selection.length),
    ...selection.map(encodeSelection),
    sized(digest),
  );
}

function encodeSelection({ hash, pcrs, size = 3 }: Selection): Uint8Array {
  const bits = new Uint8Array(size);
  for (const index of pcrs) bits[index >> 3]! |= 1 << (index & 7);
  return concat(u16(HASH_ID[hash]), Uint8Array.of(size), bits);
}

// Signatures.

export interface SignOptions {
  readonly scheme?: Scheme;
  readonly hash?: HashName;
  /** Of RSAPSS; the length of the digest by default. */
  readonly saltLength?: number;
}

/** Raw signature over the bytes: RSA as it is, ECDSA as `r || s` of fixed length. */
export async function signRaw(
  message: Uint8Array,
  keys: Keys,
  options: SignOptions = {},
): Promise<Uint8Array> {
  const { scheme = 'rsassa', hash = 'sha256' } = options;
  const saltLength = options.saltLength ?? nodeCrypto.hash(hash, message).length;
  const key = await rekey(keys.privateKey, scheme, hash);
  const algorithm =
    scheme === 'ecdsa'
      ? { name: 'ECDSA', hash: WEB_HASH[hash] }
      : scheme === 'rsapss'
        ? { name: 'RSA-PSS', saltLength }
        : { name: 'RSASSA-PKCS1-v1_5' };
  return new Uint8Array(await subtle.sign(algorithm, key, message));
}

/** WebCrypto binds an RSA key to one scheme and hash; a TPM need not. */
async function rekey(key: webcrypto.CryptoKey, scheme: Scheme, hash: HashName): Promise<webcrypto.CryptoKey> {
  if (scheme === 'ecdsa') return key;
  const name = scheme === 'rsassa' ? 'RSASSA-PKCS1-v1_5' : 'RSA-PSS';
  const pkcs8 = await subtle.exportKey('pkcs8', key);
  return subtle.importKey('pkcs8', pkcs8, { name, hash: WEB_HASH[hash] }, false, ['sign']);
}

/** TPMT_SIGNATURE over the bytes. */
export async function signTpmt(
  message: Uint8Array,
  keys: Keys,
  options: SignOptions = {},
): Promise<Uint8Array> {
  const { scheme = 'rsassa', hash = 'sha256' } = options;
  const raw = await signRaw(message, keys, options);
  const half = raw.length / 2;
  const body =
    scheme === 'ecdsa' ? concat(sized(raw.subarray(0, half)), sized(raw.subarray(half))) : sized(raw);
  return concat(u16(SCHEME_ID[scheme]), u16(HASH_ID[hash]), body);
}

// Public areas.

/** fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, restricted, sign. */
export const AK_ATTRIBUTES = 0x00050072;

export interface PublicFields {
  readonly attributes?: number;
  readonly nameHash?: HashName;
  readonly scheme?: Uint8Array;
  readonly symmetric?: Uint8Array;
}

/** TPMT_PUBLIC of an RSA or EC key, as `TPM2_ReadPublic` would return it. */
export async function encodePublic(keys: Keys, fields: PublicFields = {}): Promise<Uint8Array> {
  const jwk = await jwkOf(keys);
  const bytes = (text: string | undefined) => new Uint8Array(Buffer.from(text!, 'base64url'));
  const isRsa = jwk.kty === 'RSA';
  const scheme =
    fields.scheme ?? concat(u16(isRsa ? SCHEME_ID.rsassa : SCHEME_ID.ecdsa), u16(HASH_ID.sha256));
  const head = [
    u16(isRsa ? 0x0001 : 0x0023),
    u16(HASH_ID[fields.nameHash ?? 'sha256']),
    u32(fields.attributes ?? AK_ATTRIBUTES),
    sized(new Uint8Array()),
    fields.symmetric ?? u16(0x0010),
    scheme,
  ];
  if (isRsa) {
    const modulus = bytes(jwk.n);
    return concat(...head, u16(8 * modulus.length), u32(0), sized(modulus));
  }
  const curve = u16(jwk.crv === 'P-256' ? 0x0003 : jwk.crv === 'P-384' ? 0x0004 : 0x0005);
  return concat(...head, curve, u16(0x0010), sized(bytes(jwk.x)), sized(bytes(jwk.y)));
}

/** Qualified name of a primary key below a hierarchy. */
export function primaryName(publicArea: Uint8Array, hierarchy: number): Uint8Array {
  const name = concat(u16(HASH_ID.sha256), nodeCrypto.hash('sha256', publicArea));
  return concat(u16(HASH_ID.sha256), nodeCrypto.hash('sha256', concat(u32(hierarchy), name)));
}

// Certificates.

export function der(tag: number, ...content: readonly Uint8Array[]): Uint8Array {
  const body = concat(...content);
  if (body.length >= 0x10000) throw new Error('too long for a test');
  const length =
    body.length < 0x80
      ? [body.length]
      : body.length < 0x100
        ? [0x81, body.length]
        : [0x82, body.length >> 8, body.length & 0xff];
  return concat(Uint8Array.of(tag, ...length), body);
}

export const AK_PURPOSE = '2.23.133.8.3';
export const EK_PURPOSE = '2.23.133.8.1';

/** GeneralNames with one directoryName of the TPM attributes below 2.23.133.2, each in a set of its own. */
export function tpmAltName(
  names: Readonly<Record<number, string>> = { 1: 'id:564F5543', 2: 'vTPM', 3: 'id:00010000' },
): Uint8Array {
  const sets = Object.entries(names).map(([arc, text]) => {
    const oid = der(0x06, Uint8Array.of(0x67, 0x81, 0x05, 2, Number(arc)));
    return der(0x31, der(0x30, oid, der(0x0c, utf8(text))));
  });
  return der(0x30, der(0xa4, der(0x30, ...sets)));
}

export function integer(value: bigint): Uint8Array {
  const digits = value.toString(16);
  const padded = digits.length % 2 === 0 ? digits : `0${digits}`;
  const bytes = fromHex(padded);
  return der(0x02, (bytes[0] ?? 0) >= 0x80 ? concat(Uint8Array.of(0), bytes) : bytes);
}

/** Google's instance extension. */
export function googleInstance(projectNumber = 4711n, production = true): Uint8Array {
  const flag = der(0xa1, der(0x01, Uint8Array.of(production ? 0xff : 0)));
  const security = der(0xa0, der(0x30, der(0xa0, integer(3n)), flag));
  const texts = ['europe-west4-a', 'minted-project', 'minted-instance'].map((text) => der(0x0c, utf8(text)));
  const [zone, project, instance] = texts as [Uint8Array, Uint8Array, Uint8Array];
  return der(0x30, zone, integer(projectNumber), project, integer(18446744073709551615n), instance, security);
}

export const GOOGLE_INSTANCE = '1.3.6.1.4.1.11129.2.1.21';

export interface Issuing {
  readonly subject: string;
  readonly issuer: string;
  readonly subjectKeys: Keys;
  readonly signer: Keys;
  readonly extensions: readonly Extension[];
  readonly serialNumber?: string;
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  /** Without subject and authority key identifiers. */
  readonly noKeyIds?: boolean;
  /** RSASSA-PKCS1-v1_5 with SHA-256 by default. */
  readonly signingAlgorithm?: { readonly name: string; readonly hash: string };
}

export async function issue(issuing: Issuing): Promise<Uint8Array> {
  const ids = issuing.noKeyIds
    ? []
    : [
        await SubjectKeyIdentifierExtension.create(issuing.subjectKeys.publicKey),
        await AuthorityKeyIdentifierExtension.create(issuing.signer.publicKey),
      ];
  const certificate = await X509CertificateGenerator.create({
    subject: issuing.subject,
    issuer: issuing.issuer,
    serialNumber: issuing.serialNumber ?? '0a',
    notBefore: issuing.notBefore ?? VALIDITY.notBefore,
    notAfter: issuing.notAfter ?? VALIDITY.notAfter,
    publicKey: issuing.subjectKeys.publicKey,
    signingKey: issuing.signer.privateKey,
    signingAlgorithm: issuing.signingAlgorithm ?? CA_SIGNING,
    extensions: [...issuing.extensions, ...ids],
  });
  return new Uint8Array(certificate.rawData);
}

export function raw(oid: string, value: Uint8Array, critical = false): Extension {
  return new Extension(oid, critical, value as Uint8Array<ArrayBuffer>);
}

/** Bits of KeyUsage (RFC 5280 section 4.2.1.3). */
const USAGE_BIT = {
  digitalSignature: 0,
  keyEncipherment: 2,
  keyAgreement: 4,
  keyCertSign: 5,
  cRLSign: 6,
} as const;

export function usage(...names: readonly (keyof typeof USAGE_BIT)[]): Extension {
  const flags = names.reduce((sum, name) => sum | (0x80 >> USAGE_BIT[name]), 0);
  const unused = 31 - Math.clz32(flags & -flags);
  return raw('2.5.29.15', der(0x03, Uint8Array.of(unused, flags)), true);
}

export function purposes(...oids: readonly string[]): Extension {
  return new ExtendedKeyUsageExtension([...oids], false);
}

export const CA_EXTENSIONS: readonly Extension[] = [
  new BasicConstraintsExtension(true, undefined, true),
  usage('keyCertSign', 'cRLSign'),
];
export const LEAF: Extension = new BasicConstraintsExtension(false, undefined, true);

/** Extensions of an attestation key's certificate as Azure issues it. */
export const AK_EXTENSIONS: readonly Extension[] = [LEAF, usage('digitalSignature'), purposes(AK_PURPOSE)];

/** A minted root and an intermediate, with the means to issue what they issue. */
export interface TpmAuthority {
  readonly rootKeys: Keys;
  readonly caKeys: Keys;
  readonly root: Uint8Array;
  readonly ca: Uint8Array;
  readonly anchor: Anchor;
  /** Issues a certificate for the key under the intermediate. */
  issueLeaf(subjectKeys: Keys, changes?: Partial<Issuing>): Promise<Uint8Array>;
  /** A list of the intermediate. */
  issueCrl(options: CrlOptions): Promise<Uint8Array>;
}

export interface CrlOptions {
  readonly revoked?: readonly string[];
  readonly signer?: Keys;
  readonly thisUpdate?: Date;
  readonly nextUpdate?: Date;
  readonly revokedAt?: Date;
}

export const ROOT_NAME = 'CN=Minted TPM Root';
export const CA_NAME = 'CN=Minted TPM CA';

export async function mintTpmAuthority(role: AnchorRole = 'azure-vtpm'): Promise<TpmAuthority> {
  const [rootKeys, caKeys] = await Promise.all([generateRsa(), generateRsa()]);
  const base = { issuer: ROOT_NAME, signer: rootKeys, extensions: CA_EXTENSIONS };
  const root = await issue({ ...base, subject: ROOT_NAME, subjectKeys: rootKeys, serialNumber: '01' });
  const ca = await issue({ ...base, subject: CA_NAME, subjectKeys: caKeys, serialNumber: '02' });
  const spkiSha256 = await spkiSha256Of(rootKeys);
  const leaf = { subject: 'CN=minted', issuer: CA_NAME, signer: caKeys, extensions: AK_EXTENSIONS };
  return {
    rootKeys,
    caKeys,
    root,
    ca,
    anchor: { role, name: 'Minted TPM Root', spkiSha256, simulated: true },
    issueLeaf: (subjectKeys, changes = {}) => issue({ ...leaf, subjectKeys, ...changes }),
    issueCrl: (options) => issueCrl(options.signer ?? caKeys, options),
  };
}

/** A certificate of the intermediate for a key on P-256 of which only the public half is there, in DER. */
export async function certifyKey(
  authority: TpmAuthority,
  spki: Uint8Array,
  changes: Partial<Issuing> = {},
): Promise<Uint8Array> {
  const format = { name: 'ECDSA', namedCurve: 'P-256' };
  const publicKey = await subtle.importKey('spki', spki, format, true, ['verify']);
  return authority.issueLeaf({ publicKey } as Keys, changes);
}

async function issueCrl(signer: Keys, options: CrlOptions): Promise<Uint8Array> {
  const revocationDate = options.revokedAt ?? new Date('2026-02-01T00:00:00Z');
  const crl = await X509CrlGenerator.create({
    issuer: CA_NAME,
    thisUpdate: options.thisUpdate ?? new Date('2026-03-01T00:00:00Z'),
    nextUpdate: options.nextUpdate ?? new Date('2027-03-01T00:00:00Z'),
    signingKey: signer.privateKey,
    signingAlgorithm: CA_SIGNING,
    entries: (options.revoked ?? []).map((serialNumber) => ({ serialNumber, revocationDate })),
  });
  return new Uint8Array(crl.rawData);
}

/** The certificate inside zero padding, as an NV index of 4096 bytes holds it. */
export function padded(certificate: Uint8Array): Uint8Array {
  return concat(certificate, new Uint8Array(4096 - certificate.length));
}

/** The bytes with one bit changed at each of the positions. */
export function flipped(bytes: Uint8Array, ...bits: readonly number[]): Uint8Array {
  const copy = bytes.slice();
  for (const bit of bits) copy[(bit >> 3) % copy.length]! ^= 1 << (bit & 7);
  return copy;
}
