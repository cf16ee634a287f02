import { ARCHIVE_ERRORS, type ArchiveErrorCode } from '../archive/errors.ts';

/** Status of each refusal of the archive. */
const STATUS: Readonly<Record<ArchiveErrorCode, number>> = {
  OFF: 404,
  STORE_UNAVAILABLE: 503,
  STORE_NEWER: 503,
  BLOBS_UNAVAILABLE: 503,
  BLOB_DAMAGED: 500,
  CONTENT_KEY_MISSING: 409,
  CONTENT_KEY_WRONG: 500,
  CONTENT_MISMATCH: 500,
  NOT_FOUND: 404,
  QUERY_INVALID: 400,
  CLAIM_REFUSED: 403,
  HOLD_INVALID: 400,
  UNDER_HOLD: 409,
  RETENTION_MINIMUM: 409,
  ALREADY_ERASED: 410,
  ACT_REFUSED: 400,
  POLICY_INVALID: 400,
};

/** Code of a refusal of the archive, as the service has it. */
export type ArchiveRefusal = `ARCHIVE_${ArchiveErrorCode}`;

/** The refusals of the archive as those of the service. */
export const ARCHIVE_REFUSALS = Object.fromEntries(
  Object.entries(ARCHIVE_ERRORS).map(([code, advice]) => [
    `ARCHIVE_${code}`,
    [STATUS[code as ArchiveErrorCode], advice] as const,
  ]),
) as Readonly<Record<ArchiveRefusal, readonly [number, string]>>;
