/** Why a statement of a vendor could not be had, with what a person can do about it. Codes are stable. */
export const COLLATERAL_ERRORS = {
  unreachable:
    'No connection came about. Check the address, the network and whether it wants a mirror; what is cached can be used with --offline.',
  timeout: 'The answer took too long. Try again later, or allow more time.',
  truncated: 'The connection broke before the answer ended. Try again.',
  oversize: 'The answer is larger than any genuine one. Check the address and the boxes before it.',
  'media-type':
    'The answer is of another type than this vendor sends: often the page of a proxy or of a login. Check the address and the network.',
  redirect: 'The service points elsewhere. Name the address that it points to, if you mean it.',
  'insecure-address':
    'Plain HTTP goes to this machine only. Use https, or --insecure-http where the network is trusted: it shows others which machines you verify.',
  'rate-limited': 'The service answers only so often. Wait as long as it says, or use a mirror or the cache.',
  'not-found':
    'The vendor has no such statement. Check that the evidence is of a released product; a simulated machine has none.',
  unauthorized:
    'The responder does not speak for the issuer of this certificate. Check that the evidence is of a released product, and the address of the responder.',
  status: 'The service failed. Try again later.',
  malformed: 'The answer does not follow its format. Check the address; a mirror may be broken.',
  'wrong-certificate':
    'The certificate is for another chip or firmware than the one asked for. The mirror or its cache is wrong: do not use it.',
  'wrong-statement':
    'The answer is about something else than the one asked for. The mirror or its cache is wrong: do not use it.',
  stale:
    'The vendor, or the mirror, has nothing newer. Evidence judged for today will be refused with it; fetch again later or from the vendor.',
  'not-cached': 'The cache does not hold it. Fetch once with a network, then go offline.',
} as const;

export type CollateralErrorCode = keyof typeof COLLATERAL_ERRORS;

export interface CollateralErrorDetails extends ErrorOptions {
  /** How long the service asked to be left alone, milliseconds. */
  readonly retryAfterMs?: number | undefined;
  /** Whether asking once more may help. */
  readonly transient?: boolean;
}

/** Every failure of fetching that is not misuse. */
export class CollateralError extends Error {
  readonly code: CollateralErrorCode;
  readonly retryAfterMs: number | undefined;
  readonly transient: boolean;

  constructor(code: CollateralErrorCode, message: string, details: CollateralErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = 'CollateralError';
    this.code = code;
    this.retryAfterMs = details.retryAfterMs;
    this.transient = details.transient ?? false;
  }

  /** What a person can do about it. */
  get advice(): string {
    return COLLATERAL_ERRORS[this.code];
  }
}
