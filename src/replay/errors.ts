import { CodedError } from '../../attestation/codedError.ts';

/** Every reason for which an answer cannot be made again, with what a person can do about it. The codes are stable. */
export const REPLAY_ERRORS = {
  CONTENT_MISSING:
    'Name a folder that --save wrote, or the three files with --request, --response and --commitment-key.',
  NOT_REPEATABLE:
    'Answers that ended early depend on time and company: only complete ones and refusals are made again.',
  ROUTE_UNKNOWN: 'Replay with the version of the service that made the answer.',
  MANIFEST_MISMATCH: 'Name the manifest of the model as it was then, or none.',
  MODEL_MISSING: 'Name the folder that holds the model with --models.',
  MODEL_UNUSABLE: 'Restore the files of the model, or choose what they run on with --provider.',
  RUN_FAILED: 'Replay again. Where it fails again, the model does not run here.',
} as const;

export type ReplayErrorCode = keyof typeof REPLAY_ERRORS;

/** An answer that cannot be made again: nothing is said of it. */
export class ReplayError extends CodedError<ReplayErrorCode> {
  constructor(code: ReplayErrorCode, message: string) {
    super(REPLAY_ERRORS, code, message);
  }
}
