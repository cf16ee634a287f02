import { equalBytes, toHex } from '../bytes/bytes.ts';
import type { CryptoProvider } from '../crypto/provider.ts';
import { Refusal } from '../errors.ts';
import type { Certificate } from './certificate.ts';
import { verifyIssued } from './chain.ts';
import { decodeOid, DerReader, readOnly, TAG } from './der.ts';
import {
  BASIC_CONSTRAINTS,
  DIGITAL_SIGNATURE,
  EXTENDED_KEY_USAGE,
  KEY_USAGE,
  keyUsageBits,
} from './extensions.ts';
import { nameText } from './name.ts';
import { publicKeyBits } from './ocspCertId.ts';
import type { OcspResponderId, OcspResponse } from './ocsp.ts';
import { rawSignature, schemeOf } from './signature.ts';

const OCSP_SIGNING = '1.3.6.1.5.5.7.3.9';
const MAX_PURPOSES = 16;
/** digitalSignature, or nonRepudiation: bit 1 of keyUsage. */
const SIGNS = DIGITAL_SIGNATURE | 0x40;
const PROCESSED_CRITICAL: ReadonlySet<string> = new Set([KEY_USAGE, BASIC_CONSTRAINTS, EXTENDED_KEY_USAGE]);

declare const verified: unique symbol;

/** A response that a responder of the issuer signed. Its statements have their own windows, not judged here. */
export interface VerifiedOcspResponse {
  readonly [verified]: true;
  readonly response: OcspResponse;
  /** Whose key signed: the issuer, or the responder that it delegated to. Its validity is not judged here. */
  readonly signer: Certificate;
}

/**
 * Verifies that `issuer`, itself verified already, or a responder that it issued signed the response (RFC 6960
 * section 4.2.2.2). Nothing here depends on the time. A responder's own revocation is not looked up: it would ask
 * the same responder.
 */
export async function verifyOcspResponse(
  response: OcspResponse,
  issuer: Certificate,
  crypto: CryptoProvider,
): Promise<VerifiedOcspResponse> {
  const signer = await signerOf(response, issuer, crypto);
  const scheme = schemeOf(response.signatureAlgorithm, signer.spki);
  const signature = rawSignature(scheme, response.signature);
  if (!(await crypto.verify(scheme, signer.spki, response.tbs, signature))) {
    const reason = `the OCSP response does not verify under ${signer.subject}`;
    throw new Refusal('COLLATERAL_SIGNATURE_INVALID', reason);
  }
  return { response, signer } as VerifiedOcspResponse;
}

async function signerOf(
  { responderId, certificates }: OcspResponse,
  issuer: Certificate,
  crypto: CryptoProvider,
): Promise<Certificate> {
  if (isNamed(responderId, issuer, crypto)) return issuer;
  const responder = certificates.find((certificate) => isNamed(responderId, certificate, crypto));
  if (!responder) {
    throw new Refusal(
      'UNTRUSTED_KEY',
      `the OCSP response carries no certificate of its responder ${responderText(responderId)}`,
    );
  }
  checkMayRespond(responder);
  await checkDelegated(responder, issuer, crypto);
  return responder;
}

function isNamed(id: OcspResponderId, certificate: Certificate, crypto: CryptoProvider): boolean {
  return 'name' in id
    ? equalBytes(id.name, certificate.subjectName)
    : equalBytes(id.keyHash, crypto.hash('sha1', publicKeyBits(certificate)));
}

function responderText(id: OcspResponderId): string {
  return 'name' in id ? nameText(id.name) : `with key hash ${toHex(id.keyHash)}`;
}

/**
 * Extended key usage must name OCSP signing itself. An authority that has it as well is refused: it was meant to
 * limit what lies below it, and would let it answer for its siblings.
 */
function checkMayRespond(responder: Certificate): void {
  const refuse = (why: string) => {
    throw new Refusal('UNTRUSTED_KEY', `${responder.subject} is no OCSP responder: ${why}`);
  };
  if (!purposesOf(responder).includes(OCSP_SIGNING)) refuse('its extended key usage lacks OCSP signing');
  if (responder.isCa) refuse('it is a certificate authority');
  const usage = keyUsageBits(responder.extensions);
  if (usage !== undefined && (usage & SIGNS) === 0) refuse('its key usage lacks signatures');
  for (const [oid, { critical }] of responder.extensions) {
    if (critical && !PROCESSED_CRITICAL.has(oid)) refuse(`it has unknown critical extension ${oid}`);
  }
}

/** Purposes of extended key usage (RFC 5280 section 4.2.1.12). NVIDIA lists OCSPNoCheck, no purpose, among them. */
function purposesOf(responder: Certificate): readonly string[] {
  const extension = responder.extensions.get(EXTENDED_KEY_USAGE);
  if (!extension) return [];
  const what = 'extended key usage';
  const list = new DerReader(readOnly(extension.value, TAG.sequence, what).content, what);
  const purposes: string[] = [];
  while (!list.done) {
    if (purposes.length === MAX_PURPOSES) {
      throw new Refusal('MALFORMED', `more than ${MAX_PURPOSES} extended key usages`);
    }
    purposes.push(decodeOid(list.take(TAG.oid).content));
  }
  return purposes;
}

async function checkDelegated(
  responder: Certificate,
  issuer: Certificate,
  crypto: CryptoProvider,
): Promise<void> {
  try {
    await verifyIssued(responder, issuer, crypto);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    throw new Refusal('UNTRUSTED_KEY', `${issuer.subject} delegated to no such responder: ${error.message}`);
  }
}
