import { equalBytes, fromBase64, utf8 } from '../../bytes/bytes.ts';
import type { CryptoProvider, SignatureScheme } from '../../crypto/provider.ts';
import { Refusal } from '../../errors.ts';
import { canonicalize, canonicalText, namespacesIn } from './canonicalXml.ts';
import { attributeOf, elementsOf, parseXml, textOf, type XmlElement } from './xml.ts';

const DS = 'http://www.w3.org/2000/09/xmldsig#';
const C14N_1_1 = 'http://www.w3.org/2006/12/xml-c14n11';
const ENVELOPED = 'http://www.w3.org/2000/09/xmldsig#enveloped-signature';
const SHA384 = 'http://www.w3.org/2001/04/xmldsig-more#sha384';
const ECDSA_SHA384 = 'http://www.w3.org/2001/04/xmldsig-more#ecdsa-sha384';
const SCHEME: SignatureScheme = { kind: 'ecdsa', curve: 'P-384', hash: 'sha384' };
const MAX_CERTIFICATES = 8;
const NO_NAMESPACES: ReadonlyMap<string, string> = new Map();

/** A document with one enveloped signature, read and not verified. */
export interface EnvelopedSignature {
  /** Canonical bytes of the document without its signature: the only bytes from which data may be read. */
  readonly content: Uint8Array;
  /** What these bytes say, read from them and not from the document. */
  readonly contentRoot: XmlElement;
  /** Canonical bytes of SignedInfo. */
  readonly signedInfo: Uint8Array;
  /** SHA-384 of the content, as SignedInfo claims it. */
  readonly digest: Uint8Array;
  /** Raw r and s, 96 bytes. */
  readonly signature: Uint8Array;
  /** DER certificates of KeyInfo, in their order. */
  readonly certificates: readonly Uint8Array[];
}

/**
 * Reads the one form of XML signature that manifests have (XML Signature 1.1): enveloped, one reference to the whole
 * document, fixed algorithms, certificates as the only key information. Each freedom of the standard is one by which
 * an attacker could choose what is digested or which key verifies it, so every other element or attribute refuses.
 */
export function readEnvelopedSignature(xml: Uint8Array): EnvelopedSignature {
  const root = parseXml(xml);
  const signature = findSignature(root);
  const [signedInfo, value, keyInfo] = closedChildren(signature, ['SignedInfo', 'SignatureValue', 'KeyInfo']);
  const inScope = namespacesIn(signature, namespacesIn(root, NO_NAMESPACES));
  return {
    ...stableContent(root, signature),
    signedInfo: canonicalize(signedInfo, inScope),
    digest: readSignedInfo(signedInfo),
    signature: base64Of(value),
    certificates: readKeyInfo(keyInfo),
  };
}

/** Verifies digest and signature under the key, which must be that of the certificate that was judged. */
export async function verifyEnvelopedSignature(
  { content, signedInfo, digest, signature }: EnvelopedSignature,
  spki: Uint8Array,
  crypto: CryptoProvider,
): Promise<void> {
  if (!equalBytes(crypto.hash('sha384', content), digest)) {
    throw new Refusal('SIGNATURE_INVALID', 'the manifest is not what its signature digests');
  }
  if (!(await crypto.verify(SCHEME, spki, signedInfo, signature))) {
    throw new Refusal('SIGNATURE_INVALID', 'the manifest is not signed by the certified key');
  }
}

/** The content, once reading it again gives the same bytes: parser and canonical form agree on it. */
function stableContent(
  root: XmlElement,
  signature: XmlElement,
): Pick<EnvelopedSignature, 'content' | 'contentRoot'> {
  const text = canonicalText(root, NO_NAMESPACES, signature);
  const content = utf8(text);
  const contentRoot = parseXml(content);
  if (canonicalText(contentRoot, NO_NAMESPACES) !== text) {
    throw new Refusal('MALFORMED', 'the canonical form of the manifest is not stable');
  }
  return { content, contentRoot };
}

