import { randomBytes } from 'node:crypto';
import type { Anchor } from '../../../attestation/anchors.ts';
import type { RenewalHash } from '../../../attestation/archive/renewal.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { MAX_TOKEN_BYTES } from '../../../attestation/log/anchor.ts';
import { readCertificates } from '../../../attestation/time/authority.ts';
import {
  checkImprint,
  checkNonce,
  parseTimestamp,
  verifyTimestamp,
} from '../../../attestation/time/timestamp.ts';
import {
  encodeTimestampRequest,
  parseTimestampResponse,
  TIMESTAMP_QUERY,
  TIMESTAMP_REPLY,
} from '../../../attestation/time/timestampExchange.ts';
import { spkiSha256 } from '../../../attestation/x509/chain.ts';
import { askOutsider, OutsiderError } from '../../receipts/outsider.ts';
import { RenewalError } from './errors.ts';

const NONCE_BYTES = 16;
/** Status and text around the token take little. */
const MAX_REPLY_BYTES = MAX_TOKEN_BYTES + 4096;
const TIMEOUT_MS = 30_000;

export interface StampRequest {
  readonly url: string;
  readonly data: Uint8Array;
  readonly hash: RenewalHash;
  /** Authorities that are trusted; undefined where the signature is not to be judged here. */
  readonly anchors: readonly Anchor[] | undefined;
  readonly signal: AbortSignal;
}

export interface Stamp {
  /** The TimeStampResp as received (RFC 3161 section 2.4.2). */
  readonly response: Uint8Array;
  /** genTime, milliseconds since 1970: a claim unless it was judged. */
  readonly time: number;
  /** Certificates of the token, for whoever wants to pin one. */
  readonly certificates: readonly {
    readonly subject: string;
    readonly spkiSha256: string;
    readonly notAfter: number;
  }[];
}

/** Asks an RFC 3161 authority over HTTP (section 3.4) for a timestamp over `data`, by the hash of the renewal. */
export async function requestStamp({ url, data, hash, anchors, signal }: StampRequest): Promise<Stamp> {
  const nonce = makeNonce();
  const digest = nodeCrypto.hash(hash, data);
  try {
    const answer = await askOutsider({
      url,
      type: TIMESTAMP_QUERY,
      body: encodeTimestampRequest({ hash, digest, nonce, certReq: true }),
      maxBytes: MAX_REPLY_BYTES,
      signal,
      timeoutMs: TIMEOUT_MS,
    });
    if (answer.status !== 200) throw failed(url, `it answers HTTP ${answer.status}`);
    if (answer.type !== TIMESTAMP_REPLY) throw failed(url, `its answer is not of type ${TIMESTAMP_REPLY}`);
    return await readStamp(answer.body, { data, hash, anchors, nonce, url });
  } catch (error) {
    if (error instanceof OutsiderError || error instanceof Refusal) {
      throw failed(url, `${error.code}: ${error.message}`, error);
    }
    throw error;
  }
}

async function readStamp(
  response: Uint8Array,
  { data, hash, anchors, nonce, url }: Omit<StampRequest, 'signal'> & { readonly nonce: Uint8Array },
): Promise<Stamp> {
  const token = parseTimestampResponse(response);
  const { info, signed } = parseTimestamp(token);
  if (info.imprint.hash !== hash) throw failed(url, `the timestamp is by ${info.imprint.hash}`);
  checkImprint(info, data, nodeCrypto);
  checkNonce(info, nonce);
  if (anchors) await verifyTimestamp(token, { data, anchors, crypto: nodeCrypto, nonce });
  const certificates = readCertificates(signed.certificates).map((certificate) => ({
    subject: certificate.subject,
    spkiSha256: spkiSha256(certificate, nodeCrypto),
    notAfter: certificate.notAfter,
  }));
  return { response, time: info.time, certificates };
}

/** Positive and of full length, so that its INTEGER has these very bytes. */
function makeNonce(): Uint8Array {
  const nonce = new Uint8Array(randomBytes(NONCE_BYTES));
  nonce[0] = ((nonce[0] ?? 0) & 0x3f) | 0x40;
  return nonce;
}

function failed(url: string, detail: string, cause?: unknown): RenewalError {
  return new RenewalError('AUTHORITY_FAILED', `${url}: ${detail}`, cause);
}
