import type { Decision } from '../../attestation/verdict/verdict.ts';
import { Refusal } from '../../attestation/errors.ts';
import { ClientError, type ClientErrorCode } from '../client/errors.ts';
import { CollateralError } from '../collateral/errors.ts';

/** Exit codes; scripts rely on them. */
export const EXIT = {
  accepted: 0,
  refused: 2,
  notJudged: 3,
  /** Unreachable service or unreadable input. */
  unreadable: 4,
  misuse: 64,
  internal: 70,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** Ends a command with a message for the person at the terminal. */
export class CliError extends Error {
  readonly exit: ExitCode;
  /** What to do about it; a sentence. */
  readonly advice: string | undefined;

  constructor(exit: ExitCode, message: string, advice?: string) {
    super(message);
    this.name = 'CliError';
    this.exit = exit;
    this.advice = advice;
  }
}

export function exitOfDecision(decision: Decision): ExitCode {
  return { accepted: EXIT.accepted, refused: EXIT.refused, 'not-judged': EXIT.notJudged }[decision];
}

const CLIENT_EXITS: Readonly<Record<ClientErrorCode, ExitCode>> = {
  UNREACHABLE: EXIT.unreadable,
  BAD_ANSWER: EXIT.unreadable,
  REQUEST_REJECTED: EXIT.unreadable,
  KEYSET_CHANGED: EXIT.unreadable,
  EVIDENCE_REFUSED: EXIT.refused,
  EVIDENCE_STALE: EXIT.refused,
  SUITE_UNAVAILABLE: EXIT.refused,
  RESPONSE_REFUSED: EXIT.refused,
  TLS_REFUSED: EXIT.refused,
  RECEIPT_REFUSED: EXIT.refused,
  RECEIPT_MISSING: EXIT.refused,
  EVIDENCE_NOT_JUDGED: EXIT.notJudged,
  RECEIPT_NOT_JUDGED: EXIT.notJudged,
  STORE_FAILED: EXIT.unreadable,
  STORE_FULL: EXIT.unreadable,
  RECORD_INVALID: EXIT.unreadable,
  UNBOUND_REFUSED: EXIT.misuse,
  ORIGIN_REFUSED: EXIT.misuse,
  REQUEST_UNSUPPORTED: EXIT.misuse,
  REQUEST_UNSEALABLE: EXIT.misuse,
};

/** An error as what to print and how to exit; undefined for what nobody foresaw. */
export function describeError(error: unknown): CliError | undefined {
  if (error instanceof CliError) return error;
  if (error instanceof ClientError) {
    return new CliError(CLIENT_EXITS[error.code], `${error.code}: ${error.message}`, error.advice);
  }
  if (error instanceof CollateralError) {
    return new CliError(EXIT.unreadable, `${error.code}: ${error.message}`, error.advice);
  }
  if (error instanceof Refusal) {
    const exit = error.code === 'POLICY_INVALID' ? EXIT.misuse : EXIT.unreadable;
    return new CliError(exit, `${error.code}: ${error.message}`, error.advice);
  }
  return undefined;
}
