import { CodedError } from '../../attestation/codedError.ts';

/** Every reason for which an export cannot be written or read, with what a person can do about it. Stable codes. */
export const EXPORT_ERRORS = {
  EXPORT_UNREADABLE: 'The file or folder cannot be read. Name what `vouchsafe archive export` wrote.',
  EXPORT_MALFORMED: 'This is no export of Vouchsafe, or it is damaged. Ask for it again.',
  EXPORT_INCOMPLETE:
    'The export ends before its manifest. Run the export again; a folder goes on where it stopped.',
  EXPORT_MISMATCH: 'A file is not the one that the manifest names. Copy the export again and compare.',
  EXPORT_CONFLICT: 'Other bytes are there under this name. Nothing is overwritten: use an empty folder.',
  SOURCE_CHANGED: 'A file vanished while it was read. Run the export again.',
  SOURCE_DAMAGED: 'A file of the log is missing or damaged. Restore it from a copy, then export.',
} as const;

export type ExportErrorCode = keyof typeof EXPORT_ERRORS;

export class ExportError extends CodedError<ExportErrorCode> {
  constructor(code: ExportErrorCode, detail: string, cause?: unknown) {
    super(EXPORT_ERRORS, code, detail, { cause });
  }
}
