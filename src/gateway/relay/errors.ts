/** Why a relay gave no answer of its gateway: HTTP status, and what a person can do about it. The codes are stable. */
export const RELAY_ERRORS = {
  NOT_FOUND: [
    404,
    'The relay answers at its address alone: POST of an encapsulated request, GET of the keys.',
  ],
  METHOD_NOT_ALLOWED: [405, 'Use a method of the header Allow.'],
  CONTENT_TYPE_UNSUPPORTED: [415, 'Send message/ohttp-req or message/ohttp-chunked-req.'],
  BODY_MISSING: [400, 'Send an encapsulated request as the body.'],
  BODY_TOO_LARGE: [413, 'Send less in one request, or start the relay with a larger --max-body.'],
  BODY_INCOMPLETE: [400, 'Send the whole body.'],
  OVERLOADED: [429, 'The relay carries as many requests as it can. Ask again later.'],
  STOPPING: [503, 'The relay is stopping. Ask again later.'],
  GATEWAY_UNREACHABLE: [
    502,
    'The gateway does not answer. Ask again later; the request may have reached it.',
  ],
  GATEWAY_TIMEOUT: [
    504,
    'The gateway took too long. The request may have been answered: seal it anew to ask again.',
  ],
  GATEWAY_UNFIT: [502, 'What answers at the address of the gateway is none. Tell whoever runs the relay.'],
  INTERNAL: [500, 'Tell whoever runs the relay.'],
} as const satisfies Record<string, readonly [number, string]>;

export type RelayErrorCode = keyof typeof RELAY_ERRORS;

/** A failure of the relay itself, which is never of a request's content: it sees none. */
export class RelayError extends Error {
  readonly code: RelayErrorCode;

  constructor(code: RelayErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'RelayError';
    this.code = code;
  }

  get status(): number {
    return RELAY_ERRORS[this.code][0];
  }

  /** What a person can do about it. */
  get advice(): string {
    return RELAY_ERRORS[this.code][1];
  }
}
