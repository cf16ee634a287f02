import { equalBytes, fromHex, toHex } from '../bytes/bytes.ts';
import type { CryptoProvider } from '../crypto/provider.ts';
import { Refusal } from '../errors.ts';
import type { Certificate } from './certificate.ts';
import { TAG } from './der.ts';
import { element, positiveInteger } from './derWriter.ts';
import type { OcspResponse, OcspStatement } from './ocsp.ts';
import { certIdOf, isCertIdOf } from './ocspCertId.ts';

/** Encoded AlgorithmIdentifiers, with the NULL that responders expect. */
const ALGORITHM = {
  sha1: fromHex('300906052b0e03021a0500'),
  sha384: fromHex('300d06096086480165030402020500'),
} as const;
/** OBJECT IDENTIFIER 1.3.6.1.5.5.7.48.1.2. */
const NONCE_OID = fromHex('06092b0601050507300102');
/** Context tag of requestExtensions. */
const EXTENSIONS = 0xa2;
/** RFC 9654 section 2.1. */
const MAX_NONCE_BYTES = 128;

/** One question: the status of a certificate. */
export interface OcspQuestion {
  readonly certificate: Certificate;
  readonly issuer: Certificate;
  /** 1 to 128 bytes, fresh for each question. */
  readonly nonce?: Uint8Array | undefined;
}

/**
 * A DER OCSPRequest for one certificate (RFC 6960 section 4.1.1), not signed: the body of a POST with content type
 * `application/ocsp-request`. NVIDIA's responder takes both hashes.
 */
export function encodeOcspRequest(
  { certificate, issuer, nonce }: OcspQuestion,
  hash: keyof typeof ALGORITHM,
  crypto: CryptoProvider,
): Uint8Array {
  const { issuerNameHash, issuerKeyHash, serial } = certIdOf(certificate, issuer, hash, crypto);
  const certId = element(
    TAG.sequence,
    ALGORITHM[hash],
    element(TAG.octetString, issuerNameHash),
    element(TAG.octetString, issuerKeyHash),
    positiveInteger(serial),
  );
  const requestList = element(TAG.sequence, element(TAG.sequence, certId));
  const extensions = nonce ? element(EXTENSIONS, element(TAG.sequence, nonceExtension(nonce))) : EMPTY;
  return element(TAG.sequence, element(TAG.sequence, requestList, extensions));
}

/**
 * Refuses an answer to another question, so that a fetcher keeps only what it asked for: of another certificate, or
 * without the nonce that was sent. Whether it is genuine is for `verifyOcspResponse` to say.
 */
export function checkOcspAnswer(
  response: OcspResponse,
  { certificate, issuer, nonce }: OcspQuestion,
  crypto: CryptoProvider,
): OcspStatement {
  const answer = response.statements.find(({ certId }) => isCertIdOf(certId, certificate, issuer, crypto));
  if (!answer) {
    const serials = response.statements.map(({ certId }) => toHex(certId.serial)).join(', ');
    const wanted = `${certificate.subject} with serial ${toHex(certificate.serial)}`;
    const reason = `the OCSP response is for serial ${serials}, not for ${wanted} of ${issuer.subject}`;
    throw new Refusal('COLLATERAL_MISMATCH', reason);
  }
  if (nonce && !(response.nonce && equalBytes(response.nonce, nonce))) {
    const got = response.nonce ? `nonce ${toHex(response.nonce)}` : 'no nonce';
    throw new Refusal('NONCE_MISMATCH', `the OCSP response has ${got}, sent was ${toHex(nonce)}`);
  }
  return answer;
}

const EMPTY = new Uint8Array();

/** The nonce is an OCTET STRING inside that of the extension. */
function nonceExtension(nonce: Uint8Array): Uint8Array {
  if (nonce.length === 0 || nonce.length > MAX_NONCE_BYTES) {
    throw new RangeError(`an OCSP nonce has 1 to ${MAX_NONCE_BYTES} bytes`);
  }
  return element(TAG.sequence, NONCE_OID, element(TAG.octetString, element(TAG.octetString, nonce)));
}
