import { equalBytes, fromBase64, fromUtf8, utf8 } from '../../attestation/bytes/bytes.ts';
import { nodeCrypto } from '../../attestation/crypto/node.ts';
import { Refusal } from '../../attestation/errors.ts';
import { canonicalize } from '../../attestation/evidence/nvidia/canonicalXml.ts';
import {
  readManifest,
  readPayload,
  type ReferenceMeasurement,
} from '../../attestation/evidence/nvidia/swid.ts';
import { attributeOf, parseXml, type XmlElement } from '../../attestation/evidence/nvidia/xml.ts';
import { readEnvelopedSignature } from '../../attestation/evidence/nvidia/xmldsig.ts';

const MAX_BYTES = 4 * 1024 * 1024;
const DS = 'http://www.w3.org/2000/09/xmldsig#';
const NO_NAMESPACES: ReadonlyMap<string, string> = new Map();
const CHAIN_LENGTH = 4;

/**
 * A manifest as a person wants to see it, also where the verifier refuses it: with declarations cut out and whatever
 * its signature holds. Nothing of it may be judged by.
 */
export interface RimFile {
  readonly root: XmlElement;
  readonly meta: XmlElement | undefined;
  readonly payload: XmlElement | undefined;
  readonly signature: SignaturePart | undefined;
  /** What the verifier does not take, by name: `DOCTYPE`, `KeyValue in KeyInfo`. */
  readonly foreign: readonly string[];
  /** Why the verifier would not read it. */
  readonly refusal: Refusal | undefined;
}

export interface SignaturePart {
  /** Name of the element and its algorithm. */
  readonly algorithms: readonly (readonly [element: string, algorithm: string])[];
  /** DER as the file has them, signer first. */
  readonly certificates: readonly Uint8Array[];
  /** Whether the manifest is what the signature digests; undefined where it has no digest. */
  readonly digestMatches: boolean | undefined;
}

export function readRimFile(bytes: Uint8Array): RimFile {
  if (bytes.length > MAX_BYTES) {
    throw new Refusal('MALFORMED', `manifest of ${bytes.length} bytes exceeds ${MAX_BYTES}`);
  }
  const { text, removed } = withoutDeclarations(fromUtf8(bytes));
  const root = parseXml(utf8(text));
  const [signature, ...more] = childrenOf(root, 'Signature').filter(({ namespace }) => namespace === DS);
  const others = elementChildren(root).filter(
    ({ localName }) => !['Entity', 'Meta', 'Payload', 'Signature'].includes(localName),
  );
  return {
    root,
    meta: childrenOf(root, 'Meta')[0],
    payload: childrenOf(root, 'Payload')[0],
    signature: signature && readSignature(root, signature),
    foreign: [
      ...removed,
      ...others.map(({ qualifiedName }) => `${qualifiedName} in the root`),
      ...more.map(() => 'a further Signature'),
      ...(signature ? foreignParts(signature) : []),
    ],
    refusal: refusalOf(bytes),
  };
}

/** The verifier's own reading, signature and chain left out. */
function refusalOf(bytes: Uint8Array): Refusal | undefined {
  try {
    readManifest(readEnvelopedSignature(bytes).contentRoot);
    return undefined;
  } catch (error) {
    if (error instanceof Refusal) return error;
    throw error;
  }
}

/** Values by index; refuses a payload that is none. */
export function measurementsOf({ payload }: RimFile): ReadonlyMap<number, ReferenceMeasurement> {
  if (!payload) throw new Refusal('MALFORMED', 'the manifest has no Payload');
  return readPayload(payload);
}

/** What each measurement is called, by its index. */
export function namesOf({ payload }: RimFile): ReadonlyMap<string, string> {
  const resources = payload ? elementChildren(payload) : [];
  return new Map(
    resources.flatMap((resource) => {
      const [index, name] = [attributeOf(resource, 'index'), attributeOf(resource, 'name')];
      return index !== undefined && name ? [[index, name] as const] : [];
    }),
  );
}

const DECLARATIONS: readonly (readonly [name: string, start: string, end: string])[] = [
  ['XML declaration', '<?xml ', '?>'],
  ['processing instruction', '<?', '?>'],
  ['comment', '<!--', '-->'],
];

