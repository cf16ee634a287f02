import { CodedError } from '../../../attestation/codedError.ts';

/** What whoever runs the machine can do about each failure inside it. The codes are stable. */
const ADVICE = {
  GUEST_CALL_FAILED:
    'The kernel refused what every kernel of this image allows. Report it with the line above.',
  GUEST_NETWORK_MISSING: 'The machine has no network card that the image has a driver for. Give it one.',
  GUEST_LEASE_REFUSED: 'The answer of the DHCP server cannot be used. Look at the network of the machine.',
  GUEST_SERVICE_ENDED: 'The service ended again and again. Its last lines on the console say why.',
} as const;

export type GuestErrorCode = keyof typeof ADVICE;

/** The machine cannot do its work, and why. */
export class GuestError extends CodedError<GuestErrorCode> {
  constructor(code: GuestErrorCode, message: string, options?: ErrorOptions) {
    super(ADVICE, code, message, options);
  }
}
