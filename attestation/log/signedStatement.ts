import { HEADER, encodeSign1, parseForeignSign1, sigStructure, type ForeignHeader } from '../cose/sign1.ts';
import { signatureScheme } from '../cose/algorithms.ts';
import type { CryptoProvider } from '../crypto/provider.ts';
import { Refusal } from '../errors.ts';

/** Header labels of RFC 9360 and RFC 9995. */
const X5 = { chain: 33, thumbprint: 34 } as const;
const ENVELOPE = { hash: 258, contentType: 259, location: 260 } as const;
const CWT = { iss: 1, sub: 2 } as const;
/** RFC 9943 section 6.1. */
const MAX_ISSUER_LENGTH = 8192;
const MAX_CERTIFICATES = 16;

/** A signed statement of RFC 9943 as parsed: whoever sent it may have signed it with any key. */
export interface SignedStatement {
  /** The statement with its unprotected header emptied: what a log takes, and what is hashed. */
  readonly entry: Uint8Array;
  /** As received; nothing in it is signed. */
  readonly unprotectedHeader: ForeignHeader;
  readonly alg: number;
  readonly issuer: string;
  readonly subject: string;
  readonly kid: Uint8Array | undefined;
  /** DER certificates of the protected x5chain, leaf first; empty where there is none. */
  readonly certificates: readonly Uint8Array[];
  readonly type: unknown;
  readonly protectedBytes: Uint8Array;
  readonly payload: Uint8Array;
  readonly signature: Uint8Array;
}

declare const verified: unique symbol;
export type VerifiedStatement = SignedStatement & { readonly [verified]: true };

/** Parses a signed statement: tagged, payload inside, CWT claims with issuer and subject, a key named. */
export function parseSignedStatement(bytes: Uint8Array): SignedStatement {
  const sign1 = parseForeignSign1(bytes);
  if (!sign1.tagged) throw malformed('it has no tag 18');
  const { protectedHeader, protectedBytes, unprotectedHeader, payload, signature } = sign1;
  if (!payload) throw new Refusal('EVIDENCE_INCOMPLETE', 'statement: its payload is detached');
  requireHashEnvelope(protectedHeader, unprotectedHeader);
  return {
    entry: encodeSign1(protectedBytes, payload, signature),
    unprotectedHeader,
    ...parseIssuer(protectedHeader),
    ...parseKeyName(protectedHeader),
    type: protectedHeader.get(HEADER.typ),
    protectedBytes,
    payload,
    signature,
  };
}

function parseIssuer(header: ForeignHeader): Pick<SignedStatement, 'alg' | 'issuer' | 'subject'> {
  const alg = header.get(HEADER.alg);
  if (typeof alg !== 'number') throw malformed('its algorithm is not protected');
  const claims = header.get(HEADER.cwtClaims);
  if (!(claims instanceof Map)) throw malformed('it has no CWT claims');
  const [issuer, subject] = [claims.get(CWT.iss), claims.get(CWT.sub)] as readonly unknown[];
  if (typeof issuer !== 'string' || typeof subject !== 'string') {
    throw malformed('issuer or subject is missing');
  }
  if (issuer.length === 0 || issuer.length > MAX_ISSUER_LENGTH) {
    throw malformed(`its issuer has ${issuer.length} characters, not 1 to ${MAX_ISSUER_LENGTH}`);
  }
  return { alg, issuer, subject };
}

function parseKeyName(header: ForeignHeader): Pick<SignedStatement, 'kid' | 'certificates'> {
  const kid = header.get(HEADER.kid);
  if (kid !== undefined && !(kid instanceof Uint8Array)) throw malformed('kid is no byte string');
  const certificates = parseChain(header.get(X5.chain));
  if (kid === undefined && certificates.length === 0 && !header.has(X5.thumbprint)) {
    throw malformed('neither kid nor a certificate is in the protected header');
  }
  return { kid, certificates };
}

/** One certificate as a byte string, several as an array of them (RFC 9360 section 2). */
function parseChain(value: unknown): readonly Uint8Array[] {
  if (value === undefined) return [];
  const chain: readonly unknown[] = Array.isArray(value) ? (value as readonly unknown[]) : [value];
  if (chain.length === 0 || chain.length > MAX_CERTIFICATES) throw malformed('x5chain is empty or too long');
  return chain.map((certificate) => {
    if (certificate instanceof Uint8Array) return certificate;
    throw malformed('x5chain holds no byte strings');
  });
}

/** RFC 9995: its labels are protected alone, and the type of the digest's preimage has its own label. */
function requireHashEnvelope(protectedHeader: ForeignHeader, unprotectedHeader: ForeignHeader): void {
  const labels = Object.values(ENVELOPE);
  if (labels.some((label) => unprotectedHeader.has(label))) {
    throw malformed('a label of a hash envelope is not protected');
  }
  if (!labels.some((label) => protectedHeader.has(label))) return;
  if (!protectedHeader.has(ENVELOPE.hash)) throw malformed('a hash envelope names no hash');
  if (protectedHeader.has(HEADER.contentType) || unprotectedHeader.has(HEADER.contentType)) {
    throw malformed('a hash envelope has a content type');
  }
}

/**
 * Verifies a statement under the key that the caller pins for its issuer. Refuses an algorithm that is not taken as
 * `ALGORITHM_MISMATCH`, another key as `SIGNATURE_INVALID`.
 */
export async function verifySignedStatement(
  statement: SignedStatement,
  spki: Uint8Array,
  crypto: CryptoProvider,
): Promise<VerifiedStatement> {
  const scheme = signatureScheme(statement.alg);
  if (!scheme) throw new Refusal('ALGORITHM_MISMATCH', `the statement names algorithm ${statement.alg}`);
  const data = sigStructure(statement.protectedBytes, statement.payload);
  if (!(await crypto.verify(scheme, spki, data, statement.signature))) {
    throw new Refusal('SIGNATURE_INVALID', 'the signature of the statement does not verify');
  }
  return statement as VerifiedStatement;
}

function malformed(detail: string): Refusal {
  return new Refusal('MALFORMED', `statement: ${detail}`);
}
