import { CodedError } from '../../attestation/codedError.ts';

/** What a person can do about each failure of an imported TLS key. The codes are stable. */
const ADVICE = {
  PKCS12_UNREADABLE:
    'The PKCS#12 file or the file of its password cannot be read. Check paths and permissions, and that they are small files.',
  PKCS12_PASSWORD: 'The password does not open the PKCS#12 file. Check the file that holds it.',
  PKCS12_UNSUPPORTED:
    'The PKCS#12 file is damaged, or of an old form (RC2, 3DES). Make it again: `openssl pkcs12 -legacy -in OLD -nodes | openssl pkcs12 -export -out NEW`.',
  PKCS12_INCOMPLETE:
    'The PKCS#12 file lacks a private key and its certificate, or TLS 1.3 cannot use them. Export both together, RSA of 2048 bits or more, or P-256.',
  PKCS12_EXPIRED: 'The certificate is outside its validity. Get a new one from its authority.',
} as const;

export type TlsKeyErrorCode = keyof typeof ADVICE;

/** A TLS key that an operator brought and that cannot be used, and why. */
export class TlsKeyError extends CodedError<TlsKeyErrorCode> {
  constructor(code: TlsKeyErrorCode, message: string, options?: ErrorOptions) {
    super(ADVICE, code, message, options);
  }
}
