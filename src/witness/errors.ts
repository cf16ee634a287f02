import { CodedError } from '../../attestation/codedError.ts';

/** Why a witness does not start or go on, with what a person can do about it. The codes are stable. */
export const WITNESS_ERRORS = {
  NAME_INVALID: 'A witness has a name without spaces and `+`, such as witness.example.org/w1.',
  LOGS_INVALID:
    'A line is the vkey of a log, or `service <url>` for the logs of a Vouchsafe service; # begins a comment.',
  KEY_EXPOSED: 'Others may read the key. Take it as known: make a new one, or set its mode to 600.',
  KEY_INVALID: 'The file holds no Ed25519 private key in PEM. Restore it, or name an empty folder.',
  STATE_LOCKED:
    'Another process uses the folder. Two witnesses of one key could cosign two histories: run one.',
  STATE_CORRUPT:
    'What was recorded of a log is damaged. Restore it from a copy that is no older: an older one lets the log roll back.',
} as const;

export type WitnessErrorCode = keyof typeof WITNESS_ERRORS;

export class WitnessError extends CodedError<WitnessErrorCode> {
  constructor(code: WitnessErrorCode, detail: string, options?: ErrorOptions) {
    super(WITNESS_ERRORS, code, detail, options);
  }
}
