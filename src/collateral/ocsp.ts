import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { Refusal } from '../../attestation/errors.ts';
import { parseCertificate, type Certificate } from '../../attestation/x509/certificate.ts';
import { DerReader, TAG } from '../../attestation/x509/der.ts';
import { CERTIFICATE_HOLD, parseOcspResponse, type OcspStatus } from '../../attestation/x509/ocsp.ts';
import { checkOcspAnswer, encodeOcspRequest, type OcspQuestion } from '../../attestation/x509/ocspRequest.ts';
import { CollateralError } from './errors.ts';
import { reading, type CollateralItem, type CollateralRequest, type Received } from './item.ts';
import type { OcspNeed } from './need.ts';

/**
 * NVIDIA's responder. Certificates name it with plain HTTP; it answers over https. No address is ever read out of a
 * certificate: whoever made the evidence would choose whom we ask.
 */
export const NVIDIA_OCSP = 'https://ocsp.ndis.nvidia.com';

/** Genuine answers have 1 KB; the verifier reads no more than this. */
const MAX_BYTES = 64 * 1024;
const REQUEST_TYPE = 'application/ocsp-request';
const ENUMERATED = 0x0a;

/** OCSPResponseStatus (RFC 6960 section 4.2.1). */
const RESPONSE_STATUS = { successful: 0, internalError: 2, tryLater: 3, unauthorized: 6 } as const;
const STATUS_NAMES: Readonly<Record<number, string>> = {
  1: 'malformedRequest',
  2: 'internalError',
  3: 'tryLater',
  5: 'sigRequired',
  6: 'unauthorized',
};

/** The question for the status of a certificate that `issuer` says it issued. */
export function ocspNeed({ der: certificate }: Certificate, { der: issuer }: Certificate): OcspNeed {
  return { kind: 'ocsp', certificate, issuer, responder: NVIDIA_OCSP, hash: 'sha384' };
}

/** A POST without a nonce: an answer that is kept could not be asked for again with one. */
export function ocspRequest(need: OcspNeed, responder: string): CollateralRequest {
  const body = encodeOcspRequest(questionOf(need), need.hash, nodeCrypto);
  const question = { type: REQUEST_TYPE, body };
  return { url: responder, question, media: 'ocsp', maxBytes: MAX_BYTES, refuse: refuseError };
}

function questionOf({ certificate, issuer }: OcspNeed): OcspQuestion {
  return { certificate: parseCertificate(certificate), issuer: parseCertificate(issuer) };
}

/** A responder that cannot answer says so with HTTP 200, in a response without signature. */
function refuseError(body: Uint8Array, host: string): void {
  const status = reading('OCSP response', () => readResponseStatus(body));
  if (status === undefined || status === RESPONSE_STATUS.successful) return;
  const message = `${host} answers ${STATUS_NAMES[status] ?? `with OCSP status ${status}`}`;
  if (status === RESPONSE_STATUS.unauthorized) throw new CollateralError('unauthorized', message);
  const transient = status === RESPONSE_STATUS.tryLater || status === RESPONSE_STATUS.internalError;
  throw new CollateralError('status', message, { transient });
}

/** Whether bytes begin as an OCSPResponse does, as no certificate and no CRL does. */
export function looksLikeOcspResponse(bytes: Uint8Array): boolean {
  try {
    return readResponseStatus(bytes) !== undefined;
  } catch (error) {
    if (error instanceof Refusal) return false;
    throw error;
  }
}

/** The ENUMERATED that an OCSPResponse begins with. */
function readResponseStatus(body: Uint8Array): number | undefined {
  return new DerReader(body, 'OCSP response').enter(TAG.sequence).take(ENUMERATED).content[0];
}

/** Signature and responder are judged by the verifier; an answer about another certificate is none. */
export function checkOcsp(need: OcspNeed, received: Received): CollateralItem {
  const response = reading('OCSP response', () => parseOcspResponse(received.body));
  const { status, thisUpdate, nextUpdate } = answerIn(response, need);
  // Without nextUpdate newer information is always available (RFC 6960 section 2.4): it is stale from the start.
  const validity = { from: thisUpdate, until: nextUpdate ?? thisUpdate };
  return { ...received, need, certificates: [], validity, status: statusText(status) };
}

function answerIn(response: ReturnType<typeof parseOcspResponse>, need: OcspNeed) {
  try {
    return checkOcspAnswer(response, questionOf(need), nodeCrypto);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    throw new CollateralError('wrong-statement', error.message, { cause: error });
  }
}

/** CRLReason (RFC 5280 section 5.3.1). */
const REASONS: Readonly<Record<number, string>> = {
  0: 'unspecified',
  1: 'keyCompromise',
  2: 'cACompromise',
  3: 'affiliationChanged',
  4: 'superseded',
  5: 'cessationOfOperation',
  [CERTIFICATE_HOLD]: 'certificateHold',
  8: 'removeFromCRL',
  9: 'privilegeWithdrawn',
  10: 'aACompromise',
};

/** For people: `good`, `unknown`, `revoked since 2026-01-01T00:00:00Z (certificateHold)`. */
export function statusText(status: OcspStatus): string {
  if (status.kind !== 'revoked') return status.kind;
  const { since, reason } = status;
  const why = reason === undefined ? '' : ` (${REASONS[reason] ?? `reason ${reason}`})`;
  return `revoked since ${new Date(since).toISOString().replace('.000', '')}${why}`;
}
