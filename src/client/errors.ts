import type { Verdict } from '../../attestation/verdict/verdict.ts';

/** Why the client gave no answer, with what a person can do about it. Codes are stable. */
export const CLIENT_ERRORS = {
  UNREACHABLE: 'No answer came. Check the address and that the service runs.',
  BAD_ANSWER: 'The answer is not in the form of this service. Check the address and the proxies before it.',
  REQUEST_REJECTED:
    'The service, or a box before it, turned the request away outside the seal. What it says is not vouched for.',
  EVIDENCE_REFUSED: 'The evidence does not meet the policy. Nothing was sent.',
  EVIDENCE_STALE:
    'The evidence came later than it may be old: somebody held it back, or the service is slow. Nothing was sent. Try again, or allow it more time.',
  EVIDENCE_NOT_JUDGED:
    'The evidence cannot be judged: reference values or collateral are missing. Nothing was sent.',
  KEYSET_CHANGED: 'The service no longer has the keys of the verified evidence. Connect again.',
  SUITE_UNAVAILABLE:
    'The verified keys are of no kind that was asked for. Nothing was sent. Ask for another suite, or another service.',
  RESPONSE_REFUSED: 'The sealed response was cut, altered, moved or is of another request. Do not use it.',
  TLS_REFUSED:
    'Neither an authority nor the evidence vouches for the TLS key. Somebody stands before the service, or its keys changed: connect again, and ask its operator if it stays so.',
  RECEIPT_MISSING: 'The answer came without a receipt: nothing vouches for it.',
  RECEIPT_REFUSED: 'The receipt does not vouch for this exchange under the policy.',
  RECEIPT_NOT_JUDGED: 'The receipt cannot be judged: reference values or collateral are missing.',
  ORIGIN_REFUSED:
    'The request is for another address than that of the session. Nothing was sent. Use the base address that the session gives.',
  REQUEST_UNSUPPORTED:
    'The session sends POST requests, sealed, and reads a few public pages. Nothing was sent. Use another client for anything else.',
  REQUEST_UNSEALABLE:
    'The body of the request cannot be sealed. Nothing was sent. Give a text or bytes of a size that the service takes.',
  STORE_FAILED:
    'The answer was accepted, but its receipt could not be kept. Make room in the store, or take another.',
  STORE_FULL: 'The store of receipts has its fill. Move its records away, or allow it more.',
  RECORD_INVALID:
    'This is no record of a receipt, or a damaged one. Take the receipt from the service again.',
  UNBOUND_REFUSED: 'Without the seal, requests go to this machine only. Leave out the plain channel.',
} as const;

export type ClientErrorCode = keyof typeof CLIENT_ERRORS;

export interface ClientErrorDetails extends ErrorOptions {
  /** The verdict behind a refusal. */
  readonly verdict?: Verdict;
  /** HTTP status of a request that was turned away. */
  readonly status?: number;
}

/** Every failure of the client that is not misuse. */
export class ClientError extends Error {
  readonly code: ClientErrorCode;
  readonly verdict: Verdict | undefined;
  readonly status: number | undefined;

  constructor(code: ClientErrorCode, message: string, details: ClientErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'ClientError';
    this.code = code;
    this.verdict = details.verdict;
    this.status = details.status;
  }

  /** What a person can do about it. */
  get advice(): string {
    return CLIENT_ERRORS[this.code];
  }
}
