import { z } from 'zod';
import { parseStrictJson } from '../../attestation/json/strict.ts';
import { parseCertificate } from '../../attestation/x509/certificate.ts';
import { isIssuedBy, parseCrl } from '../../attestation/x509/crl.ts';
import { CollateralError } from './errors.ts';
import { reading, type CollateralItem, type CollateralRequest, type Received } from './item.ts';
import type { IntelNeed, IntelTee } from './need.ts';
import { crlToDer } from '../../attestation/x509/crlText.ts';

/** Intel's provisioning certification service, version 4, and where its root's CRL lies. */
export const INTEL_PCS = 'https://api.trustedservices.intel.com';
export const INTEL_ROOT_CRL = 'https://certificates.trustedservices.intel.com/IntelSGXRootCA.der';

export interface IntelAddresses {
  /** Intel's service or a mirror with the same paths. */
  readonly pcs: string;
  readonly rootCrl: string;
  /** A provisioning certificate caching service; it replaces both. */
  readonly pccs?: string | undefined;
}

/** Genuine ones have 25 KB, 1.4 KB and below 4 KB. */
const MAX_JSON_BYTES = 1024 * 1024;
/** CRLs of at most 1 MiB, which old caching services send as hex. */
const MAX_CRL_BYTES = 2 * 1024 * 1024;

const TCB_INFO_CHAIN = ['tcb-info-issuer-chain', 'sgx-tcb-info-issuer-chain'];
const IDENTITY_CHAIN = ['sgx-enclave-identity-issuer-chain'];
const CRL_CHAIN = ['sgx-pck-crl-issuer-chain'];

export function pcsRequest(need: IntelNeed, addresses: IntelAddresses): CollateralRequest {
  const base = addresses.pccs ?? addresses.pcs;
  const of = (tee: IntelTee) => `${base}/${tee}/certification/v4`;
  const json = { media: 'json', maxBytes: MAX_JSON_BYTES } as const;
  const crl = { media: 'crl', maxBytes: MAX_CRL_BYTES, unpack: crlToDer } as const;
  switch (need.kind) {
    case 'tcb-info': {
      const url = `${of(need.tee)}/tcb?fmspc=${need.fmspc.toUpperCase()}`;
      return { ...json, url, chainHeaders: TCB_INFO_CHAIN };
    }
    case 'qe-identity':
      return { ...json, url: `${of(need.tee)}/qe/identity`, chainHeaders: IDENTITY_CHAIN };
    case 'pck-crl': {
      const url = `${of('sgx')}/pckcrl?ca=${need.ca}&encoding=der`;
      return { ...crl, url, chainHeaders: CRL_CHAIN };
    }
    case 'intel-root-crl':
      return { ...crl, url: addresses.pccs === undefined ? addresses.rootCrl : `${of('sgx')}/rootcacrl` };
  }
}

export function checkIntel(need: IntelNeed, received: Received): CollateralItem {
  switch (need.kind) {
    case 'tcb-info':
      return checkTcbInfo(need, received);
    case 'qe-identity':
      return checkQeIdentity(need, received);
    case 'pck-crl':
      return checkPckCrl(need, received);
    case 'intel-root-crl':
      return checkCrl(need, received, 'SGX Root CA');
  }
}

const time = z
  .string()
  .regex(/^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z$/)
  .transform((text) => Date.parse(text))
  .pipe(z.number());
const dated = { issueDate: time, nextUpdate: time };
const signature = z.string().regex(/^[0-9A-Fa-f]{128}$/);
const tcbInfoSchema = z.object({
  tcbInfo: z.object({ ...dated, id: z.string(), fmspc: z.string() }),
  signature,
});
const qeIdentitySchema = z.object({ enclaveIdentity: z.object({ ...dated, id: z.string() }), signature });

function checkTcbInfo(need: Extract<IntelNeed, { kind: 'tcb-info' }>, received: Received): CollateralItem {
  const { tcbInfo } = reading('TCB info', () => tcbInfoSchema.parse(parseStrictJson(received.body)));
  const tee = need.tee.toUpperCase();
  if (tcbInfo.id !== tee) throw wrong(`the TCB info is not of ${tee}`);
  if (tcbInfo.fmspc.toLowerCase() !== need.fmspc) {
    throw wrong(`the TCB info is of another FMSPC than ${need.fmspc}`);
  }
  return signedItem(need, received, tcbInfo);
}

const QE_IDS: Readonly<Record<IntelTee, string>> = { sgx: 'QE', tdx: 'TD_QE' };

function checkQeIdentity(
  need: Extract<IntelNeed, { kind: 'qe-identity' }>,
  received: Received,
): CollateralItem {
  const parsed = reading('QE identity', () => qeIdentitySchema.parse(parseStrictJson(received.body)));
  const id = QE_IDS[need.tee];
  if (parsed.enclaveIdentity.id !== id) throw wrong(`the enclave identity is not that of ${id}`);
  return signedItem(need, received, parsed.enclaveIdentity);
}

function signedItem(
  need: IntelNeed,
  received: Received,
  { issueDate, nextUpdate }: { readonly issueDate: number; readonly nextUpdate: number },
): CollateralItem {
  return { ...received, need, certificates: [], validity: { from: issueDate, until: nextUpdate } };
}

function checkPckCrl(need: Extract<IntelNeed, { kind: 'pck-crl' }>, received: Received): CollateralItem {
  const item = checkCrl(need, received, need.ca === 'platform' ? 'PCK Platform CA' : 'PCK Processor CA');
  const [first] = received.chain;
  const issuer = reading('issuer of the CRL', () => first && parseCertificate(first));
  if (!issuer || !isIssuedBy(parseCrl(received.body), issuer)) {
    throw new CollateralError(
      'wrong-certificate',
      'the certificate beside the CRL is not that of its issuer',
    );
  }
  return { ...item, certificates: received.chain };
}

/** `issuer` is part of a name, by which alone nothing is trusted. */
function checkCrl(need: IntelNeed, received: Received, issuer: string): CollateralItem {
  const crl = reading('CRL', () => parseCrl(received.body));
  if (!crl.issuer.includes(issuer)) throw wrong(`the CRL is not of the ${issuer}`);
  const validity = { from: crl.thisUpdate, until: crl.nextUpdate };
  return { ...received, need, certificates: [], validity };
}

function wrong(message: string): CollateralError {
  return new CollateralError('wrong-statement', message);
}
