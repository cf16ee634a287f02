import 'reflect-metadata';
import { webcrypto } from 'node:crypto';
import {
  BasicConstraintsExtension,
  Extension,
  KeyUsageFlags,
  KeyUsagesExtension,
  X509CertificateGenerator,
  X509CrlGenerator,
} from '@peculiar/x509';
import type { Anchor } from '../../attestation/anchors.ts';
import { concat, fromHex, toHex, utf8 } from '../../attestation/bytes/bytes.ts';
import type { SignedJson } from '../../attestation/collateral.ts';
import { SGX_EXTENSION } from '../../attestation/evidence/dcap/pck.ts';
import { CA_USAGE, spkiSha256Of, VALIDITY } from './mintedAuthority.ts';

const { subtle } = webcrypto;
const P256 = { name: 'ECDSA', namedCurve: 'P-256' };
const ES256 = { name: 'ECDSA', hash: 'SHA-256' };
const LEAF_USAGE = (KeyUsageFlags.digitalSignature | KeyUsageFlags.nonRepudiation) as KeyUsageFlags;

/** An instant at which everything minted here is in date. */
export const STATEMENT_TIME = Date.parse('2026-06-15T12:00:00Z');
export const FMSPC = '00906ed50000';
export const PCE_ID = '0000';
export const PPID = '0123456789abcdef0123456789abcdef';
/** Security versions of the minted platform. */
export const PLATFORM_SVNS: readonly number[] = [6, 6, 2, 2, 4, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0];
export const PLATFORM_PCE_SVN = 13;
export const TCB_SIGNER_SERIAL = '7e3882d5fb55294a';
export const CA_SERIAL = '3e8b';
export const PCK_SERIAL = '5eed01';

type Keys = webcrypto.CryptoKeyPair;

/** Somebody who issues certificates and lists. */
export interface Issuer {
  readonly name: string;
  readonly keys: Keys;
  readonly der: Uint8Array;
}

export interface CertificateOptions {
  readonly subject: string;
  readonly serialNumber: string;
  readonly keys?: Keys;
  readonly isCa?: boolean;
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  readonly extensions?: readonly Extension[];
}

export interface CrlOptions {
  readonly revoked?: readonly string[];
  readonly revokedAt?: Date;
  readonly thisUpdate?: Date;
  readonly nextUpdate?: Date;
  /** The name in the list; the signer stays the issuer. */
  readonly name?: string;
}

export function generateP256(): Promise<Keys> {
  return subtle.generateKey(P256, true, ['sign', 'verify']);
}

/** A root with a name like Intel's, and the anchor that pins it. */
export async function mintRoot(
  name = 'CN=Intel SGX Root CA, O=Minted',
): Promise<Issuer & { readonly anchor: Anchor }> {
  const keys = await generateP256();
  const self = { name, keys, der: new Uint8Array() };
  const der = await issueCertificate(self, { subject: name, serialNumber: '01', keys, isCa: true });
  const spkiSha256 = await spkiSha256Of(keys);
  return { name, keys, der, anchor: { role: 'intel-sgx-root', name, spkiSha256, simulated: true } };
}

export async function issueCertificate(issuer: Issuer, options: CertificateOptions): Promise<Uint8Array> {
  const { subject, serialNumber, isCa = false } = options;
  const { notBefore = VALIDITY.notBefore, notAfter = VALIDITY.notAfter } = options;
  const { publicKey } = options.keys ?? (await generateP256());
  const certificate = await X509CertificateGenerator.create({
    subject,
    issuer: issuer.name,
    serialNumber,
    notBefore,
    notAfter,
    publicKey,
    signingKey: issuer.keys.privateKey,
    signingAlgorithm: ES256,
    extensions: [
      new BasicConstraintsExtension(isCa, undefined, true),
      new KeyUsagesExtension(isCa ? CA_USAGE : LEAF_USAGE, true),
      ...(options.extensions ?? []),
    ],
  });
  return new Uint8Array(certificate.rawData);
}

/** An authority below the issuer, as Intel's Platform CA is below its root. */
export async function issuePckCa(root: Issuer, options: Partial<CertificateOptions> = {}): Promise<Issuer> {
  const keys = await generateP256();
  const name = options.subject ?? 'CN=Intel SGX PCK Platform CA, O=Minted';
  const certificate = { serialNumber: CA_SERIAL, isCa: true, ...options, subject: name, keys };
  return { name, keys, der: await issueCertificate(root, certificate) };
}

/** A PCK certificate; `extension` is the content of Intel's extension. */
export function issuePck(
  ca: Issuer,
  extension: Uint8Array = sgxExtension(),
  options: Partial<CertificateOptions> = {},
): Promise<Uint8Array> {
  const value = extension as Uint8Array<ArrayBuffer>;
  return issueCertificate(ca, {
    subject: 'CN=Intel SGX PCK Certificate, O=Minted',
    serialNumber: PCK_SERIAL,
    extensions: [new Extension(SGX_EXTENSION, false, value)],
    ...options,
  });
}

