import { equalBytes } from '../bytes/bytes.ts';
import { Refusal } from '../errors.ts';
import { decodeBitString, DerReader, TAG, type DerElement } from './der.ts';

/** What certificates and CRLs have in common: content, algorithm and signature, with nothing after them. */
export interface Signed {
  readonly tbs: DerElement;
  /** Encoded AlgorithmIdentifier. */
  readonly signatureAlgorithm: Uint8Array;
  readonly signature: Uint8Array;
}

/** The SIGNED structure of RFC 5280 sections 4.1.1 and 5.1.1. */
export function readSigned(der: Uint8Array, what: string): Signed {
  const outer = new DerReader(der, what).enterLast(TAG.sequence);
  const tbs = outer.take(TAG.sequence);
  const algorithm = outer.take(TAG.sequence);
  const signature = decodeBitString(outer.take(TAG.bitString), `${what} signature`);
  outer.end();
  return { tbs, signatureAlgorithm: algorithm.encoded, signature };
}

/** The algorithm outside is not signed: it must equal the signed one (RFC 5280 sections 4.1.1.2 and 5.1.1.2). */
export function checkSignedAlgorithm(signed: Signed, inner: DerElement, what: string): void {
  if (!equalBytes(inner.encoded, signed.signatureAlgorithm)) {
    throw new Refusal('MALFORMED', `${what} names two signature algorithms`);
  }
}
