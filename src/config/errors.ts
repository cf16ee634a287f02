import { CodedError } from '../../attestation/codedError.ts';

/** Every reason for which a configuration is refused, with what a person can do about it. The codes are stable. */
export const CONFIG_ERRORS = {
  CONFIG_UNREADABLE: 'The configuration file cannot be read. Check the path and its permissions.',
  CONFIG_MALFORMED: 'The configuration file is one JSON object. Correct it.',
  CONFIG_INVALID: 'A setting has a value that it cannot have. `vouchsafe config print` lists all settings.',
  CONFIG_UNKNOWN: 'No setting has this name. `vouchsafe config print` lists all settings.',
  COLLECTOR_MISSING:
    'Something here looks like a TEE or an NVIDIA device, and no evidence of it can be had. Run `vouchsafe doctor`; for development, start with --simulated.',
  TLS_UNSUPPORTED:
    'TLS ends in one process alone. Set server.processes to 1, or tls.enabled to false and put a TLS proxy before it.',
  TLS_INCOMPLETE:
    'A PKCS#12 file needs tls.enabled, and a password file needs a PKCS#12 file. Set what is missing.',
  ACI_UNSUPPORTED:
    'ACI is answered by one process, beside our receipts. Set server.processes to 1 and receipts.enabled to true, or aci.enabled to false.',
  KEYS_MISSING:
    'Beyond this machine the API needs keys. Add one with `vouchsafe key new`, or set keys.required to "never" to serve everybody.',
} as const;

export type ConfigErrorCode = keyof typeof CONFIG_ERRORS;

export class ConfigError extends CodedError<ConfigErrorCode> {
  constructor(code: ConfigErrorCode, message: string) {
    super(CONFIG_ERRORS, code, message);
  }
}
