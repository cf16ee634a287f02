import { CodedError } from '../../attestation/codedError.ts';

/** Every reason for which an object store refuses, with what a person can do about it. The codes are stable. */
export const OBJECT_STORE_ERRORS = {
  OBJECT_STORE_UNAVAILABLE:
    'The object store does not answer, or says that it cannot at the moment. Check its address, the network and its state.',
  OBJECT_STORE_REFUSED:
    'The object store does not let this service do that. Check the access key, its rights and the clock of this machine.',
  OBJECT_STORE_BUCKET_MISSING: 'The bucket does not exist. Make it, or correct `objectStore.bucket`.',
  OBJECT_STORE_TOO_LARGE:
    'The object is larger than any that this service writes there. Look who else writes below the prefix.',
  OBJECT_STORE_KEY: 'A key has segments of letters, digits, `.`, `_` and `-`, 900 characters at most.',
  OBJECT_STORE_SETTINGS:
    'An object store needs a bucket, an access key and its secret: the settings of `objectStore`.',
} as const;

export type ObjectStoreErrorCode = keyof typeof OBJECT_STORE_ERRORS;

export class ObjectStoreError extends CodedError<ObjectStoreErrorCode> {
  constructor(code: ObjectStoreErrorCode, detail: string, cause?: unknown) {
    super(OBJECT_STORE_ERRORS, code, detail, { cause });
  }
}

/** What of an error of the S3 client says why: its name and the status of the answer, if there was one. */
export interface Failure {
  readonly name: string;
  /** 0 where there was no answer. */
  readonly status: number;
  readonly message: string;
}

export function failureOf(error: unknown): Failure {
  const { name, message, $metadata } = (typeof error === 'object' && error !== null ? error : {}) as {
    readonly name?: unknown;
    readonly message?: unknown;
    readonly $metadata?: { readonly httpStatusCode?: unknown };
  };
  const status = $metadata?.httpStatusCode;
  return {
    name: typeof name === 'string' ? name : 'unknown',
    status: typeof status === 'number' ? status : 0,
    message: typeof message === 'string' ? message : '',
  };
}

const REFUSALS = [400, 401, 403, 405];

/** The coded error for what the client threw while it did `what`. */
export function toObjectStoreError(error: unknown, what: string): ObjectStoreError {
  if (error instanceof ObjectStoreError) return error;
  const { name, status, message } = failureOf(error);
  const detail = `${what}: ${name}${status === 0 ? '' : ` (${status})`}${message === '' ? '' : `: ${message}`}`;
  if (name === 'NoSuchBucket') return new ObjectStoreError('OBJECT_STORE_BUCKET_MISSING', detail, error);
  // S3 says with 400 also that a request did not arrive in time.
  const refused = REFUSALS.includes(status) && name !== 'RequestTimeout';
  return new ObjectStoreError(refused ? 'OBJECT_STORE_REFUSED' : 'OBJECT_STORE_UNAVAILABLE', detail, error);
}
