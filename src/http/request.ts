import type { IncomingHttpHeaders } from 'node:http';
import type { Channel } from '../../attestation/receipt/claims.ts';
import { ServiceError } from './errors.ts';

/** A request as the APIs see it: what came under a seal looks like what came openly. */
export interface ServiceRequest {
  readonly method: string;
  /** As received, with the query. */
  readonly path: string;
  readonly params: Readonly<Record<string, string | undefined>>;
  /** The exact bytes of the body: the receipt commits to them. */
  readonly bytes: Uint8Array;
  /** Bytes of JSON at the start, where raw tensors follow; undefined where all is JSON. */
  readonly jsonLength: number | undefined;
  readonly nonce: Uint8Array | undefined;
  /** The client waits until hardware covers the receipt. */
  readonly fresh: boolean;
  readonly channel: Channel;
  /** Name of the API key; undefined where none is needed. */
  readonly tenant: string | undefined;
}

/** What a request says before its body, in HTTP as in gRPC. */
export interface Headed {
  readonly headers: IncomingHttpHeaders;
}

const NONCE = /^[0-9a-f]{64}$/;

/** A nonce from its hex form. */
export function parseNonce(text: unknown): Uint8Array {
  if (typeof text !== 'string' || !NONCE.test(text)) throw invalid();
  return requireNonce(Buffer.from(text, 'hex'));
}

/** Refuses the nonce of zeros: what was never set looks like it. */
export function requireNonce(nonce: Uint8Array): Uint8Array {
  if (nonce.every((byte) => byte === 0)) throw invalid();
  return nonce;
}

function invalid(): ServiceError {
  return new ServiceError('NONCE_INVALID', 'the nonce is not 64 lower-case hex digits, or all zero');
}

/** The nonce of the request's header; undefined where it has none. */
export function headerNonce({ headers }: Headed): Uint8Array | undefined {
  const text = headers['vouchsafe-nonce'];
  return text === undefined ? undefined : parseNonce(text);
}

export function wantsFresh({ headers }: Headed): boolean {
  return headers['vouchsafe-fresh'] === '?1';
}
