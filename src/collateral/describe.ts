import { z } from 'zod';
import { equalBytes, toHex } from '../../attestation/bytes/bytes.ts';
import type { Collateral, SignedJson } from '../../attestation/collateral.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { Refusal } from '../../attestation/errors.ts';
import { readEnvelopedSignature } from '../../attestation/evidence/nvidia/xmldsig.ts';
import { JsonError, parseStrictJson } from '../../attestation/json/strict.ts';
import { parseCertificate } from '../../attestation/x509/certificate.ts';
import { parseCrl } from '../../attestation/x509/crl.ts';
import { nameText } from '../../attestation/x509/name.ts';
import { parseOcspResponse, type OcspResponse } from '../../attestation/x509/ocsp.ts';
import { publicKeyBits } from '../../attestation/x509/ocspCertId.ts';
import type { Validity } from './item.ts';
import { statusText } from './ocsp.ts';

export type StatementKind = 'certificate' | 'CRL' | 'OCSP response' | 'TCB info' | 'QE identity' | 'RIM';

/** What one statement says of itself. Nothing in it is verified. */
export interface StatementDescription {
  readonly kind: StatementKind;
  /** Subject, issuer or id, as text of strangers. */
  readonly name: string;
  readonly bytes: number;
  /** Lower-case hex. */
  readonly sha256: string;
  /** Of a manifest, that of its signer's certificate. */
  readonly validity: Validity | undefined;
  /** Of an OCSP response: what it says of each certificate. */
  readonly statuses?: readonly CertificateStatus[];
  /** Why it cannot be read. */
  readonly unreadable?: string;
}

/** One certificate's status, as a responder says it. */
export interface CertificateStatus {
  /** Lower-case hex; the issuer is known by hashes only. */
  readonly serial: string;
  /** Such as `good` or `revoked since 2026-01-01T00:00:00Z (certificateHold)`. */
  readonly status: string;
  readonly validity: Validity;
}

type Read = () => Pick<StatementDescription, 'name' | 'validity' | 'statuses'>;

/** Every statement, in the order of kinds; one that cannot be read does not hide the others. */
export function describeCollateral(collateral: Collateral): readonly StatementDescription[] {
  const { certificates, crls, ocspResponses, tcbInfos, qeIdentities, rims } = collateral;
  return [
    ...certificates.map((der) => describe('certificate', der, () => readCertificate(der))),
    ...crls.map((der) => describe('CRL', der, () => readCrl(der))),
    ...ocspResponses.map((der) => describe('OCSP response', der, () => readOcsp(der))),
    ...tcbInfos.map((info) => describe('TCB info', info.body, () => readTcbInfo(info))),
    ...qeIdentities.map((identity) => describe('QE identity', identity.body, () => readQeIdentity(identity))),
    ...[...rims].map(([id, xml]) =>
      describe('RIM', xml, () => ({ name: id, validity: signerValidity(xml) }), id),
    ),
  ];
}

function describe(kind: StatementKind, content: Uint8Array, read: Read, name = '?'): StatementDescription {
  const common = { kind, bytes: content.length, sha256: toHex(nodeCrypto.hash('sha256', content)) };
  try {
    return { ...common, ...read() };
  } catch (error) {
    const known = error instanceof Refusal || error instanceof JsonError || error instanceof z.ZodError;
    if (!known) throw error;
    const why = error instanceof z.ZodError ? 'not in the form of its kind' : error.message;
    return { ...common, name, validity: undefined, unreadable: why };
  }
}

function readCertificate(der: Uint8Array): ReturnType<Read> {
  const { subject, notBefore, notAfter } = parseCertificate(der);
  return { name: subject, validity: { from: notBefore, until: notAfter } };
}

function readCrl(der: Uint8Array): ReturnType<Read> {
  const { issuer, thisUpdate, nextUpdate, revoked } = parseCrl(der);
  const name = `${issuer} (${revoked.size} revoked)`;
  return { name, validity: { from: thisUpdate, until: nextUpdate } };
}

function readOcsp(der: Uint8Array): ReturnType<Read> {
  const response = parseOcspResponse(der);
  const statuses = response.statements.map(({ certId, status, thisUpdate, nextUpdate = thisUpdate }) => ({
    serial: toHex(certId.serial),
    status: statusText(status),
    validity: { from: thisUpdate, until: nextUpdate },
  }));
  const from = Math.max(...statuses.map(({ validity }) => validity.from));
  const until = Math.min(...statuses.map(({ validity }) => validity.until));
  return { name: responderName(response), validity: { from, until }, statuses };
}

/** A responder is named by its key, as NVIDIA's are, or by its name; the certificate beside it may be anyone's. */
function responderName({ responderId, certificates }: OcspResponse): string {
  if ('name' in responderId) return nameText(responderId.name);
  const { keyHash } = responderId;
  const named = certificates.find((certificate) =>
    equalBytes(nodeCrypto.hash('sha1', publicKeyBits(certificate)), keyHash),
  );
  return named?.subject ?? `of key ${toHex(keyHash)}`;
}

const date = z
  .string()
  .transform((text) => Date.parse(text))
  .pipe(z.number());
const dated = { issueDate: date, nextUpdate: date, tcbEvaluationDataNumber: z.int().optional() };
/** Version 2 of TCB info has no id. */
const tcbInfoSchema = z.object({
  tcbInfo: z.object({ ...dated, id: z.string().default('SGX'), fmspc: z.string() }),
});
const qeIdentitySchema = z.object({ enclaveIdentity: z.object({ ...dated, id: z.string() }) });

function readTcbInfo({ body }: SignedJson): ReturnType<Read> {
  const { tcbInfo } = tcbInfoSchema.parse(parseStrictJson(body));
  return {
    name: `${tcbInfo.id} FMSPC ${tcbInfo.fmspc}${evaluation(tcbInfo)}`,
    validity: validityOf(tcbInfo),
  };
}

function readQeIdentity({ body }: SignedJson): ReturnType<Read> {
  const { enclaveIdentity } = qeIdentitySchema.parse(parseStrictJson(body));
  return {
    name: `${enclaveIdentity.id}${evaluation(enclaveIdentity)}`,
    validity: validityOf(enclaveIdentity),
  };
}

interface Dated {
  readonly issueDate: number;
  readonly nextUpdate: number;
  readonly tcbEvaluationDataNumber?: number | undefined;
}

function evaluation({ tcbEvaluationDataNumber: number }: Dated): string {
  return number === undefined ? '' : ` (TCB evaluation ${number})`;
}

function validityOf({ issueDate, nextUpdate }: Dated): Validity {
  return { from: issueDate, until: nextUpdate };
}

function signerValidity(xml: Uint8Array): Validity | undefined {
  const [signer] = readEnvelopedSignature(xml).certificates;
  if (!signer) return undefined;
  const { notBefore, notAfter } = parseCertificate(signer);
  return { from: notBefore, until: notAfter };
}
