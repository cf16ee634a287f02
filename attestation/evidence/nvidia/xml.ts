import { DOMParser, type Element, type Node } from '@xmldom/xmldom';
import { fromUtf8 } from '../../bytes/bytes.ts';
import { Refusal } from '../../errors.ts';

const MAX_BYTES = 4 * 1024 * 1024;
/** Real manifests have 85 elements, at most 12 attributes on one, and are 6 deep. */
const MAX_TAGS = 2048;
const MAX_QUOTES_PER_TAG = 128;
const MAX_DEPTH = 16;

/** The parser lets an ampersand pass that starts no reference. */
const BARE_AMPERSAND = /&(?!(?:amp|lt|gt|quot|apos|#\d{1,7}|#x[0-9a-fA-F]{1,6});)/;

const ELEMENT_NODE = 1;
const TEXT_NODE = 3;
const XMLNS = 'http://www.w3.org/2000/xmlns/';

export interface XmlAttribute {
  /** Empty for an attribute without prefix. */
  readonly namespace: string;
  readonly localName: string;
  readonly qualifiedName: string;
  readonly value: string;
}

export interface XmlElement {
  readonly namespace: string;
  readonly localName: string;
  readonly qualifiedName: string;
  /** Namespaces declared on this element by prefix; the default one has the empty prefix. */
  readonly declared: ReadonlyMap<string, string>;
  readonly attributes: readonly XmlAttribute[];
  readonly children: readonly (XmlElement | string)[];
}

/**
 * Parses the XML that manifests use: ASCII elements, attributes and text. Declarations, DOCTYPE, comments, CDATA and
 * processing instructions are refused before the parser sees them: the canonical form drops or rewrites them, so a
 * signature would stay valid around what an attacker adds. What the parser merely warns of is refused as well.
 */
export function parseXml(bytes: Uint8Array): XmlElement {
  const text = checkedText(bytes);
  let root: Element | null;
  try {
    const parser = new DOMParser({ locator: false, onError: refuse });
    root = parser.parseFromString(text, 'text/xml').documentElement;
  } catch (error) {
    throw new Refusal(
      'MALFORMED',
      `manifest is no XML: ${error instanceof Error ? error.message : 'unknown'}`,
    );
  }
  if (!root) throw new Refusal('MALFORMED', 'manifest has no root element');
  return readElement(root, 1);
}

function refuse(level: string, message: string): never {
  throw new Error(`${level}: ${message}`);
}

/** The text, once its size bounds what the parser can be made to do: its cost is square in attributes per tag. */
function checkedText(bytes: Uint8Array): string {
  if (bytes.length > MAX_BYTES) {
    throw new Refusal('MALFORMED', `manifest of ${bytes.length} bytes exceeds ${MAX_BYTES}`);
  }
  const text = fromUtf8(bytes);
  if (!isPlain(text)) throw new Refusal('MALFORMED', 'manifest has other characters than printable ASCII');
  if (/<!DOCTYPE/i.test(text)) throw new Refusal('MALFORMED', 'manifest has a DOCTYPE');
  if (text.includes('<!') || text.includes('<?')) {
    throw new Refusal('MALFORMED', 'manifest has a declaration, comment, CDATA or processing instruction');
  }
  if (BARE_AMPERSAND.test(text)) throw new Refusal('MALFORMED', 'manifest has an unknown reference');
  const tags = text.split('<');
  if (tags.length > MAX_TAGS) throw new Refusal('MALFORMED', `manifest has ${tags.length} tags`);
  if (tags.some((tag) => tag.split(/["']/, MAX_QUOTES_PER_TAG + 1).length > MAX_QUOTES_PER_TAG)) {
    throw new Refusal('MALFORMED', 'an element of the manifest has too many attributes');
  }
  return text;
}

function isPlain(text: string): boolean {
  return /^[\t\n\r\x20-\x7e]*$/.test(text);
}

function readElement(element: Element, depth: number): XmlElement {
  if (depth > MAX_DEPTH) throw new Refusal('MALFORMED', `manifest is deeper than ${MAX_DEPTH}`);
  const declared = new Map<string, string>();
  const attributes: XmlAttribute[] = [];
  for (const { namespaceURI, prefix, localName, name, value } of element.attributes) {
    if (!isPlain(value)) throw new Refusal('MALFORMED', 'an attribute has other characters than ASCII');
    const namespace = namespaceOf(prefix, namespaceURI);
    if (namespace === XMLNS) declare(declared, prefix ? (localName ?? '') : '', value);
    else attributes.push({ namespace, localName: localName ?? name, qualifiedName: name, value });
  }
  const { prefix, namespaceURI, localName, tagName } = element;
  return {
    namespace: namespaceOf(prefix, namespaceURI),
    localName: localName ?? tagName,
    qualifiedName: tagName,
    declared,
    attributes,
    children: Array.from(element.childNodes, (node) => readChild(node, depth)),
  };
}

function readChild(node: Node, depth: number): XmlElement | string {
  if (node.nodeType === ELEMENT_NODE) return readElement(node as Element, depth + 1);
  const text = node.nodeValue ?? '';
  if (node.nodeType !== TEXT_NODE || !isPlain(text)) {
    throw new Refusal('MALFORMED', 'manifest has a node that is neither element nor ASCII text');
  }
  return text;
}

/** Names with a prefix must have its namespace. `xml:` attributes are where C14N 1.0 and 1.1 differ: refused. */
function namespaceOf(prefix: string | null, uri: string | null): string {
  if (prefix === 'xml' || (prefix && !uri)) {
    throw new Refusal('MALFORMED', `namespace prefix ${prefix} is not declared`);
  }
  return uri ?? '';
}

function declare(declared: Map<string, string>, prefix: string, uri: string): void {
  if (prefix === 'xml' || prefix === 'xmlns' || (prefix !== '' && uri === '')) {
    throw new Refusal('MALFORMED', `namespace prefix ${prefix} may not be declared so`);
  }
  declared.set(prefix, uri);
}

/** Child elements where nothing but white space stands between them. */
export function elementsOf(element: XmlElement): readonly XmlElement[] {
  return element.children.filter((child) => {
    if (typeof child !== 'string') return true;
    if (/\S/.test(child))
      throw new Refusal('MALFORMED', `${element.qualifiedName} has text between elements`);
    return false;
  }) as XmlElement[];
}

/** The text of an element without child elements. */
export function textOf(element: XmlElement): string {
  return element.children
    .map((child) => {
      if (typeof child === 'string') return child;
      throw new Refusal('MALFORMED', `${element.qualifiedName} has elements where text is expected`);
    })
    .join('');
}

/** Value of an attribute; undefined when absent. Attributes without prefix have the empty namespace. */
export function attributeOf(element: XmlElement, localName: string, namespace = ''): string | undefined {
  return element.attributes.find((item) => item.localName === localName && item.namespace === namespace)
    ?.value;
}