export async function issueCrl(issuer: Issuer, options: CrlOptions = {}): Promise<Uint8Array> {
  const revocationDate = options.revokedAt ?? new Date('2026-06-01T00:00:00Z');
  const crl = await X509CrlGenerator.create({
    issuer: options.name ?? issuer.name,
    thisUpdate: options.thisUpdate ?? new Date('2026-06-10T00:00:00Z'),
    nextUpdate: options.nextUpdate ?? new Date('2026-07-10T00:00:00Z'),
    signingKey: issuer.keys.privateKey,
    signingAlgorithm: ES256,
    entries: (options.revoked ?? []).map((serialNumber) => ({ serialNumber, revocationDate })),
  });
  return new Uint8Array(crl.rawData);
}

/** The TCB signing certificate of a root, with its key. */
export interface StatementSigner {
  readonly keys: Keys;
  /** Signer and root. */
  readonly issuerChain: readonly Uint8Array[];
}

export async function mintSigner(
  root: Issuer,
  options: Partial<CertificateOptions> = {},
): Promise<StatementSigner> {
  const keys = options.keys ?? (await generateP256());
  const der = await issueCertificate(root, {
    subject: 'CN=Intel SGX TCB Signing, O=Minted',
    serialNumber: TCB_SIGNER_SERIAL,
    ...options,
    keys,
  });
  return { keys, issuerChain: [der, root.der] };
}

/** Signs an inner object, written as it is, and wraps it as Intel's service does. */
export async function signStatement(
  signer: StatementSigner,
  member: 'tcbInfo' | 'enclaveIdentity',
  inner: unknown,
): Promise<SignedJson> {
  const text = typeof inner === 'string' ? inner : JSON.stringify(inner);
  const signature = await signText(signer, text);
  return {
    body: utf8(`{"${member}":${text},"signature":"${signature}"}`),
    issuerChain: signer.issuerChain,
  };
}

/** r || s as lower-case hex. */
export async function signText({ keys }: StatementSigner, text: string): Promise<string> {
  const data = utf8(text) as Uint8Array<ArrayBuffer>;
  return toHex(new Uint8Array(await subtle.sign(ES256, keys.privateKey, data)));
}

export type Json = Record<string, unknown>;

/** The object without a member. */
export function without(object: Json, name: string): Json {
  return Object.fromEntries(Object.entries(object).filter(([member]) => member !== name));
}

const DATES = { issueDate: '2026-06-10T08:00:00Z', nextUpdate: '2026-07-10T08:00:00Z' };
const MASKS = { attributes: '0000000000000000', attributesMask: 'FFFFFFFFFFFFFFFF' };
const HEAD = { ...DATES, fmspc: FMSPC.toUpperCase(), pceId: PCE_ID, tcbType: 0, tcbEvaluationDataNumber: 20 };
export const INTEL_MODULE_SIGNER = '00'.repeat(48);

/** A level; 16 components are filled up with zeros. */
export function level(
  tcb: { readonly sgx: readonly number[]; readonly pce: number; readonly tdx?: readonly number[] },
  tcbStatus: string,
  tcbDate = '2025-05-14',
  advisoryIDs?: readonly string[],
): Json {
  const components = (svns: readonly number[]) =>
    Array.from({ length: 16 }, (_, i) => ({ svn: svns[i] ?? 0, ...(i < 2 && { category: 'BIOS' }) }));
  return {
    tcb: {
      sgxtcbcomponents: components(tcb.sgx),
      pcesvn: tcb.pce,
      ...(tcb.tdx && { tdxtcbcomponents: components(tcb.tdx) }),
    },
    tcbDate: `${tcbDate}T00:00:00Z`,
    tcbStatus,
    ...(advisoryIDs && { advisoryIDs }),
  };
}

/** A level of an enclave or of a TDX module. */
export function isvLevel(isvsvn: number, tcbStatus: string, tcbDate = '2025-05-14'): Json {
  return { tcb: { isvsvn }, tcbDate: `${tcbDate}T00:00:00Z`, tcbStatus };
}

/** A level as version 2 writes it. */
export function levelV2(sgx: readonly number[], pcesvn: number, tcbStatus: string): Json {
  const names = Array.from({ length: 16 }, (_, i) => `sgxtcbcomp${String(i + 1).padStart(2, '0')}svn`);
  const tcb = { ...Object.fromEntries(names.map((name, i) => [name, sgx[i] ?? 0])), pcesvn };
  return { tcb, tcbDate: '2025-05-14T00:00:00Z', tcbStatus };
}

export function tcbInfoV2(changes: Json = {}): Json {
  const tcbLevels = [levelV2(PLATFORM_SVNS, 13, 'UpToDate'), levelV2([1], 5, 'OutOfDate')];
  return { version: 2, ...HEAD, tcbLevels, ...changes };
}

