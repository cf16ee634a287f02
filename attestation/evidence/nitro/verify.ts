import { findAnchor, type Anchor } from '../../anchors.ts';
import { pass, skip, type Check } from '../../checks.ts';
import { sigStructure } from '../../cose/sign1.ts';
import type { CryptoProvider } from '../../crypto/provider.ts';
import { Refusal } from '../../errors.ts';
import { atCheck } from '../../verdict/steps.ts';
import { parseCertificate, type Certificate } from '../../x509/certificate.ts';
import { spkiSha256, verifyChain } from '../../x509/chain.ts';
import type { ChainCache } from '../../x509/chainCache.ts';
import { DIGITAL_SIGNATURE, keyUsageBits } from '../../x509/extensions.ts';
import { isoTime } from '../../x509/time.ts';
import { parseNitroDocument, type NitroDocument } from './parse.ts';

/** How far the hypervisor's clock may be ahead of the judged time, in milliseconds. */
export const CLOCK_SKEW_MS = 5 * 60 * 1000;

export interface NitroVerifyOptions {
  readonly crypto: CryptoProvider;
  /** Judged time, milliseconds since 1970. A signing certificate lives three hours. */
  readonly now: number;
  /** Keys that the caller trusts; those of other roles are passed over. */
  readonly anchors: readonly Anchor[];
  /** Remembers signatures of certificates that were found good. */
  readonly chainCache?: ChainCache | undefined;
}

declare const verified: unique symbol;

/** A document that a Nitro hypervisor signed, up to the trust in `anchor`. Only `verifyNitro` makes one. */
export interface VerifiedNitro {
  readonly [verified]: true;
  readonly document: NitroDocument;
  /** Certificate of the hypervisor module that signed. */
  readonly leaf: Certificate;
  readonly anchor: Anchor;
  /** The time at which all windows were judged. */
  readonly judgedAt: number;
  /** The checks that this verification made, in their order, with the values compared. */
  readonly checks: readonly Check[];
}

/**
 * Verifies an attestation document with the certificates that it carries. Throws a `Refusal` that names the first
 * check broken. What the enclave may be trusted with is a policy's to say: see `appraiseNitro`.
 */
export async function verifyNitro(bytes: Uint8Array, options: NitroVerifyOptions): Promise<VerifiedNitro> {
  const document = await atCheck('cpu.format', () => parseNitroDocument(bytes));
  const { leaf, anchor } = await atCheck('cpu.chain', () => verifyDocumentChain(document, options));
  await atCheck('cpu.signature', () => checkSignature(document, leaf, options.crypto));
  const checks = describe(document, leaf, anchor);
  return { document, leaf, anchor, judgedAt: options.now, checks } as unknown as VerifiedNitro;
}

/** The pin comes first: a look-alike root with AWS's name is refused before anything it signed is looked at. */
async function verifyDocumentChain(
  document: NitroDocument,
  options: NitroVerifyOptions,
): Promise<{ readonly leaf: Certificate; readonly anchor: Anchor }> {
  const leaf = parseCertificate(document.certificate);
  const authorities = document.cabundle.map(parseCertificate).reverse();
  const anchor = findPinned(authorities.at(-1), options);
  await verifyChain([leaf, ...authorities], options);
  for (const { subject, maySignCertificates } of authorities) {
    if (maySignCertificates) continue;
    throw new Refusal('CERT_CHAIN_INVALID', `${subject} is not marked for signing certificates`);
  }
  checkLeaf(leaf);
  checkTimestamp(document, leaf, options.now);
  return { leaf, anchor };
}

/** The root is the first of the bundle, in every document. */
function findPinned(root: Certificate | undefined, { anchors, crypto }: NitroVerifyOptions): Anchor {
  if (!root) throw new Refusal('CERT_MISSING', 'the document has no root certificate');
  const spki = spkiSha256(root, crypto);
  const anchor = findAnchor(anchors, 'aws-nitro', spki);
  if (anchor) return anchor;
  const detail = `the chain ends in ${root.subject} with key ${spki}, which is not pinned`;
  throw new Refusal('UNTRUSTED_ROOT', detail);
}

/** A certificate of an authority must not pass for that of a module: it is for signing documents and no more. */
function checkLeaf(leaf: Certificate): void {
  if (leaf.isCa || leaf.pathLength !== undefined) {
    throw new Refusal('CERT_CHAIN_INVALID', `${leaf.subject} is an authority, not a module`);
  }
  if (((keyUsageBits(leaf.extensions) ?? 0) & DIGITAL_SIGNATURE) === 0) {
    throw new Refusal('CERT_CHAIN_INVALID', `${leaf.subject} is not marked for signing documents`);
  }
}

/** The document's own time must lie in the life of the key that signed it, and not in the future. */
function checkTimestamp({ timestamp }: NitroDocument, leaf: Certificate, now: number): void {
  if (timestamp < leaf.notBefore || timestamp > leaf.notAfter) {
    throw new Refusal(
      'TIME_CONTRADICTION',
      `the document is of ${isoTime(timestamp)}, its certificate is valid ${validity(leaf)}`,
    );
  }
  if (timestamp > now + CLOCK_SKEW_MS) {
    throw new Refusal(
      'TIME_CONTRADICTION',
      `the document is of ${isoTime(timestamp)}, judged at ${isoTime(now)}`,
    );
  }
}

async function checkSignature(
  { protectedBytes, payload, signature }: NitroDocument,
  leaf: Certificate,
  crypto: CryptoProvider,
): Promise<void> {
  const scheme = { kind: 'ecdsa', curve: 'P-384', hash: 'sha384' } as const;
  if (!(await crypto.verify(scheme, leaf.spki, sigStructure(protectedBytes, payload), signature))) {
    throw new Refusal('SIGNATURE_INVALID', 'the document does not verify under the key of its certificate');
  }
}

function describe(document: NitroDocument, leaf: Certificate, anchor: Anchor): readonly Check[] {
  const origin = document.kind === 'enclave' ? 'a Nitro enclave' : 'NitroTPM';
  const until = `${leaf.subject} is valid ${validity(leaf)}`;
  const unlisted = 'AWS uses no revocation lists here; the signing certificate lives three hours';
  return [
    pass('cpu.format', 'cpu', `attestation document of ${origin}, made ${isoTime(document.timestamp)}`),
    pass('cpu.chain', 'cpu', `leads to the pinned key ${anchor.name}; ${until}`),
    skip('cpu.revocation', 'cpu', 'NOT_REQUIRED', unlisted),
    pass('cpu.signature', 'cpu', 'ES384 over the protected header and the document'),
  ];
}

function validity({ notBefore, notAfter }: Certificate): string {
  return `from ${isoTime(notBefore)} to ${isoTime(notAfter)}`;
}
