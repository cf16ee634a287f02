import { CodedError } from '../../attestation/codedError.ts';

/** Every reason for which an audit cannot be made, with what a person can do about it. What it finds is no error. */
export const AUDIT_ERRORS = {
  AUDIT_UNREACHABLE: 'The service cannot be reached or does not answer as a log does. Check address and key.',
  AUDIT_FORBIDDEN: 'The service gives this to auditors alone. Name a file with an auditor’s key by --key.',
  AUDIT_WORKER_FAILED: 'A worker of the audit ended. Run it again with --workers 0.',
  AUDIT_STATE_MISMATCH:
    'The state file is of another export, policy, time or version. Name another file, or remove it to begin anew.',
  AUDIT_STATE_MALFORMED: 'The state file is damaged. Remove it to begin anew.',
  REVOCATIONS_INVALID: 'The file is no list of revocations. src/audit/README.md has its format.',
  RECEIPT_NOT_FOUND:
    'No receipt with this id is in the export. Ask for the export of the time of the receipt.',
} as const;

export type AuditErrorCode = keyof typeof AUDIT_ERRORS;

export class AuditError extends CodedError<AuditErrorCode> {
  constructor(code: AuditErrorCode, detail: string, cause?: unknown) {
    super(AUDIT_ERRORS, code, detail, { cause });
  }
}