/** The text without what the verifier's parser refuses outright; a part without its end stays and is refused. */
function withoutDeclarations(text: string): { readonly text: string; readonly removed: readonly string[] } {
  const removed: string[] = [];
  let rest = text;
  for (const [name, start, end] of DECLARATIONS) {
    const cut = cutAll(rest, start, end);
    if (cut !== rest) removed.push(name);
    rest = cut;
  }
  const doctype = /<!DOCTYPE/i.exec(rest);
  if (!doctype) return { text: rest, removed };
  const end = endOfDoctype(rest, doctype.index);
  return {
    text: rest.slice(0, doctype.index) + rest.slice(end),
    removed: [...removed, 'DTD (DOCTYPE)'],
  };
}

function cutAll(text: string, start: string, end: string): string {
  const kept: string[] = [];
  let at = 0;
  for (;;) {
    const from = text.indexOf(start, at);
    const to = from < 0 ? -1 : text.indexOf(end, from + start.length);
    if (to < 0) return kept.join('') + text.slice(at);
    kept.push(text.slice(at, from));
    at = to + end.length;
  }
}

/** Behind the internal subset in brackets, where there is one. */
function endOfDoctype(text: string, start: number): number {
  const close = text.indexOf('>', start);
  const open = text.indexOf('[', start);
  const from = open >= 0 && open < close ? text.indexOf(']', open) : start;
  const end = from < 0 ? -1 : text.indexOf('>', from);
  return end < 0 ? text.length : end + 1;
}

function elementChildren({ children }: XmlElement): readonly XmlElement[] {
  return children.filter((child) => typeof child !== 'string');
}

function childrenOf(element: XmlElement, localName: string): readonly XmlElement[] {
  return elementChildren(element).filter((child) => child.localName === localName);
}

function below(element: XmlElement, ...path: readonly string[]): readonly XmlElement[] {
  return path.reduce<readonly XmlElement[]>(
    (elements, name) => elements.flatMap((each) => childrenOf(each, name)),
    [element],
  );
}

function readSignature(root: XmlElement, signature: XmlElement): SignaturePart {
  const info = below(signature, 'SignedInfo')[0];
  const named: readonly (readonly string[])[] = [
    ['CanonicalizationMethod'],
    ['SignatureMethod'],
    ['Reference', 'Transforms', 'Transform'],
    ['Reference', 'DigestMethod'],
  ];
  const algorithms = named.flatMap((path) =>
    (info ? below(info, ...path) : []).map(
      (each) => [each.localName, attributeOf(each, 'Algorithm') || 'none'] as const,
    ),
  );
  const [digest] = info ? below(info, 'Reference', 'DigestValue') : [];
  return {
    algorithms,
    certificates: below(signature, 'KeyInfo', 'X509Data', 'X509Certificate').map((each) => base64Text(each)),
    digestMatches: digest && isDigestOf(root, signature, base64Text(digest)),
  };
}

function isDigestOf(root: XmlElement, signature: XmlElement, digest: Uint8Array): boolean {
  return equalBytes(nodeCrypto.hash('sha384', canonicalize(root, NO_NAMESPACES, signature)), digest);
}

/** Text of an element; one that is no base64 gives no bytes, and the verifier's refusal says so. */
function base64Text({ children }: XmlElement): Uint8Array {
  try {
    return fromBase64(
      children
        .filter((child) => typeof child === 'string')
        .join('')
        .replaceAll(/\s/g, ''),
    );
  } catch (error) {
    if (error instanceof Refusal) return new Uint8Array();
    throw error;
  }
}

/** What has no place in a signature of NVIDIA. */
function foreignParts(signature: XmlElement): readonly string[] {
  const allowed: readonly (readonly [path: readonly string[], names: readonly string[]])[] = [
    [[], ['SignedInfo', 'SignatureValue', 'KeyInfo']],
    [['KeyInfo'], ['X509Data']],
    [['KeyInfo', 'X509Data'], ['X509Certificate']],
  ];
  const strangers = allowed.flatMap(([path, names]) =>
    below(signature, ...path).flatMap((parent) =>
      elementChildren(parent)
        .filter(({ localName, namespace }) => namespace !== DS || !names.includes(localName))
        .map(({ qualifiedName }) => `${qualifiedName} in ${parent.localName}`),
    ),
  );
  const references = below(signature, 'SignedInfo', 'Reference');
  const certificates = below(signature, 'KeyInfo', 'X509Data', 'X509Certificate').length;
  return [
    ...strangers,
    ...(references.length === 1 ? [] : [`${references.length} references`]),
    ...references.flatMap((each) => {
      const uri = attributeOf(each, 'URI');
      return uri === '' ? [] : [`reference to ${uri ?? 'nothing'}`];
    }),
    ...(certificates === CHAIN_LENGTH ? [] : [`${certificates} certificates instead of ${CHAIN_LENGTH}`]),
  ];
}
