import { toHex, utf8 } from '../bytes/bytes.ts';
import { Refusal } from '../errors.ts';
import { decodeOid, decodeString, DerReader, TAG, type DerElement } from './der.ts';

const COMMON_NAME = '2.5.4.3';

/** Short forms of RFC 4514 section 3 and of common use; other types are written as OIDs. */
const TYPES: Readonly<Record<string, string>> = {
  [COMMON_NAME]: 'CN',
  '2.5.4.4': 'SN',
  '2.5.4.6': 'C',
  '2.5.4.7': 'L',
  '2.5.4.8': 'ST',
  '2.5.4.10': 'O',
  '2.5.4.11': 'OU',
  '2.5.4.12': 'T',
  '2.5.4.42': 'G',
  '2.5.4.43': 'I',
  '1.2.840.113549.1.9.1': 'E',
  '0.9.2342.19200300.100.1.25': 'DC',
};
const TEXT_TAGS: ReadonlySet<number> = new Set([TAG.utf8String, TAG.printableString, TAG.ia5String]);
const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/** Refuses what is no Name: SEQUENCE of non-empty SETs of type and value (RFC 5280 section 4.1.2.4). */
export function checkName(name: DerElement, what: string): void {
  const sets = new DerReader(name.content, what);
  while (!sets.done) {
    const attributes = sets.enter(TAG.set);
    do {
      const attribute = attributes.enter(TAG.sequence);
      decodeOid(attribute.take(TAG.oid).content);
      attribute.skip();
      attribute.end();
    } while (!attributes.done);
  }
}

/**
 * Text of a name that `checkName` passed, in the order of its bytes. For messages only: names are compared by their
 * bytes. Whoever made the certificate chose it, so control characters are escaped.
 */
export function nameText(encoded: Uint8Array): string {
  const sets = new DerReader(encoded, 'name').enter(TAG.sequence);
  const parts: string[] = [];
  while (!sets.done) {
    const attributes = sets.enter(TAG.set);
    const values: string[] = [];
    while (!attributes.done) values.push(attributeText(attributes.enter(TAG.sequence)));
    parts.push(values.join('+'));
  }
  return parts.join(', ');
}

/** Values of the common names in a name that `checkName` passed, in the order of its bytes. */
export function commonNames(encoded: Uint8Array): readonly DerElement[] {
  return attributeValues(encoded, COMMON_NAME);
}

/** Values of all attributes of a type in a name that `checkName` passed, in the order of its bytes. */
export function attributeValues(encoded: Uint8Array, wanted: string): readonly DerElement[] {
  const sets = new DerReader(encoded, 'name').enter(TAG.sequence);
  const names: DerElement[] = [];
  while (!sets.done) {
    const attributes = sets.enter(TAG.set);
    while (!attributes.done) {
      const attribute = attributes.enter(TAG.sequence);
      const type = decodeOid(attribute.take(TAG.oid).content);
      const value = attribute.take();
      if (type === wanted) names.push(value);
    }
  }
  return names;
}

/** The one common name of a certificate's subject, IA5String or UTF8String; refuses none and more than one. */
export function subjectCommonName({ subjectName }: { readonly subjectName: Uint8Array }): string {
  const [name, second] = commonNames(subjectName);
  if (!name || second) throw new Refusal('MALFORMED', 'subject has not exactly one common name');
  return decodeString(name, 'common name');
}

function attributeText(attribute: DerReader): string {
  const oid = decodeOid(attribute.take(TAG.oid).content);
  const value = attribute.take();
  return `${TYPES[oid] ?? oid}=${valueText(value)}`;
}

/** Text escaped as in RFC 4514 section 2.4; what is no text as hex of its encoding. */
function valueText({ tag, content, encoded }: DerElement): string {
  try {
    if (TEXT_TAGS.has(tag)) return escapeText(decoder.decode(content));
  } catch {
    // Not UTF-8: written as hex below.
  }
  return `#${toHex(encoded)}`;
}

function escapeText(text: string): string {
  return text
    .replaceAll(/[,+"\\<>;]/g, '\\$&')
    .replace(/^[ #]/, '\\$&')
    .replace(/ $/, '\\ ')
    .replaceAll(/\p{Cc}/gu, (control) => `\\${toHex(utf8(control))}`);
}
