import { CodedError } from '../../attestation/codedError.ts';

/** What a person can do about each failure of prediction. The codes are stable. */
const ADVICE = {
  FIRMWARE_MALFORMED:
    'The firmware has no tables that a host could load. Take a build for confidential guests, whole and unchanged.',
  KERNEL_HASHES_UNSUPPORTED:
    'The firmware has no place for the hashes of a kernel, so it would not check one. Take an AmdSev build, or boot without a kernel of the host.',
  IMAGE_MALFORMED: 'A part of the image is not of its format. Build it again, or name the right file.',
  PROFILE_INVALID:
    'The platform profile is not one that a host has. Compare it with the documented profiles.',
} as const;

export type PredictErrorCode = keyof typeof ADVICE;

/** Nothing can be predicted from these parts, and why. */
export class PredictError extends CodedError<PredictErrorCode> {
  constructor(code: PredictErrorCode, message: string, options?: ErrorOptions) {
    super(ADVICE, code, message, options);
  }
}
