import { findAnchor, type Anchor } from '../anchors.ts';
import { fromUtf8 } from '../bytes/bytes.ts';
import { signatureScheme } from '../cose/algorithms.ts';
import { sigStructure } from '../cose/sign1.ts';
import type { CryptoProvider, SignatureScheme } from '../crypto/provider.ts';
import { Refusal } from '../errors.ts';
import { parseCertificate, type Certificate } from '../x509/certificate.ts';
import { spkiSha256, verifyChain, type ChainOptions } from '../x509/chain.ts';
import { decodeOid, DerReader, TAG } from '../x509/der.ts';
import { DIGITAL_SIGNATURE, EXTENDED_KEY_USAGE, keyUsageBits } from '../x509/extensions.ts';
import { attributeValues } from '../x509/name.ts';
import { isoTime } from '../x509/time.ts';
import { isAbout, type OperatorStatement } from './statement.ts';

const ORGANISATION = '2.5.4.10';
const COMMON_NAME = '2.5.4.3';
const TEXT_TAGS: readonly number[] = [TAG.utf8String, TAG.printableString, TAG.ia5String];
/** codeSigning, documentSigning (RFC 9336) and anyExtendedKeyUsage: a key of a web server speaks for no one. */
const PURPOSES = ['1.3.6.1.5.5.7.3.3', '1.3.6.1.5.5.7.3.36', '2.5.29.37.0'];

/** RSASSA-PSS of RFC 8230: keys of organisations are often RSA. */
const PSS: ReadonlyMap<number, SignatureScheme> = new Map([
  [-37, { kind: 'rsa-pss', hash: 'sha256', saltLength: 32 }],
  [-38, { kind: 'rsa-pss', hash: 'sha384', saltLength: 48 }],
  [-39, { kind: 'rsa-pss', hash: 'sha512', saltLength: 64 }],
]);

/** How a COSE algorithm id is checked; undefined for one that is not taken. */
function operatorScheme(alg: number): SignatureScheme | undefined {
  return signatureScheme(alg) ?? PSS.get(alg);
}

declare const verified: unique symbol;
/** Signed by a key of the organisation that it names, which a pinned key certifies, and in date. */
export interface VerifiedOperatorStatement {
  readonly [verified]: true;
  readonly statement: OperatorStatement;
  readonly anchor: Anchor;
}

export interface OperatorOptions extends ChainOptions {
  readonly anchors: readonly Anchor[];
  /** Of the keyset that the hardware vouches for. */
  readonly instance: Uint8Array;
}

/**
 * Verifies a statement for an instance: signature, certificates to a pinned key of the role `operator`, and window.
 * The chain ends at the first pinned certificate; what follows it is not looked at.
 */
export async function verifyOperatorStatement(
  statement: OperatorStatement,
  options: OperatorOptions,
): Promise<VerifiedOperatorStatement> {
  // The pin comes first: what a stranger signed is not looked at.
  const { chain, anchor } = pinnedChain(statement.certificates.map(parseCertificate), options);
  await verifySignature(statement, options.crypto);
  requireInstance(statement, options.instance);
  await verifyLinks(chain, options);
  requireWindow(statement, options.now);
  return { statement, anchor } as VerifiedOperatorStatement;
}

/** All that can be said of a statement without trusting anyone: what is published unread helps nobody. */
export async function checkOperatorStatement(
  statement: OperatorStatement,
  options: Omit<OperatorOptions, 'anchors'>,
): Promise<void> {
  await verifySignature(statement, options.crypto);
  requireInstance(statement, options.instance);
  await verifyLinks(statement.certificates.map(parseCertificate), options);
  requireWindow(statement, options.now);
}

function verifyLinks(chain: readonly Certificate[], options: ChainOptions): Promise<void> {
  return verifyChain(chain, { ...options, endsAtPin: true, processedExtensions: [EXTENDED_KEY_USAGE] });
}

