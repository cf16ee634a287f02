import { REFUSALS, Refusal } from '../../../attestation/errors.ts';
import { ClientError } from '../../client/errors.ts';
import type { Failure } from './protocol.ts';
import { visible } from './visible.ts';

/** Reasons of the page itself for which nothing is judged. The codes are stable. */
export const PAGE_FAILURES = {
  NOTHING_GIVEN: 'Drop a receipt with its evidence, a bundle, an evidence document or a raw report.',
  FILE_UNKNOWN:
    'The page knows the formats that `vouchsafe inspect` lists. Check that this is the whole file.',
  FILE_NOT_ALONE: 'Drop it together with the evidence that it belongs to.',
  FILES_TOO_MANY: 'Drop the files of one appraisal at a time.',
  INPUT_INVALID: 'Correct the field that the message names.',
} as const;

export type PageFailureCode = keyof typeof PAGE_FAILURES;

export class PageFailure extends Error {
  readonly code: PageFailureCode;

  constructor(code: PageFailureCode, message: string) {
    super(message);
    this.name = 'PageFailure';
    this.code = code;
  }
}

/** What a reader is told of an error. One that is not coded is a fault of ours. */
export function failureOf(error: unknown): Failure {
  const { code, message, advice } = describe(error);
  return { code, message: visible(message), advice };
}

function describe(error: unknown): Failure {
  if (error instanceof PageFailure) {
    return { code: error.code, message: error.message, advice: PAGE_FAILURES[error.code] };
  }
  if (error instanceof Refusal) {
    return { code: error.code, message: error.message, advice: REFUSALS[error.code] };
  }
  if (error instanceof ClientError) {
    return { code: error.code, message: error.message, advice: error.advice };
  }
  const message = error instanceof Error ? `${error.name}: ${error.message}` : 'an unknown error';
  return { code: 'INTERNAL', message, advice: 'This is a fault of the page. Report it with the file.' };
}
