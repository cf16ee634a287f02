import { CodedError } from '../../attestation/codedError.ts';
import { readBody } from '../collateral/body.ts';
import { CollateralError } from '../collateral/errors.ts';
import type { NoteSignature } from '../../attestation/log/note.ts';

/** A head of the log that the log signed, and what that is made of. */
export interface SignedHead {
  readonly size: number;
  /** Text of the note: the bytes that are signed, timestamped and cosigned. */
  readonly text: string;
  readonly signature: NoteSignature;
  /** Text and signature together. */
  readonly note: Uint8Array;
}

/** What an outsider says of a head: a witness's cosignature, or a timestamp authority's token (DER). */
export type Confirmation =
  | { readonly kind: 'cosignature'; readonly signature: NoteSignature }
  | { readonly kind: 'token'; readonly token: Uint8Array };

/** Somebody outside the machine who says when a head existed. */
export interface Outsider {
  /** For operators: the witness's name, or the authority's address. */
  readonly name: string;
  readonly kind: 'witness' | 'authority';
  /** Throws `OutsiderError`. */
  confirm(head: SignedHead, signal: AbortSignal): Promise<Confirmation>;
}

/** Why an outsider does not confirm, with what a person can do about it. Codes are stable. */
export const OUTSIDER_ERRORS = {
  UNREACHABLE: 'No connection came about, or it broke. Check address and network; it is tried again.',
  TIMEOUT: 'The answer took too long; it is tried again.',
  STATUS: 'The service failed; it is tried again.',
  ANSWER_INVALID:
    'The answer does not follow its format, is too large, or is about something else. Check the address and the key in the configuration.',
  LOG_UNKNOWN:
    'The witness does not know this log. Each instance has a log of its own: the witness must be told of the service.',
  LOG_KEY_REFUSED: 'The witness knows this log under another key. Compare its list with the keyset.',
  REQUEST_REFUSED: 'The request was refused as malformed. Update the software on both sides.',
  CONTRADICTED:
    'The witness saw another history of this log. Two processes sign with one key, or one of the two was rolled back: find out before you go on.',
} as const;

export type OutsiderErrorCode = keyof typeof OUTSIDER_ERRORS;

export class OutsiderError extends CodedError<OutsiderErrorCode> {
  constructor(code: OutsiderErrorCode, message: string, options?: ErrorOptions) {
    super(OUTSIDER_ERRORS, code, message, options);
  }
}

export interface OutsiderRequest {
  readonly url: string;
  readonly type: string;
  readonly body: Uint8Array;
  /** Largest answer, bytes. */
  readonly maxBytes: number;
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
}

export interface OutsiderAnswer {
  readonly status: number;
  /** Media type without parameters, in lower case. */
  readonly type: string;
  readonly body: Uint8Array;
}

/** One POST, bounded in time and memory; redirects are refused. The answer may be of any status. */
export async function askOutsider(request: OutsiderRequest): Promise<OutsiderAnswer> {
  const { url, type, body, maxBytes, timeoutMs } = request;
  const { host } = new URL(url);
  const timeout = AbortSignal.timeout(timeoutMs);
  const signal = AbortSignal.any([request.signal, timeout]);
  try {
    const headers = { 'content-type': type };
    const response = await fetch(url, {
      method: 'POST',
      headers,
      body: Buffer.from(body),
      redirect: 'error',
      signal,
    });
    const [answered = ''] = (response.headers.get('content-type') ?? '').split(';');
    return {
      status: response.status,
      type: answered.trim().toLowerCase(),
      body: await readBody(response, maxBytes, host, signal),
    };
  } catch (error) {
    const cause = { cause: error };
    if (timeout.aborted) throw new OutsiderError('TIMEOUT', `${host} did not answer in time`, cause);
    throw toOutsiderError(error, host);
  }
}

function toOutsiderError(error: unknown, host: string): OutsiderError {
  const cause = { cause: error };
  if (error instanceof CollateralError && error.code === 'oversize') {
    return new OutsiderError('ANSWER_INVALID', error.message, cause);
  }
  return new OutsiderError('UNREACHABLE', `${host} was not reached`, cause);
}
