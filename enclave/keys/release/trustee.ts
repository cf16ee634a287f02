import { createHash } from 'node:crypto';
import { type CryptoKey, exportJWK, generateKeyPair } from 'jose';
import { z } from 'zod';
import { utf8 } from '../../../attestation/bytes/bytes.ts';
import { ReleaseError } from './errors.ts';
import { exchange, type KeyService, readJson } from './exchange.ts';
import { openJwe } from './jwe.ts';

/** What the code of the KBS takes; its document still has 0.1.1 in an example. */
const PROTOCOL_VERSION = '0.4.0';
const JSON_TYPE = 'application/json';
const COOKIE = 'kbs-session-id';
/** Of the RSA key, which lives for one exchange. */
const ALGORITHM = 'RSA-OAEP-256';
const MODULUS_BITS = 2048;
const REPORT_DATA_BYTES = 64;
const MAX_AUTH_BYTES = 16 * 1024;
/** A token is a JWT of claims on every device. */
const MAX_TOKEN_BYTES = 256 * 1024;
const MAX_RESOURCE_BYTES = 16 * 1024;
/** repository/type/tag; none begins with a dot, which would lead to another path. */
const RESOURCE = /^[A-Za-z0-9][A-Za-z0-9._-]{0,127}(?:\/[A-Za-z0-9][A-Za-z0-9._-]{0,127}){2}$/;

const authSchema = z.object({ nonce: z.string().min(16).max(1024) });
const tokenSchema = z.object({ token: z.string().regex(/^[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+){2}$/) });

const freshKey = (): Promise<KeyPair> => generateKeyPair(ALGORITHM, { modulusLength: MODULUS_BITS });

interface KeyPair {
  readonly publicKey: CryptoKey;
  readonly privateKey: CryptoKey;
}

/** Evidence as Trustee takes it of one TEE. */
export interface TrusteeEvidence {
  /** JSON of the CPU's evidence, in the form that the verifier of this TEE has. */
  readonly primary: unknown;
  /** The same of devices, by their class. */
  readonly additional?: Readonly<Record<string, unknown>>;
}

export interface TrusteeOptions {
  readonly service: KeyService;
  /** Name of the TEE in the protocol, such as `snp` or `tdx`. */
  readonly tee: string;
  /** Evidence over these 64 bytes of report data, and over nothing else. */
  readonly attest: (reportData: Uint8Array) => Promise<TrusteeEvidence>;
  /** Makes the RSA key of one exchange; a fresh one each time by default. */
  readonly makeKey?: () => Promise<KeyPair>;
}

/**
 * Gets a resource from Trustee's Key Broker Service by RCAR: request, challenge, attestation, response. The evidence is
 * over the hash of the nonce and of an RSA key made for this one exchange, and the resource comes encrypted to that key.
 * Report data of the service is a hash of another form under a label of its own: neither is taken for the other.
 */
export async function askTrustee(options: TrusteeOptions, resource: string): Promise<Uint8Array> {
  if (!RESOURCE.test(resource)) throw new ReleaseError('REFUSED', 'a resource is named repository/type/tag');
  const { service, makeKey = freshKey } = options;
  const { publicKey, privateKey } = await makeKey();
  const { nonce, cookie } = await authenticate(options);
  const token = await attest(options, { nonce, cookie, publicKey });
  const { body } = await exchange(
    { ...service, apiKey: token },
    {
      method: 'GET',
      path: `/kbs/v0/resource/${resource}`,
      headers: { cookie },
      maxBytes: MAX_RESOURCE_BYTES,
    },
  );
  return openJwe(readJson(body, 'the resource'), privateKey);
}

interface Session {
  readonly nonce: string;
  readonly cookie: string;
}

async function authenticate({ service, tee }: TrusteeOptions): Promise<Session> {
  const answer = await post(service, '/kbs/v0/auth', {}, MAX_AUTH_BYTES, {
    version: PROTOCOL_VERSION,
    tee,
    'extra-params': {},
  });
  const parsed = authSchema.safeParse(answer.json);
  const cookie = sessionCookie(answer.headers);
  if (!parsed.success || cookie === undefined) {
    throw new ReleaseError('BAD_ANSWER', 'the challenge has no nonce, or no session comes with it');
  }
  return { nonce: parsed.data.nonce, cookie };
}

async function attest(
  { service, attest: collect }: TrusteeOptions,
  { nonce, cookie, publicKey }: Session & { readonly publicKey: CryptoKey },
): Promise<string> {
  const runtimeData = { nonce, 'tee-pubkey': await teeKey(publicKey) };
  const { primary, additional = {} } = await collect(runtimeDataDigest(runtimeData));
  const answer = await post(service, '/kbs/v0/attest', { cookie }, MAX_TOKEN_BYTES, {
    'runtime-data': runtimeData,
    'tee-evidence': { primary_evidence: primary, additional_evidence: JSON.stringify(additional) },
  });
  const parsed = tokenSchema.safeParse(answer.json);
  if (!parsed.success) throw new ReleaseError('BAD_ANSWER', 'the attestation was answered without a token');
  return parsed.data.token;
}

interface TeeKey {
  readonly alg: string;
  readonly e: string;
  readonly kty: string;
  readonly n: string;
}

async function teeKey(publicKey: CryptoKey): Promise<TeeKey> {
  const { n = '', e = '' } = await exportJWK(publicKey);
  return { alg: ALGORITHM, e, kty: 'RSA', n };
}

/** SHA-384 over the RFC 8785 form of the runtime data, and zeros up to the length of report data. */
export function runtimeDataDigest(runtimeData: unknown): Uint8Array {
  const reportData = new Uint8Array(REPORT_DATA_BYTES);
  reportData.set(createHash('sha384').update(canonicalJson(runtimeData)).digest());
  return reportData;
}

/** RFC 8785 for what has no fractions: members sorted by UTF-16 code units, strings as JSON.stringify writes them. */
function canonicalJson(value: unknown): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`;
  const members = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${members.map(([name, item]) => `${JSON.stringify(name)}:${canonicalJson(item)}`).join(',')}}`;
}

async function post(
  service: KeyService,
  path: string,
  headers: Readonly<Record<string, string>>,
  maxBytes: number,
  value: unknown,
): Promise<{ readonly headers: Headers; readonly json: unknown }> {
  const body = utf8(JSON.stringify(value));
  const answer = await exchange(service, {
    method: 'POST',
    path,
    contentType: JSON_TYPE,
    headers,
    body,
    maxBytes,
  });
  return { headers: answer.headers, json: readJson(answer.body, 'the answer') };
}

/** The session cookie alone: whatever else the server sets is not sent back. */
function sessionCookie(headers: Headers): string | undefined {
  for (const line of headers.getSetCookie()) {
    const [, value] = /^kbs-session-id=([A-Za-z0-9._~+/=-]{1,256})(?:;|$)/.exec(line) ?? [];
    if (value !== undefined) return `${COOKIE}=${value}`;
  }
  return undefined;
}