/** The first certificate names the organisation, and its key signed. */
async function verifySignature(statement: OperatorStatement, crypto: CryptoProvider): Promise<void> {
  const { alg, certificates, organisation, sign1 } = statement;
  const [leaf] = certificates.map(parseCertificate);
  if (!leaf) throw new Refusal('CERT_MISSING', 'the operator statement has no certificate');
  requirePurpose(leaf);
  const named = organisationOf(leaf);
  if (named !== organisation) {
    const reason = `the statement is by ${organisation}, its certificate is of ${named}`;
    throw new Refusal('UNTRUSTED_KEY', reason);
  }
  const scheme = operatorScheme(alg);
  if (!scheme) throw new Refusal('ALGORITHM_MISMATCH', `the operator statement names algorithm ${alg}`);
  const signed = sigStructure(sign1.protectedBytes, sign1.payload);
  if (!(await crypto.verify(scheme, leaf.spki, signed, sign1.signature))) {
    throw new Refusal('SIGNATURE_INVALID', 'the signature of the operator statement does not verify');
  }
}

function requireInstance(statement: OperatorStatement, instance: Uint8Array): void {
  if (isAbout(statement, instance)) return;
  throw new Refusal('OPERATOR_INSTANCE_MISMATCH', 'the operator statement is about another instance');
}

/** `now` in milliseconds since 1970. */
function requireWindow({ notBefore, notAfter }: OperatorStatement, now: number): void {
  if (now >= notBefore * 1000 && now < (notAfter + 1) * 1000) return;
  const span = `from ${isoTime(notBefore * 1000)} to ${isoTime(notAfter * 1000)}`;
  throw new Refusal('OPERATOR_STATEMENT_EXPIRED', `stated ${span}, judged at ${isoTime(now)}`);
}

/**
 * The one organisationName of the certificate, or its one common name where it has none: an authority that many
 * organisations share vouches for this name, so that none of them can speak for another.
 */
export function organisationOf({ subjectName, subject }: Certificate): string {
  for (const type of [ORGANISATION, COMMON_NAME]) {
    const [name, second] = attributeValues(subjectName, type);
    if (second) break;
    if (name && TEXT_TAGS.includes(name.tag)) return fromUtf8(name.content);
    if (name) break;
  }
  throw new Refusal('CERT_CHAIN_INVALID', `${subject || 'the certificate'} does not name one organisation`);
}

/** keyUsage and extendedKeyUsage restrict where they are there (RFC 5280 sections 4.2.1.3 and 4.2.1.12). */
function requirePurpose({ extensions, subject }: Certificate): void {
  const usage = keyUsageBits(extensions);
  if (usage !== undefined && (usage & DIGITAL_SIGNATURE) === 0) {
    throw new Refusal('CERT_CHAIN_INVALID', `${subject} may not sign`);
  }
  const purposes = extensions.get(EXTENDED_KEY_USAGE);
  if (!purposes) return;
  const list = new DerReader(purposes.value, 'extended key usage').enterLast(TAG.sequence);
  let fits = false;
  while (!list.done) fits = PURPOSES.includes(decodeOid(list.take(TAG.oid).content)) || fits;
  if (!fits) {
    throw new Refusal(
      'CERT_CHAIN_INVALID',
      `${subject} is neither for code signing nor for document signing`,
    );
  }
}

function pinnedChain(
  chain: readonly Certificate[],
  { anchors, crypto }: OperatorOptions,
): { readonly chain: readonly Certificate[]; readonly anchor: Anchor } {
  for (const [i, certificate] of chain.entries()) {
    const anchor = findAnchor(anchors, 'operator', spkiSha256(certificate, crypto));
    if (anchor) return { chain: chain.slice(0, i + 1), anchor };
  }
  const last = chain.at(-1);
  throw new Refusal(
    'UNTRUSTED_ROOT',
    `no certificate of the operator statement, up to ${last?.subject ?? 'none'}, has a key that you pinned`,
  );
}