/** The only Signature of the document, a child of the root. */
function findSignature(root: XmlElement): XmlElement {
  const [signature, second] = elementsOf(root).filter(isSignature);
  if (!signature || second || countSignatures(root) !== 1) {
    throw new Refusal('MALFORMED', 'the manifest has not exactly one signature below its root');
  }
  return signature;
}

function isSignature({ namespace, localName }: XmlElement): boolean {
  return namespace === DS && localName === 'Signature';
}

function countSignatures(element: XmlElement): number {
  const below = element.children.map((child) => (typeof child === 'string' ? 0 : countSignatures(child)));
  return below.reduce((sum, count) => sum + count, isSignature(element) ? 1 : 0);
}

/** Checks all of SignedInfo and returns its digest value. */
function readSignedInfo(signedInfo: XmlElement): Uint8Array {
  const [c14n, method, reference] = closedChildren(signedInfo, [
    'CanonicalizationMethod',
    'SignatureMethod',
    'Reference',
  ]);
  expectAlgorithm(c14n, C14N_1_1);
  expectAlgorithm(method, ECDSA_SHA384);
  const [transforms, digestMethod, digestValue] = closedChildren(
    reference,
    ['Transforms', 'DigestMethod', 'DigestValue'],
    ['URI'],
  );
  if (attributeOf(reference, 'URI') !== '') {
    throw new Refusal('MALFORMED', 'the signature does not refer to the whole manifest');
  }
  const [first, second] = closedChildren(transforms, ['Transform', 'Transform']);
  expectAlgorithm(first, ENVELOPED);
  expectAlgorithm(second, C14N_1_1);
  expectAlgorithm(digestMethod, SHA384);
  return base64Of(digestValue);
}

function readKeyInfo(keyInfo: XmlElement): readonly Uint8Array[] {
  const [data] = closedChildren(keyInfo, ['X509Data']);
  const count = elementsOf(data).length;
  if (count > MAX_CERTIFICATES) throw new Refusal('MALFORMED', `the manifest has ${count} certificates`);
  const names = Array.from({ length: count }, () => 'X509Certificate');
  return closedChildren(data, names).map(base64Of);
}

type SameLength<T extends readonly unknown[]> = { readonly [K in keyof T]: XmlElement };

/** The children, which must be exactly these elements of XML Signature; the element has only these attributes. */
function closedChildren<const T extends readonly string[]>(
  element: XmlElement,
  names: T,
  attributes: readonly string[] = [],
): SameLength<T> {
  expectAttributes(element, attributes);
  const children = elementsOf(element);
  const same =
    children.length === names.length &&
    children.every(({ namespace, localName }, i) => namespace === DS && localName === names[i]);
  if (!same) {
    const found = children.map(({ qualifiedName }) => qualifiedName).join(', ');
    throw new Refusal('MALFORMED', `${element.localName} has ${found} instead of ${names.join(', ')}`);
  }
  return children as unknown as SameLength<T>;
}

function expectAttributes(element: XmlElement, names: readonly string[]): void {
  const extra = element.attributes.find(({ qualifiedName }) => !names.includes(qualifiedName));
  if (extra) throw new Refusal('MALFORMED', `${element.localName} has attribute ${extra.qualifiedName}`);
}

function expectAlgorithm(element: XmlElement, algorithm: string): void {
  closedChildren(element, [], ['Algorithm']);
  const found = attributeOf(element, 'Algorithm');
  if (found !== algorithm) {
    throw new Refusal('UNSUPPORTED', `${element.localName} names ${found ?? 'no algorithm'}`);
  }
}

/** Base64 with white space between, as XML Schema allows it. */
function base64Of(element: XmlElement): Uint8Array {
  expectAttributes(element, []);
  return fromBase64(textOf(element).replaceAll(/\s/g, ''));
}
