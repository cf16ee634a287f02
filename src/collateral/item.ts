import { z } from 'zod';
import { Refusal } from '../../attestation/errors.ts';
import { JsonError } from '../../attestation/json/strict.ts';
import { CollateralError } from './errors.ts';
import type { HttpRequest } from './http.ts';
import type { CollateralNeed } from './need.ts';

/** What a service sent, in the form in which it is kept. */
export interface Received {
  /** DER of a certificate or CRL, PEM of CA certificates, a JSON body, a manifest. */
  readonly body: Uint8Array;
  /** DER certificates that came in a header, signer first. */
  readonly chain: readonly Uint8Array[];
}

/** Milliseconds since 1970. */
export interface Validity {
  readonly from: number;
  readonly until: number;
}

/** A statement that is what it was asked to be, as far as its bytes tell. Nothing in it is verified. */
export interface CollateralItem extends Received {
  readonly need: CollateralNeed;
  /** DER certificates that may complete a chain. */
  readonly certificates: readonly Uint8Array[];
  /** Undefined for manifests, which state none. */
  readonly validity: Validity | undefined;
  /** What an OCSP response says of the certificate, such as `good`; for people. */
  readonly status?: string | undefined;
}

/** What one vendor's interface makes of a need. */
export interface CollateralRequest extends HttpRequest {
  /** Names of the header that holds the signers, URL-encoded PEM; the statement has none where absent. */
  readonly chainHeaders?: readonly string[];
  /** From the body as sent to the form in which it is kept. */
  readonly unpack?: (body: Uint8Array) => Uint8Array;
}

/** Reads bytes of strangers: what goes wrong is `malformed`, unless the reading says something better. */
export function reading<T>(what: string, read: () => T): T {
  try {
    return read();
  } catch (error) {
    const why = reasonOf(error);
    if (why === undefined) throw error;
    throw new CollateralError('malformed', `${what}: ${why}`, { cause: error });
  }
}

function reasonOf(error: unknown): string | undefined {
  if (error instanceof Refusal || error instanceof JsonError) return error.message;
  if (error instanceof z.ZodError) {
    return `member ${error.issues.map(({ path }) => path.join('.')).join(', ') || 'of the body'} is not as specified`;
  }
  return error instanceof URIError ? 'the header is not URL-encoded' : undefined;
}
