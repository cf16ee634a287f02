import { concat, equalBytes, toHex } from '../../bytes/bytes.ts';
import { pass, type Check } from '../../checks.ts';
import type { CryptoProvider, HashName, SignatureScheme } from '../../crypto/provider.ts';
import { Refusal } from '../../errors.ts';
import { atCheck } from '../../verdict/steps.ts';
import type { PcrBank } from '../evidence.ts';
import { ALG, HASH_BYTES, hexId } from './algorithms.ts';
import { CURVE_BYTES, publicKeyKind, type PublicKeyKind, type TpmCurve } from './key.ts';
import { parseTpmsAttest, type TpmsAttest } from './parse.ts';
import { coveredPcrs } from './pcrs.ts';
import { checkAttestationAttributes, hierarchyOf, parseTpmtPublic, type Hierarchy } from './public.ts';
import type { TpmSignature } from './signature.ts';

/** A quote as evidence carries it. */
export interface TpmQuoteEvidence {
  /** TPMS_ATTEST; `unwrapTpm2bAttest` takes a size in front away. */
  readonly message: Uint8Array;
  readonly signature: TpmSignature;
  /** Values of at least the registers that the quote selects. */
  readonly pcrs: readonly PcrBank[];
  /** TPMT_PUBLIC of the signing key, where the evidence has it. */
  readonly publicArea?: Uint8Array;
}

export interface TpmQuoteOptions {
  readonly crypto: CryptoProvider;
  /** Subject of the checks, `cpu` by default. */
  readonly subject?: string;
}

declare const verified: unique symbol;

/**
 * A quote that the key `akSpki` signed, with exactly the register values that it covers. Whether the key is that of a
 * TPM is another question: see `verifyAk`. Only `verifyTpmQuote` makes one.
 */
export interface VerifiedTpmQuote {
  readonly [verified]: true;
  readonly attest: TpmsAttest;
  readonly akSpki: Uint8Array;
  readonly scheme: TpmSignature['scheme'];
  readonly hash: HashName;
  readonly pcrs: readonly PcrBank[];
  /** Where the quote commits to a public area as a primary key of a hierarchy, its attributes are the TPM's word. */
  readonly hierarchy: Hierarchy | undefined;
  readonly subject: string;
  readonly checks: readonly Check[];
}

/** Verifies a quote under the key (DER SubjectPublicKeyInfo): form, signature, PCR digest. */
export function verifyTpmQuote(
  { message, signature, pcrs, publicArea }: TpmQuoteEvidence,
  akSpki: Uint8Array,
  { crypto, subject = 'cpu' }: TpmQuoteOptions,
): Promise<VerifiedTpmQuote> {
  return atCheck('cpu.vtpm-quote', async () => {
    const attest = parseTpmsAttest(message);
    const { scheme, hash } = signature;
    await checkSignature(attest, signature, akSpki, crypto);
    const hierarchy = publicArea && checkPublicArea(publicArea, attest, signature, akSpki, crypto);
    const covered = coveredPcrs(attest, pcrs, hash, crypto);
    const checks = [describe(attest, signature, hierarchy, subject)];
    const parts = { attest, akSpki, scheme, hash, pcrs: covered, hierarchy, subject, checks };
    return parts as unknown as VerifiedTpmQuote;
  });
}

async function checkSignature(
  { signedBytes }: TpmsAttest,
  signature: TpmSignature,
  akSpki: Uint8Array,
  crypto: CryptoProvider,
): Promise<void> {
  if (signature.hash === 'sha1') {
    throw new Refusal('ALGORITHM_MISMATCH', 'the quote is signed with SHA-1, for which collisions are known');
  }
  const { schemes, bytes } = attempts(signature, publicKeyKind(akSpki));
  for (const scheme of schemes) if (await crypto.verify(scheme, akSpki, signedBytes, bytes)) return;
  throw new Refusal('SIGNATURE_INVALID', 'the quote does not verify under the attestation key');
}

