import { utf8 } from '../../bytes/bytes.ts';
import type { XmlAttribute, XmlElement } from './xml.ts';

type Namespaces = ReadonlyMap<string, string>;
const NONE: Namespaces = new Map();

/**
 * Inclusive Canonical XML 1.1 without comments of a subtree. `inScope` are the namespaces that the ancestors of the
 * apex declare: they are written on the apex, used or not. `omitted` is cut out (enveloped signature). As documents
 * with `xml:` attributes are refused, the result is that of Canonical XML 1.0 too.
 */
export function canonicalize(apex: XmlElement, inScope: Namespaces, omitted?: XmlElement): Uint8Array {
  return utf8(canonicalText(apex, inScope, omitted));
}

/** The same as text, which compares faster. */
export function canonicalText(apex: XmlElement, inScope: Namespaces, omitted?: XmlElement): string {
  return write(apex, namespacesIn(apex, inScope), NONE, omitted);
}

/** Namespaces in scope of an element, given those of its parent: the same map where it declares none. */
export function namespacesIn(element: XmlElement, inherited: Namespaces): Namespaces {
  return element.declared.size === 0 ? inherited : new Map([...inherited, ...element.declared]);
}

/** `written` are the namespaces that the output ancestors carry: only what differs is written again. */
function write(
  element: XmlElement,
  inScope: Namespaces,
  written: Namespaces,
  omitted: XmlElement | undefined,
): string {
  const { qualifiedName, attributes, children } = element;
  let text = `<${qualifiedName}`;
  if (inScope !== written) text += writeNamespaces(inScope, written);
  for (const attribute of attributes.toSorted(compareAttributes)) text += writeAttribute(attribute);
  text += '>';
  for (const child of children) {
    if (child === omitted) continue;
    if (typeof child === 'string') text += escapeText(child);
    else text += write(child, namespacesIn(child, inScope), inScope, omitted);
  }
  return `${text}</${qualifiedName}>`;
}

function writeNamespaces(inScope: Namespaces, written: Namespaces): string {
  return [...inScope]
    .filter(([prefix, uri]) => (written.get(prefix) ?? '') !== uri)
    .sort(([a], [b]) => compareText(a, b))
    .map(([prefix, uri]) => ` ${prefix === '' ? 'xmlns' : `xmlns:${prefix}`}="${escapeValue(uri)}"`)
    .join('');
}

function writeAttribute({ qualifiedName, value }: XmlAttribute): string {
  return ` ${qualifiedName}="${escapeValue(value)}"`;
}

/** By namespace, then by local name; those without namespace come first. */
function compareAttributes(a: XmlAttribute, b: XmlAttribute): number {
  return compareText(a.namespace, b.namespace) || compareText(a.localName, b.localName);
}

/** Code point order: documents are ASCII. */
function compareText(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function escapeText(text: string): string {
  if (!/[&<>\r]/.test(text)) return text;
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('\r', '&#xD;');
}

function escapeValue(value: string): string {
  if (!/[&<"\t\n\r]/.test(value)) return value;
  return value
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('"', '&quot;')
    .replaceAll('\t', '&#x9;')
    .replaceAll('\n', '&#xA;')
    .replaceAll('\r', '&#xD;');
}
