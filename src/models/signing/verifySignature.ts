import { concat, equalBytes, utf8 } from '../../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../../attestation/crypto/node.ts';
import type { SignatureScheme } from '../../../attestation/crypto/provider.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { type Certificate, parseCertificate } from '../../../attestation/x509/certificate.ts';
import { verifyChain } from '../../../attestation/x509/chain.ts';
import { decodeOid, DerReader, readOnly, TAG } from '../../../attestation/x509/der.ts';
import { rawSignature } from '../../../attestation/x509/signature.ts';
import { HostingError } from '../hostingErrors.ts';
import type { ReleaseFile, ReleaseSigner } from '../release/record.ts';
import { PAYLOAD_TYPE, parseBundle, type SignatureBundle } from './bundle.ts';
import { keyDigest, signingCurve, type SignerKey, type Signers } from './signers.ts';
import { parseStatement } from './statement.ts';

declare const verified: unique symbol;

/** Files that a signer of the policy vouches for. */
export interface VerifiedSignature {
  readonly [verified]: true;
  /** Path to hex SHA-256. */
  readonly files: ReadonlyMap<string, string>;
  readonly signer: ReleaseSigner;
}

const KEY_USAGE = '2.5.29.15';
const EXTENDED_KEY_USAGE = '2.5.29.37';
const CODE_SIGNING = '1.3.6.1.5.5.7.3.3';
/** anyExtendedKeyUsage. */
const ANY_PURPOSE = '2.5.29.37.0';
/** Longest way from a signer to an authority of the policy. */
const MAX_PATH = 8;

/** Verifies a signature bundle under the keys and authorities of a policy. Needs no network. */
export async function verifySignature(bytes: Uint8Array, signers: Signers): Promise<VerifiedSignature> {
  const bundle = parseBundle(bytes);
  const signer = bundle.chain
    ? await verifyByCertificate(bundle, bundle.chain, signers)
    : await verifyByKey(bundle, signers);
  const facts = { files: parseStatement(bundle.payload), signer };
  return facts as unknown as VerifiedSignature;
}

/** The bundle's hint of a key is not authentic, so each key of the policy is tried. */
async function verifyByKey(bundle: SignatureBundle, { keys }: Signers): Promise<ReleaseSigner> {
  for (const key of keys) {
    if (await isSignedBy(bundle, key)) return { kind: 'key', spkiSha256: keyDigest(key.spki) };
  }
  throw invalid('it verifies under no key of the policy');
}

async function verifyByCertificate(
  bundle: SignatureBundle,
  chain: readonly Uint8Array[],
  { roots }: Signers,
): Promise<ReleaseSigner> {
  try {
    const [leaf, ...others] = chain.map(parseCertificate);
    if (!leaf) throw invalid('it has no certificate');
    requireMaySign(await verifiedPath(leaf, others, roots));
    const curve = signingCurve(leaf.spki);
    if (!curve || !(await isSignedBy(bundle, { curve, spki: leaf.spki }))) {
      throw invalid('it does not verify under the certificate');
    }
    return { kind: 'certificate', spkiSha256: keyDigest(leaf.spki), subject: leaf.subject.slice(0, 1024) };
  } catch (error) {
    if (error instanceof Refusal) throw invalid(error.message);
    throw error;
  }
}

/** DSSE v1: `DSSEv1 <length of type> <type> <length of payload> <payload>` is what is signed. */
async function isSignedBy({ payload, signature }: SignatureBundle, { curve, spki }: SignerKey): Promise<boolean> {
  const head = `DSSEv1 ${PAYLOAD_TYPE.length} ${PAYLOAD_TYPE} ${payload.length} `;
  const scheme: SignatureScheme = { kind: 'ecdsa', curve, hash: curve === 'P-256' ? 'sha256' : 'sha384' };
  try {
    const raw = rawSignature(scheme, signature);
    return await nodeCrypto.verify(scheme, spki, concat(utf8(head), payload), raw);
  } catch (error) {
    if (error instanceof Refusal) return false;
    throw error;
  }
}

/**
 * The first way from the signer to an authority of the policy that holds: signer first, authority last. Two authorities
 * may have one name, as when a key was renewed: each is tried.
 */