interface Attempts {
  readonly schemes: readonly SignatureScheme[];
  readonly bytes: Uint8Array;
}

function attempts(signature: TpmSignature, key: PublicKeyKind): Attempts {
  const { hash } = signature;
  if (signature.scheme === 'ecdsa' && key.kind === 'ec') {
    const { curve } = key;
    return { schemes: [{ kind: 'ecdsa', curve, hash }], bytes: fixedLength(signature.r, signature.s, curve) };
  }
  if (signature.scheme !== 'ecdsa' && key.kind === 'rsa') {
    const { signature: bytes } = signature;
    if (signature.scheme === 'rsassa') return { schemes: [{ kind: 'rsa-pkcs1', hash }], bytes };
    return { schemes: pssSchemes(hash, key.bits), bytes };
  }
  throw new Refusal('ALGORITHM_MISMATCH', `a signature of ${signature.scheme} by a key of kind ${key.kind}`);
}

/**
 * A TPM salts with as many bytes as the digest has where it follows FIPS 186, else with as many as fit (part 1, annex
 * B.7): the encoded message has one bit less than the modulus, and holds digest, salt and two bytes more.
 */
function pssSchemes(hash: HashName, bits: number): readonly SignatureScheme[] {
  const longest = Math.ceil((bits - 1) / 8) - HASH_BYTES[hash] - 2;
  return [HASH_BYTES[hash], longest].map((saltLength) => ({ kind: 'rsa-pss', hash, saltLength }));
}

/** `r || s`, each as long as the order of the curve. */
function fixedLength(r: Uint8Array, s: Uint8Array, curve: TpmCurve): Uint8Array {
  const size = CURVE_BYTES[curve];
  if (r.length > size || s.length > size) {
    throw new Refusal('SIGNATURE_INVALID', `R of ${r.length} and S of ${s.length} bytes on ${curve}`);
  }
  return concat(new Uint8Array(size - r.length), r, new Uint8Array(size - s.length), s);
}

/** The public area must be of the key that signed, an attestation key, and bound to this scheme or to none. */
function checkPublicArea(
  bytes: Uint8Array,
  { qualifiedSigner }: TpmsAttest,
  { scheme, hash }: TpmSignature,
  akSpki: Uint8Array,
  crypto: CryptoProvider,
): Hierarchy | undefined {
  const area = parseTpmtPublic(bytes);
  if (!equalBytes(area.spki, akSpki)) {
    throw new Refusal(
      'UNTRUSTED_KEY',
      'the public area is of another key than the one that signed the quote',
    );
  }
  checkAttestationAttributes(area);
  if (area.scheme && (area.scheme.algorithm !== ALG[scheme] || area.scheme.hash !== hash)) {
    const bound = `${hexId(area.scheme.algorithm)} with ${area.scheme.hash ?? 'no hash'}`;
    throw new Refusal(
      'ALGORITHM_MISMATCH',
      `the key is bound to ${bound}, the quote is signed by ${scheme} with ${hash}`,
    );
  }
  return hierarchyOf(area, qualifiedSigner, crypto);
}

function describe(
  { selection, clockInfo, firmwareVersion, extraData }: TpmsAttest,
  { scheme, hash }: TpmSignature,
  hierarchy: Hierarchy | undefined,
  subject: string,
): Check {
  const banks = selection.map((bank) => `${bank.pcrs.length} PCRs of ${bank.hash}`).join(', ');
  const primary = hierarchy ? `, by a primary key of the ${hierarchy} hierarchy` : '';
  const counts = `resets ${clockInfo.resetCount}, restarts ${clockInfo.restartCount}`;
  const state = `firmware ${firmwareVersion.toString(16).padStart(16, '0')}, ${counts}`;
  const reason = `${scheme} with ${hash} over ${banks}${primary}; ${state}; extraData ${toHex(extraData) || 'empty'}`;
  return pass('cpu.vtpm-quote', subject, reason);
}
