import { CodedError } from '../../attestation/codedError.ts';

/** What a person can do about each failure of a deployment. The codes are stable. */
const ADVICE = {
  DEPLOY_OPTIONS_INVALID:
    'An option of the deployment cannot be used. Compare it with the README of enclave/deploy.',
  DEPLOY_PART_INVALID:
    'A part of the image cannot be used as it is. Build it again, or name the file that is meant.',
  DEPLOY_SIGNING_FAILED:
    'The image could not be signed. Name a private key of P-256, P-384 or P-521 and the certificate for it, both PEM.',
  DEPLOY_SOCKET_FAILED:
    'A socket of the enclave could not be opened. The kernel needs vsock, and one process alone may listen.',
  DEPLOY_OUTPUT_FAILED:
    'A file of the deployment could not be written. Look at the space, and at who may write into the folder.',
} as const;

export type DeployErrorCode = keyof typeof ADVICE;

/** A deployment was not made, and why. */
export class DeployError extends CodedError<DeployErrorCode> {
  constructor(code: DeployErrorCode, message: string, options?: ErrorOptions) {
    super(ADVICE, code, message, options);
  }
}
