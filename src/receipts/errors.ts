import type { RefusalCode } from '../../attestation/errors.ts';
import type { DiscontinuityCode } from './continuity.ts';

/** Why no evidence or receipt can be had now. Codes are stable; HTTP gives them as 429, 503 or 404. */
export type VouchingErrorCode =
  /** The hardware did not give evidence: see the health endpoint. */
  | 'EVIDENCE_UNAVAILABLE'
  /** More nonces wait than one document answers. */
  | 'TOO_MANY_NONCES'
  /** Issuing has stopped: the message begins with a `StopCode`. */
  | 'ISSUING_STOPPED'
  | 'RECEIPT_NOT_FOUND';

/** Why nothing is signed now. Codes are stable; a discontinuity lasts until the service is restarted. */
export type StopCode =
  'STOPPING' | 'KEYSET_EXPIRED' | 'EVIDENCE_TOO_OLD' | 'SELF_CHECK_FAILED' | DiscontinuityCode;

export interface StopReason {
  readonly code: StopCode;
  readonly reason: string;
  /** What a person can do about it, where that is more than to wait. */
  readonly advice?: string;
  /** Of `SELF_CHECK_FAILED`: what the verifier says. */
  readonly refusal?: RefusalCode;
}

export class VouchingError extends Error {
  readonly code: VouchingErrorCode;

  constructor(code: VouchingErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'VouchingError';
    this.code = code;
  }
}
