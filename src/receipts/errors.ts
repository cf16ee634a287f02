/** Why no evidence or receipt can be had now. Codes are stable; HTTP gives them as 429, 503 or 404. */
export type VouchingErrorCode =
  /** The hardware did not give evidence: see the health endpoint. */
  | 'EVIDENCE_UNAVAILABLE'
  /** More nonces wait than one document answers. */
  | 'TOO_MANY_NONCES'
  /** Issuing has stopped: evidence too old, keyset at its end, or the log ended. */
  | 'ISSUING_STOPPED'
  | 'RECEIPT_NOT_FOUND';

export class VouchingError extends Error {
  readonly code: VouchingErrorCode;

  constructor(code: VouchingErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'VouchingError';
    this.code = code;
  }
}
