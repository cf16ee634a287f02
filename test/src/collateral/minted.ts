import 'reflect-metadata';
import { createHash, webcrypto } from 'node:crypto';
import { X509CertificateGenerator, X509CrlGenerator } from '@peculiar/x509';
import { toBase64, toHex } from '../../../attestation/bytes/bytes.ts';
import { TCB_LAYOUT, type SnpProduct } from '../../../attestation/evidence/snp/product.ts';
import type { CollateralNeed } from '../../../src/collateral/need.ts';
import { sends, type Answer } from './server.ts';

const { subtle } = webcrypto;
const ECDSA = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

/** Within the validity of everything minted here and in `snpAuthority`, unless a test says otherwise. */
export const NOW = Date.parse('2026-06-01T00:00:00Z');
export const DAY_MS = 86_400_000;
export const FMSPC = '00806f050000';

/** A certificate of a name, with the means to issue CRLs under it. Signatures are nobody's business here. */
export interface Issuer {
  readonly der: Uint8Array;
  crl(nextUpdate?: number): Promise<Uint8Array>;
}

export async function mintIssuer(name: string): Promise<Issuer> {
  const keys = await subtle.generateKey(ECDSA, true, ['sign', 'verify']);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    name: `CN=${name}`,
    keys,
    signingAlgorithm: ECDSA,
    notBefore: new Date('2025-01-01T00:00:00Z'),
    notAfter: new Date('2035-01-01T00:00:00Z'),
  });
  return {
    der: new Uint8Array(certificate.rawData),
    async crl(nextUpdate = NOW + 30 * DAY_MS) {
      const crl = await X509CrlGenerator.create({
        issuer: `CN=${name}`,
        thisUpdate: new Date(nextUpdate - 60 * DAY_MS),
        nextUpdate: new Date(nextUpdate),
        signingKey: keys.privateKey,
        signingAlgorithm: ECDSA,
      });
      return new Uint8Array(crl.rawData);
    },
  };
}

export function pem(...certificates: readonly Uint8Array[]): string {
  return certificates
    .map((der) => toBase64(der).replaceAll(/.{1,64}/g, '$&\n'))
    .map((base64) => `-----BEGIN CERTIFICATE-----\n${base64}-----END CERTIFICATE-----\n`)
    .join('');
}

export interface TcbInfoOptions {
  readonly id?: string;
  readonly fmspc?: string;
  readonly nextUpdate?: number;
}

export function tcbInfo(options: TcbInfoOptions = {}): string {
  const { id = 'TDX', fmspc = FMSPC.toUpperCase(), nextUpdate = NOW + 20 * DAY_MS } = options;
  return JSON.stringify({
    tcbInfo: { id, version: 3, ...dates(nextUpdate), fmspc, tcbEvaluationDataNumber: 18, tcbLevels: [] },
    signature: 'ab'.repeat(64),
  });
}

export function qeIdentity(id = 'TD_QE', nextUpdate = NOW + 20 * DAY_MS): string {
  return JSON.stringify({
    enclaveIdentity: { id, version: 2, ...dates(nextUpdate), tcbEvaluationDataNumber: 18 },
    signature: 'cd'.repeat(64),
  });
}

function dates(nextUpdate: number) {
  const text = (time: number) => new Date(time).toISOString().replace('.000', '');
  return { issueDate: text(nextUpdate - 30 * DAY_MS), nextUpdate: text(nextUpdate) };
}

/** What Intel's services answer for the platform of `FMSPC`. */
export interface MintedIntel {
  readonly root: Issuer;
  readonly platformCa: Issuer;
  readonly chain: string;
  readonly routes: Record<string, Answer>;
}

export const INTEL_NEEDS: readonly CollateralNeed[] = [
  { kind: 'tcb-info', tee: 'tdx', fmspc: FMSPC },
  { kind: 'qe-identity', tee: 'tdx' },
  { kind: 'pck-crl', ca: 'platform' },
  { kind: 'intel-root-crl' },
];

export async function mintIntel(): Promise<MintedIntel> {
  const [root, signing, platformCa] = await Promise.all([
    mintIssuer('Intel SGX Root CA'),
    mintIssuer('Intel SGX TCB Signing'),
    mintIssuer('Intel SGX PCK Platform CA'),
  ]);
  const chain = encodeURIComponent(pem(signing.der, root.der));
  const crlChain = encodeURIComponent(pem(platformCa.der, root.der));
  return {
    root,
    platformCa,
    chain,
    routes: {
      [`/tdx/certification/v4/tcb?fmspc=${FMSPC.toUpperCase()}`]: sends('application/json', tcbInfo(), {
        'TCB-Info-Issuer-Chain': chain,
      }),
      '/tdx/certification/v4/qe/identity': sends('application/json', qeIdentity(), {
        'SGX-Enclave-Identity-Issuer-Chain': chain,
      }),
      '/sgx/certification/v4/pckcrl?ca=platform&encoding=der': sends(
        'application/pkix-crl',
        await platformCa.crl(),
        { 'SGX-PCK-CRL-Issuer-Chain': crlChain },
      ),
      '/IntelSGXRootCA.der': sends('application/pkix-crl', await root.crl()),
    },
  };
}

/** The answer of the RIM service. */
export function rimAnswer(id: string, xml: Uint8Array, changes: object = {}): string {
  const sha256 = createHash('sha256').update(xml).digest('hex');
  return JSON.stringify({
    id,
    rim: toBase64(xml),
    sha256,
    last_updated: '2026-01-01T00:00:00.000000',
    rim_format: 'TCG',
    request_id: '00000000-0000-4000-8000-000000000000',
    ...changes,
  });
}

/** Path of a VCEK at AMD's service. */
export function vcekPath(product: SnpProduct, hwid: Uint8Array, tcb: Uint8Array): string {
  const names = { fmc: 'fmcSPL', bootloader: 'blSPL', tee: 'teeSPL', snp: 'snpSPL', microcode: 'ucodeSPL' };
  const levels = TCB_LAYOUT[product].flatMap((component, i) =>
    component ? [`${names[component]}=${String(tcb[i]).padStart(2, '0')}`] : [],
  );
  const name = product[0]!.toUpperCase() + product.slice(1);
  return `/vcek/v1/${name}/${toHex(hwid)}?${levels.join('&')}`;
}
