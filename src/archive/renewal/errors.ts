import { CodedError } from '../../../attestation/codedError.ts';

/** Every reason for which an archive is not renewed, with what a person can do about it. The codes are stable. */
export const RENEWAL_ERRORS = {
  RENEWAL_BUSY: 'Another process renews this archive. Wait until it is done.',
  DATA_UNREADABLE: 'Name the data folder of a service: it holds the folder `instances`.',
  DATA_ALTERED:
    'A file is not the one that the last renewal covers, so that nothing is renewed. Restore it from a copy; the digests show whether it is the same.',
  RENEWAL_DAMAGED: 'A file of the folder `renewals` is missing or damaged. Restore it from a copy.',
  NOTHING_TO_RENEW: 'There is no renewal yet whose timestamps could be renewed. Renew the data first.',
  HASH_WEAKER: 'The last renewal has a stronger hash. Use that one.',
  AUTHORITY_FAILED:
    'The timestamp authority did not give a timestamp of this renewal. Run the command again: it goes on with this renewal.',
} as const;

export type RenewalErrorCode = keyof typeof RENEWAL_ERRORS;

export class RenewalError extends CodedError<RenewalErrorCode> {
  constructor(code: RenewalErrorCode, detail: string, cause?: unknown) {
    super(RENEWAL_ERRORS, code, detail, { cause });
  }
}
