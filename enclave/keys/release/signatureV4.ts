import { createHash, createHmac } from 'node:crypto';

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

const ALGORITHM = 'AWS4-HMAC-SHA256';

/**
 * Headers of a signed `POST /` without a query: Signature Version 4 of AWS, of which a call of KMS needs no more than
 * this. `host` is signed and not among them: the client sets it.
 */
export function signPost(request: SignRequest): Readonly<Record<string, string>> {
  const { host, region, service, body, credentials, now } = request;
  const time = new Date(now).toISOString().replaceAll(/[-:]|\.\d{3}/g, '');
  const token = credentials.sessionToken;
  const headers: Record<string, string> = {
    ...request.headers,
    'x-amz-date': time,
    ...(token !== undefined && { 'x-amz-security-token': token }),
  };
  const signed = Object.entries({ ...headers, host }).sort(([a], [b]) => (a < b ? -1 : 1));
  const names = signed.map(([name]) => name).join(';');
  const lines = signed.map(([name, value]) => `${name}:${value.trim()}\n`).join('');
  const canonical = `POST\n/\n\n${lines}\n${names}\n${sha256Hex(body)}`;
  const scope = `${time.slice(0, 8)}/${region}/${service}/aws4_request`;
  const text = `${ALGORITHM}\n${time}\n${scope}\n${sha256Hex(canonical)}`;
  const signature = hmac(signingKey(credentials.secretAccessKey, scope), text).toString('hex');
  const credential = `${credentials.accessKeyId}/${scope}`;
  return {
    ...headers,
    authorization: `${ALGORITHM} Credential=${credential}, SignedHeaders=${names}, Signature=${signature}`,
  };
}

function signingKey(secret: string, scope: string): Uint8Array {
  return scope.split('/').reduce<Uint8Array>(hmac, Buffer.from(`AWS4${secret}`));
}

function hmac(key: Uint8Array, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest();
}

function sha256Hex(data: string | Uint8Array): string {
  return createHash('sha256').update(data).digest('hex');
}
