import { webcrypto } from 'node:crypto';
import type { Anchor } from '../../attestation/anchors.ts';
import { concat, fromHex, toBase64, utf8 } from '../../attestation/bytes/bytes.ts';
import { NO_COLLATERAL, type Collateral } from '../../attestation/collateral.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import {
  generateP256,
  issueCrl,
  issuePck,
  issuePckCa,
  mintRoot,
  mintSigner,
  QE_MRSIGNER,
  qeIdentity,
  sgxTcbInfo,
  signStatement,
  STATEMENT_TIME,
  tdxTcbInfo,
  type CertificateOptions,
  type CrlOptions,
  type Issuer,
  type Json,
} from './intelStatements.ts';

const { subtle } = webcrypto;
const ES256 = { name: 'ECDSA', hash: 'SHA-256' };
const INTEL_QE_VENDOR = fromHex('939a7233f79c4ca9940a0db3957f0607');

/** An instant at which everything minted here is in date. */
export const NOW = STATEMENT_TIME;

type Keys = webcrypto.CryptoKeyPair;
export type Tee = 'sgx' | 'tdx';

export interface CollateralOptions {
  readonly tcbInfo?: Json;
  readonly qeIdentity?: Json;
  readonly rootCrl?: CrlOptions;
  readonly pckCrl?: CrlOptions;
}

/** A whole PKI shaped as Intel's, and what signs statements under it. */
export interface DcapAuthority {
  readonly root: Issuer;
  readonly ca: Issuer;
  readonly anchor: Anchor;
  /** A platform with a certified key. */
  mintMachine(extension?: Uint8Array, options?: Partial<CertificateOptions>): Promise<Machine>;
  /** Complete collateral for the minted platform. */
  issueCollateral(tee: Tee, options?: CollateralOptions): Promise<Collateral>;
}

/** A platform: the key that Intel certified and the one that its quoting enclave made. */
export interface Machine {
  readonly pckKeys: Keys;
  readonly attestationKeys: Keys;
  /** PCK, CA and root certificates, DER. */
  readonly chain: readonly Uint8Array[];
}

export async function mintDcapAuthority(): Promise<DcapAuthority> {
  const root = await mintRoot();
  const [ca, signer] = await Promise.all([issuePckCa(root), mintSigner(root)]);
  return {
    root,
    ca,
    anchor: root.anchor,
    async mintMachine(extension, options = {}) {
      const [pckKeys, attestationKeys] = await Promise.all([generateP256(), generateP256()]);
      const pck = await issuePck(ca, extension, { keys: pckKeys, ...options });
      return { pckKeys, attestationKeys, chain: [pck, ca.der, root.der] };
    },
    async issueCollateral(tee, options = {}) {
      const info = tee === 'tdx' ? tdxTcbInfo(options.tcbInfo) : sgxTcbInfo(options.tcbInfo);
      const own = tee === 'tdx' ? {} : { id: 'QE', isvprodid: 1 };
      const identity = qeIdentity({ ...own, ...options.qeIdentity });
      return {
        ...NO_COLLATERAL,
        crls: [await issueCrl(root, options.rootCrl), await issueCrl(ca, options.pckCrl)],
        tcbInfos: [await signStatement(signer, 'tcbInfo', info)],
        qeIdentities: [await signStatement(signer, 'enclaveIdentity', identity)],
      };
    },
  };
}

/** Offsets of an enclave report. */
export const ENCLAVE = {
  miscSelect: 16,
  cet: 20,
  flags: 48,
  xfrm: 56,
  mrEnclave: 64,
  mrSigner: 128,
  configId: 192,
  isvProdId: 256,
  isvSvn: 258,
  reportData: 320,
} as const;

/** An enclave in 64-bit mode, not in debug mode. */
export function enclaveReport(edit: (report: DataView) => void = () => undefined): Uint8Array {
  const report = new Uint8Array(384);
  const view = new DataView(report.buffer);
  view.setBigUint64(ENCLAVE.flags, 0x5n, true);
  view.setBigUint64(ENCLAVE.xfrm, 0xe7n, true);
  report.fill(0xe1, ENCLAVE.mrEnclave, ENCLAVE.mrEnclave + 32);
  report.fill(0x51, ENCLAVE.mrSigner, ENCLAVE.mrSigner + 32);
  view.setUint16(ENCLAVE.isvProdId, 7, true);
  view.setUint16(ENCLAVE.isvSvn, 3, true);
  report.fill(0x5a, ENCLAVE.reportData);
  edit(view);
  return report;
}

/** Offsets of a TD report. */
export const TD = {
  teeTcbSvn: 0,
  mrSeam: 16,
  mrSignerSeam: 64,
  seamAttributes: 112,
  tdAttributes: 120,
  xfam: 128,
  mrTd: 136,
  mrConfigId: 184,
  rtmr0: 328,
  rtmr1: 376,
  rtmr2: 424,
  rtmr3: 472,
  reportData: 520,
  teeTcbSvn2: 584,
  mrServiceTd: 600,
} as const;