export function sgxTcbInfo(changes: Json = {}): Json {
  const tcbLevels = [
    level({ sgx: PLATFORM_SVNS, pce: 13 }, 'UpToDate'),
    level({ sgx: [1], pce: 5 }, 'OutOfDate', '2018-01-04', ['INTEL-SA-00106', 'INTEL-SA-00115']),
  ];
  return { id: 'SGX', version: 3, ...HEAD, tcbLevels, ...changes };
}

export function moduleIdentity(id: string, tcbLevels: readonly Json[], changes: Json = {}): Json {
  return { id, mrsigner: INTEL_MODULE_SIGNER, ...MASKS, tcbLevels, ...changes };
}

export function tdxTcbInfo(changes: Json = {}): Json {
  const tdx = [5, 0, 2];
  const tcbLevels = [
    level({ sgx: PLATFORM_SVNS, pce: 13, tdx }, 'UpToDate'),
    level({ sgx: [1], pce: 5, tdx }, 'OutOfDate', '2018-01-04', ['INTEL-SA-00106']),
  ];
  return {
    id: 'TDX',
    version: 3,
    ...HEAD,
    tdxModule: { mrsigner: INTEL_MODULE_SIGNER, ...MASKS },
    tdxModuleIdentities: [
      moduleIdentity('TDX_03', [isvLevel(3, 'UpToDate')]),
      moduleIdentity('TDX_01', [isvLevel(6, 'UpToDate'), isvLevel(4, 'OutOfDate', '2023-08-09')]),
    ],
    tcbLevels,
    ...changes,
  };
}

export const QE_MRSIGNER = 'dc9e2a7c6f948f17474e34a7fc43ed030f7c1563f1babddf6340c82e0e54a8c5';

/** The identity of the TDX quoting enclave. */
export function qeIdentity(changes: Json = {}): Json {
  return {
    id: 'TD_QE',
    version: 2,
    ...DATES,
    tcbEvaluationDataNumber: 20,
    miscselect: '00000000',
    miscselectMask: 'FFFFFFFF',
    attributes: '11000000000000000000000000000000',
    attributesMask: 'FBFFFFFFFFFFFFFF0000000000000000',
    mrsigner: QE_MRSIGNER.toUpperCase(),
    isvprodid: 2,
    tcbLevels: [isvLevel(4, 'UpToDate'), isvLevel(2, 'OutOfDate', '2023-08-09')],
    ...changes,
  };
}

/** DER of tag, length and content. */
export function der(tag: number, ...content: readonly Uint8Array[]): Uint8Array {
  const joined = concat(...content);
  const { length } = joined;
  const head =
    length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return concat(Uint8Array.of(tag, ...head), joined);
}

/** `SGX_EXTENSION` as content of an OBJECT IDENTIFIER. */
const SGX_ARC = fromHex('2a864886f84d010d01');

/** SEQUENCE of an OID below Intel's arc and a value. */
export function sgxField(arcs: readonly number[], value: Uint8Array): Uint8Array {
  return der(0x30, der(0x06, SGX_ARC, Uint8Array.from(arcs)), value);
}

export function derUint(value: number): Uint8Array {
  const bytes =
    value < 0x80 ? [value] : value < 0x8000 ? [value >> 8, value & 0xff] : [0, value >> 8, value & 0xff];
  return der(0x02, Uint8Array.from(value >= 0x80 && value < 0x100 ? [0, value] : bytes));
}

export interface SgxFields {
  readonly ppid?: Uint8Array;
  readonly svns?: readonly number[];
  readonly pceSvn?: number;
  readonly pceId?: Uint8Array;
  readonly fmspc?: Uint8Array;
  readonly sgxType?: number;
  /** Fields that follow the required ones, encoded. */
  readonly more?: readonly Uint8Array[];
}

/** Content of the TCB field: 16 components, PCE SVN and CPUSVN. */
export function sgxTcb(svns: readonly number[] = PLATFORM_SVNS, pceSvn = PLATFORM_PCE_SVN): Uint8Array {
  return der(
    0x30,
    ...svns.map((svn, i) => sgxField([2, i + 1], derUint(svn))),
    sgxField([2, 17], derUint(pceSvn)),
    sgxField([2, 18], der(0x04, Uint8Array.from(svns))),
  );
}

/** Intel's extension of a PCK certificate. */
export function sgxExtension(fields: SgxFields = {}): Uint8Array {
  return der(
    0x30,
    sgxField([1], der(0x04, fields.ppid ?? fromHex(PPID))),
    sgxField([2], sgxTcb(fields.svns, fields.pceSvn)),
    sgxField([3], der(0x04, fields.pceId ?? fromHex(PCE_ID))),
    sgxField([4], der(0x04, fields.fmspc ?? fromHex(FMSPC))),
    sgxField([5], der(0x0a, Uint8Array.of(fields.sgxType ?? 1))),
    ...(fields.more ?? []),
  );
}