async function verifiedPath(
  leaf: Certificate,
  others: readonly Certificate[],
  roots: readonly Certificate[],
): Promise<readonly Certificate[]> {
  let first: Refusal | undefined;
  for (const path of pathsToRoots(leaf, others, roots)) {
    try {
      await verifyPath(path);
      return path;
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      first ??= error;
    }
  }
  throw first ?? invalid('its certificate leads to no authority of the policy');
}

/** Ways by names alone, the shortest first; signatures are verified afterwards. */
function* pathsToRoots(
  leaf: Certificate,
  others: readonly Certificate[],
  roots: readonly Certificate[],
): Generator<readonly Certificate[]> {
  const path = [leaf];
  for (let last: Certificate | undefined = leaf; last && path.length < MAX_PATH; ) {
    const wanted: Uint8Array = last.issuerName;
    const isIssuer = ({ subjectName }: Certificate): boolean => equalBytes(subjectName, wanted);
    for (const root of roots.filter(isIssuer)) yield [...path, root];
    last = others.find((candidate) => isIssuer(candidate) && !path.includes(candidate));
    if (last) path.push(last);
  }
}

/**
 * Nothing in the bundle proves when it was signed, so the chain is judged at the beginning of the signer's
 * certificate, as other verifiers of the format do. A key that leaked is taken back by changing the policy.
 */
function verifyPath(path: readonly Certificate[]): Promise<void> {
  const now = path[0]?.notBefore ?? 0;
  return verifyChain(path, { crypto: nodeCrypto, now, processedExtensions: [EXTENDED_KEY_USAGE] });
}

/**
 * RFC 5280 sections 4.2.1.3 and 4.2.1.12: keyUsage digitalSignature, or no keyUsage and extendedKeyUsage codeSigning.
 * Beyond the reference verifier, which is content with digitalSignature: every certificate below the root that names
 * purposes must name this one. The key of a TLS server has digitalSignature, too, and nobody trusts it with models.
 */
function requireMaySign(path: readonly Certificate[]): void {
  const [leaf] = path;
  const stranger = path.slice(0, -1).find((certificate) => purposesOf(certificate)?.some(isForCode) === false);
  if (stranger) throw invalid(`the certificate of ${stranger.subject.slice(0, 200)} is for other purposes than code signing`);
  const usage = leaf?.extensions.get(KEY_USAGE);
  // The first byte counts unused bits; digitalSignature is the first bit of the second.
  const bits = usage && readOnly(usage.value, TAG.bitString, 'keyUsage').content[1];
  if (bits !== undefined && (bits & 0x80) !== 0) return;
  if (leaf && !usage && purposesOf(leaf)?.includes(CODE_SIGNING)) return;
  throw invalid('its certificate is not for signatures');
}

const isForCode = (purpose: string): boolean => purpose === CODE_SIGNING || purpose === ANY_PURPOSE;

/** Object identifiers of extendedKeyUsage; undefined where the extension is absent. */
function purposesOf({ extensions }: Certificate): readonly string[] | undefined {
  const extended = extensions.get(EXTENDED_KEY_USAGE);
  if (!extended) return undefined;
  const purposes = new DerReader(extended.value, 'extKeyUsage').enterLast(TAG.sequence);
  const found: string[] = [];
  while (!purposes.done) found.push(decodeOid(purposes.take(TAG.oid).content));
  return found;
}

/** Both ways: no file without a signature, and no signed file that is not there. */
export function requireCovered({ files: signed }: VerifiedSignature, files: readonly ReleaseFile[]): void {
  const problem =
    files.map((file) => uncovered(file, signed)).find((found) => found !== undefined) ??
    missing(signed, new Set(files.map(({ path }) => path)));
  if (problem !== undefined) throw new HostingError('SIGNATURE_COVERAGE', problem);
}

function uncovered({ path, sha256 }: ReleaseFile, signed: ReadonlyMap<string, string>): string | undefined {
  const digest = signed.get(path);
  if (digest === undefined) return `${path} is not covered by the signature`;
  return digest === sha256 ? undefined : `${path} has the digest ${sha256}, signed is ${digest}`;
}

function missing(signed: ReadonlyMap<string, string>, paths: ReadonlySet<string>): string | undefined {
  const absent = [...signed.keys()].find((path) => !paths.has(path));
  return absent === undefined ? undefined : `${JSON.stringify(absent.slice(0, 300))} is signed, but not there`;
}

function invalid(detail: string): HostingError {
  return new HostingError('SIGNATURE_INVALID', `the signature is not taken: ${detail}`);
}