/** A TD as clouds launch it: SEPT_VE_DISABLE set and nothing else; each measurement filled with a byte of its own. */
export function tdReport(
  kind: 'td10' | 'td15',
  edit: (report: DataView) => void = () => undefined,
): Uint8Array {
  const report = new Uint8Array(kind === 'td10' ? 584 : 648);
  const view = new DataView(report.buffer);
  report.set([6, 1, 2], TD.teeTcbSvn);
  report.fill(0x5e, TD.mrSeam, TD.mrSeam + 48);
  view.setBigUint64(TD.tdAttributes, 1n << 28n, true);
  view.setBigUint64(TD.xfam, 0x602e7n, true);
  report.fill(0xd0, TD.mrTd, TD.mrTd + 48);
  for (const [i, offset] of [TD.rtmr0, TD.rtmr1, TD.rtmr2].entries())
    report.fill(0xa0 + i, offset, offset + 48);
  report.fill(0x5a, TD.reportData, TD.reportData + 64);
  if (kind === 'td15') report.set([6, 1, 2], TD.teeTcbSvn2);
  edit(view);
  return report;
}

export type BodyKind = 'sgx' | 'td10' | 'td15';
const BODY_TYPES: Readonly<Record<BodyKind, number>> = { sgx: 1, td10: 2, td15: 3 };

export interface QuoteOptions {
  readonly version?: 3 | 4 | 5;
  readonly kind?: BodyKind;
  readonly body?: Uint8Array;
  /** Header and body as signed, before they are. */
  readonly edit?: (signed: DataView) => void;
  /** The report of the quoting enclave, before the PCK signs it. */
  readonly editQe?: (report: DataView) => void;
  readonly authData?: Uint8Array;
  /** The key that the quoting enclave vouches for, where it is another than the one that signs. */
  readonly vouchedKeys?: Keys;
  readonly certification?: { readonly type: number; readonly data: Uint8Array };
}

/** Signs a quote as a platform does: the quoting enclave's key over header and body, the PCK over the enclave. */
export async function issueQuote(machine: Machine, options: QuoteOptions = {}): Promise<Uint8Array> {
  const { kind = 'td10', version = kind === 'td15' ? 5 : 4 } = options;
  const signed = signedBytes(version, kind, options);
  const attestationKey = await rawPoint(machine.attestationKeys);
  const vouched = options.vouchedKeys ? await rawPoint(options.vouchedKeys) : attestationKey;
  const authData = options.authData ?? Uint8Array.from({ length: 32 }, (_, i) => i);
  const report = qeReport(kind, vouched, authData, options.editQe);
  const { type, data } = options.certification ?? { type: 5, data: pemChain(machine.chain) };
  const enclave = concat(
    report,
    await sign(machine.pckKeys, report),
    u16(authData.length),
    authData,
    certificationData(type, data),
  );
  const rest = version === 3 ? enclave : certificationData(6, enclave);
  const signature = concat(await sign(machine.attestationKeys, signed), attestationKey, rest);
  return concat(signed, u32(signature.length), signature);
}

function signedBytes(version: number, kind: BodyKind, options: QuoteOptions): Uint8Array {
  const tee = kind === 'sgx' ? 0 : 0x81;
  const body = options.body ?? (kind === 'sgx' ? enclaveReport() : tdReport(kind));
  const header = concat(
    u16(version),
    u16(2),
    u32(tee),
    new Uint8Array(4),
    INTEL_QE_VENDOR,
    new Uint8Array(20),
  );
  const descriptor = version === 5 ? concat(u16(BODY_TYPES[kind]), u32(body.length)) : new Uint8Array();
  const signed = concat(header, descriptor, body);
  options.edit?.(new DataView(signed.buffer));
  return signed;
}

function qeReport(
  kind: BodyKind,
  attestationKey: Uint8Array,
  authData: Uint8Array,
  edit: (report: DataView) => void = () => undefined,
): Uint8Array {
  return enclaveReport((view) => {
    const report = new Uint8Array(view.buffer);
    view.setBigUint64(ENCLAVE.flags, 0x15n, true);
    report.set(fromHex(QE_MRSIGNER), ENCLAVE.mrSigner);
    view.setUint16(ENCLAVE.isvProdId, kind === 'sgx' ? 1 : 2, true);
    view.setUint16(ENCLAVE.isvSvn, 4, true);
    report.fill(0, ENCLAVE.reportData);
    report.set(nodeCrypto.hash('sha256', concat(attestationKey, authData)), ENCLAVE.reportData);
    edit(view);
  });
}

/** Certification data: type, length and data. */
export function certificationData(type: number, data: Uint8Array): Uint8Array {
  return concat(u16(type), u32(data.length), data);
}

/** PEM as the provisioning service gives it, with the NUL that quoting libraries leave behind it. */
export function pemChain(certificates: readonly Uint8Array[], end = '\0'): Uint8Array {
  const blocks = certificates.map((der) => {
    const lines = toBase64(der).replaceAll(/.{64}/g, '$&\n').trimEnd();
    return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`;
  });
  return utf8(blocks.join('') + end);
}

async function sign({ privateKey }: Keys, data: Uint8Array): Promise<Uint8Array> {
  return new Uint8Array(await subtle.sign(ES256, privateKey, data));
}

/** `x || y`. */
async function rawPoint({ publicKey }: Keys): Promise<Uint8Array> {
  return new Uint8Array(await subtle.exportKey('raw', publicKey)).slice(1);
}

function u16(value: number): Uint8Array {
  return Uint8Array.of(value & 0xff, value >> 8);
}

function u32(value: number): Uint8Array {
  return Uint8Array.of(value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, value >>> 24);
}
