import { CodedError } from '../../attestation/codedError.ts';

/** Every reason for which the archive refuses, with what a person can do about it. The codes are stable. */
export const ARCHIVE_ERRORS = {
  OFF: 'The archive is off. Set archive.enabled to keep receipts beyond this instance.',
  STORE_UNAVAILABLE:
    'The database of the archive does not answer. Start it again: the archive catches up by itself, and nothing is lost.',
  STORE_NEWER:
    'A later version of this program has written the database. Use that version, or another database.',
  BLOBS_UNAVAILABLE: 'The blobs of the archive cannot be read or written. Mend the disk or the object store.',
  BLOB_DAMAGED:
    'A blob of the archive is missing or not what its digest says. Restore it from a copy; the digest shows whether it is the same.',
  CONTENT_KEY_MISSING: 'Set archive.contentKey to 32 random bytes in hex or base64.',
  CONTENT_KEY_WRONG:
    'The content was kept under another archive.contentKey, or altered. Give the key of that day.',
  CONTENT_MISMATCH: 'The content is not what the receipt commits to. Examine who could write the archive.',
  NOT_FOUND: 'Ask with the key that made the request. The archive may not have caught up yet.',
  QUERY_INVALID: 'Correct the named part of the query.',
  CLAIM_REFUSED: 'Send the commitment key of the answer, with the API key that made the request.',
  HOLD_INVALID: 'A hold names one receipt, one tenant, or a range of time.',
  UNDER_HOLD: 'A legal hold keeps it. An admin may lift the hold first.',
  RETENTION_MINIMUM: 'The minimum retention is not over. The configuration says how long it is.',
  ALREADY_ERASED: 'The content is erased already.',
  ACT_REFUSED: 'Actor and rule are 1 to 64 and 1 to 256 characters.',
  POLICY_INVALID: 'Send a policy as vouchsafe policy check accepts it.',
} as const;

export type ArchiveErrorCode = keyof typeof ARCHIVE_ERRORS;

export class ArchiveError extends CodedError<ArchiveErrorCode> {
  constructor(code: ArchiveErrorCode, detail: string, cause?: unknown) {
    super(ARCHIVE_ERRORS, code, detail, { cause });
  }
}
