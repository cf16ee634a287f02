import { CodedError } from '../../../attestation/codedError.ts';

/** What a person can do about each failure to get a data key. The codes are stable. */
const ADVICE = {
  UNREACHABLE:
    'Whoever releases the key did not answer. Check keyRelease.address and the network, and try again.',
  REFUSED:
    'Whoever releases the key refused. Its log says why: mostly the policy does not accept this instance, or the API key is not known.',
  BAD_ANSWER:
    'The answer does not follow its protocol. Check that keyRelease.address names the right service.',
  NOT_FOR_US:
    'The answer was made for another instance, nonce or purpose. Somebody on the way may exchange answers: do not go on.',
  ATTESTATION_FAILED: 'This instance could not attest. Run `vouchsafe doctor`.',
  INSECURE_ADDRESS: 'Use https: the key is sealed, but the API key and who asks are not.',
} as const;

export type ReleaseErrorCode = keyof typeof ADVICE;

/** Why a data key was not released. No message holds a byte of a key. */
export class ReleaseError extends CodedError<ReleaseErrorCode> {
  constructor(code: ReleaseErrorCode, message: string, options?: ErrorOptions) {
    super(ADVICE, code, `${code}: ${message}`, options);
  }
}
