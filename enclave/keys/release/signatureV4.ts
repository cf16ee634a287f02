import { createHash, createHmac } from 'node:crypto';
import { SignatureV4 } from '@smithy/signature-v4';

export interface AwsCredentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  /** Of temporary credentials. */
  readonly sessionToken?: string | undefined;
}

export interface SignRequest {
  readonly host: string;
  readonly region: string;
  readonly service: string;
  /** Lower-case names; `host` and `x-amz-date` come to them. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
  readonly credentials: AwsCredentials;
  /** Milliseconds since 1970. */
  readonly now: number;
}

interface Digesting {
  update(chunk: Uint8Array): unknown;
  digest(): Uint8Array;
}

/** SHA-256, or HMAC-SHA-256 where there is a key, in the form that the signer takes. */
class Sha256 {
  readonly #key: string | Uint8Array | undefined;
  #hash: Digesting;

  constructor(key?: string | ArrayBuffer | ArrayBufferView) {
    this.#key = typeof key === 'string' || key === undefined ? key : bytesOf(key);
    this.#hash = this.#start();
  }

  update(chunk: Uint8Array): void {
    this.#hash.update(chunk);
  }

  digest(): Promise<Uint8Array> {
    return Promise.resolve(Uint8Array.from(this.#hash.digest()));
  }

  reset(): void {
    this.#hash = this.#start();
  }

  #start(): Digesting {
    return this.#key === undefined ? createHash('sha256') : createHmac('sha256', this.#key);
  }
}

function bytesOf(key: ArrayBuffer | ArrayBufferView): Uint8Array {
  return ArrayBuffer.isView(key)
    ? new Uint8Array(key.buffer, key.byteOffset, key.byteLength)
    : new Uint8Array(key);
}

/**
 * Headers of a signed `POST /` without a query: Signature Version 4 of AWS. `host` is signed and not among them: the
 * client sets it.
 */
export async function signPost(request: SignRequest): Promise<Readonly<Record<string, string>>> {
  const { host, region, service, body, credentials, now } = request;
  const { sessionToken, ...lasting } = credentials;
  const signer = new SignatureV4({
    region,
    service,
    credentials: sessionToken === undefined ? lasting : { ...lasting, sessionToken },
    sha256: Sha256,
    // KMS wants no header with the hash of the body, which is signed in any case.
    applyChecksum: false,
  });
  const { headers } = await signer.sign(
    {
      method: 'POST',
      protocol: 'https:',
      hostname: host,
      path: '/',
      headers: { ...request.headers, host },
      body,
    },
    { signingDate: new Date(now) },
  );
  return Object.fromEntries(Object.entries(headers).filter(([name]) => name !== 'host'));
}
