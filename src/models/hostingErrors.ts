/** Every reason for which a release is not added, found, verified or removed. The codes are stable. */
export const HOSTING_ERRORS = {
  SOURCE_INVALID:
    'Name a folder, a .tar or .tar.gz file, https://host/file.tar.gz, https://host/SHA256SUMS, hf:owner/name@revision or oci://registry/repository:tag.',
  RELEASE_NAME_INVALID:
    'A release is name@version: letters, digits, dot, underscore and hyphen, at most 64 each, each beginning with a letter or digit; the version is not latest.',
  RELEASE_EXISTS: 'A release never changes. Choose another version, or remove this one first.',
  RELEASE_UNKNOWN: 'The store has no such release. `vouchsafe models list` shows what it has.',
  RELEASE_IN_USE: 'An alias means this release. Let the alias mean another one first, or remove with --force.',
  ALIAS_INVALID: 'An alias is spelt like a model id, and no folder or file of the store may have its name.',
  STORE_LOCKED: 'Another command changes this store. Wait until it has ended.',
  STORE_UNREADABLE: 'The model store cannot be used. Check the path and its permissions.',
  RECORD_MALFORMED:
    'The record of a release cannot be read. Where the store has the release, remove it and add it again; else give it fewer files, or its source a shorter name.',
  QUOTA_EXCEEDED: 'Remove releases, or allow the store more with models.quotaBytes or --quota.',
  SOURCE_UNREADABLE: 'The source cannot be read. Check the path and its permissions.',
  SOURCE_UNREACHABLE: 'Check the address and the network, and try again.',
  SOURCE_UNAUTHORIZED: 'The service wants credentials, or refuses these. `vouchsafe models add --help` names the variables.',
  SOURCE_NOT_FOUND: 'Check the name and the revision or tag.',
  SOURCE_STATUS: 'The service refuses or fails. Try again later.',
  SOURCE_TIMEOUT: 'The service is too slow. Try again, or give more time with --timeout.',
  SOURCE_MALFORMED: 'The source does not follow its protocol or format. Check that the address is right.',
  SOURCE_TRUNCATED: 'The source ended early. Try again, or obtain the file again.',
  INSECURE_ADDRESS: 'Use https. --insecure-http allows plain HTTP to other machines.',
  DIGEST_MISMATCH: 'The bytes are not those that were named. Do not use them; ask where they come from.',
  PATH_REFUSED: 'File names are plain and relative: letters, digits, dot, underscore and hyphen. Leave the file out with --exclude, or rename it.',
  ENTRY_REFUSED: 'Only regular files and folders are taken. Copy what links point to into its place.',
  PATH_TWICE: 'Two files would lie in one place, on this or another system. Remove or rename one.',
  TOO_MANY_FILES: 'A release has at most 4096 files. Narrow it with --include or --exclude.',
  NOTHING_FOUND: 'The source has no file that is taken. Check --include and --exclude.',
  SIGNATURE_MISSING: 'The policy wants a signature. Sign the model (OpenSSF Model Signing) and name the bundle with --signature.',
  SIGNATURE_INVALID: 'The signature is not good under the keys and authorities that the policy names. Do not use the model.',
  SIGNATURE_UNSUPPORTED: 'Sign with a key or a certificate on P-256 or P-384, predicate v1.0, whole files, SHA-256.',
  SIGNATURE_COVERAGE: 'Signature and files must name exactly the same content. Obtain the model again, or have it signed again.',
  SIGNER_INVALID: 'A signer is a PEM public key on P-256 or P-384, or the PEM certificate of a self-signed authority.',
} as const;

export type HostingErrorCode = keyof typeof HOSTING_ERRORS;

/** Why a release could not be added, found, verified or removed. */
export class HostingError extends Error {
  readonly code: HostingErrorCode;
  /** Whether the same request may succeed a little later. */
  readonly transient: boolean;
  /** Pause that the service asks for. */
  readonly retryAfterMs: number | undefined;

  constructor(
    code: HostingErrorCode,
    message: string,
    options: ErrorOptions & { readonly transient?: boolean; readonly retryAfterMs?: number | undefined } = {},
  ) {
    super(message, options);
    this.name = 'HostingError';
    this.code = code;
    this.transient = options.transient ?? false;
    this.retryAfterMs = options.retryAfterMs;
  }

  /** What a person can do about it. */
  get advice(): string {
    return HOSTING_ERRORS[this.code];
  }
}
