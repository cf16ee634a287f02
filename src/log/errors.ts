import { CodedError } from '../../attestation/codedError.ts';

/** Every reason for which a log refuses, with what a person can do about it. The codes are stable. */
export const LOG_ERRORS = {
  LOG_UNAVAILABLE:
    'The log cannot be written or read at the moment. Free disk space, mend the disk or look after the object store; it is tried again.',
  LOG_ENDED:
    'The log takes no more entries. Restart the service: it opens a new instance with a log of its own.',
  LOG_DIVERGED:
    'The files are not those that this process wrote: they were restored, rolled back or written by another. Keep a copy of the folder for examination and restart the service.',
  LOG_LOCKED: 'The log is that of another process. A process opens a log of its own.',
  LOG_CORRUPT:
    'A file of the log is missing or damaged. Restore it from a copy; proofs show whether it is the same.',
  LOG_OUT_OF_RANGE: 'The log holds no such entry or size.',
  ENTRY_TOO_LARGE: 'An entry has at most 65,535 bytes. Log a digest instead.',
  CHECKPOINT_REFUSED: 'The checkpoint is not of this log at this size.',
  EVIDENCE_REFUSED: 'Evidence documents are written once, in order, from 0.',
} as const;

export type LogErrorCode = keyof typeof LOG_ERRORS;

export class LogError extends CodedError<LogErrorCode> {
  constructor(code: LogErrorCode, detail: string, cause?: unknown) {
    super(LOG_ERRORS, code, detail, { cause });
  }
}

export function isLogError(error: unknown, code: LogErrorCode): error is LogError {
  return error instanceof LogError && error.code === code;
}
