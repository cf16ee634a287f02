import { concat } from '../../bytes/bytes.ts';
import { ByteReader } from '../../bytes/reader.ts';
import { Refusal } from '../../errors.ts';
import { encodeVarint, readVarint } from './varint.ts';

/** Name in lower case, and value with one character for each byte, as `Headers` has them. */
export type Field = readonly [name: string, value: string];

/** Largest field section, bytes. */
export const MAX_SECTION_BYTES = 64 * 1024;
/** Most lines of one field section. */
export const MAX_FIELDS = 128;

/** RFC 9110 section 5.6.2. Pseudo-fields start with a colon: none is known here, so all are refused. */
const NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** RFC 9113 section 8.2.1. */
const BAD_VALUE = /[\0\r\n]|^[ \t]|[ \t]$/;

/** A field of a message, or `MALFORMED`: whoever writes it must not be able to write a second one. */
export function checkField(name: string, value: string): Field {
  if (!NAME.test(name))
    throw new Refusal('MALFORMED', 'a field name has other characters than RFC 9110 allows');
  if (BAD_VALUE.test(value)) throw new Refusal('MALFORMED', `the value of the field ${name} is not allowed`);
  return [name.toLowerCase(), value];
}

/** The lines of a field section of known length. */
export function parseFields(section: Uint8Array): readonly Field[] {
  const reader = new ByteReader(section, 'field section');
  const fields: Field[] = [];
  while (reader.remaining > 0) {
    if (fields.length === MAX_FIELDS) throw tooManyFields();
    const name = latin1(reader.take(readVarint(reader)));
    fields.push(checkField(name, latin1(reader.take(readVarint(reader)))));
  }
  return fields;
}

export function tooManyFields(): Refusal {
  return new Refusal('MALFORMED', `a field section has more than ${MAX_FIELDS} lines`);
}

/** Lines of a field section, without length or terminator. */
export function encodeFields(fields: readonly Field[]): Uint8Array {
  const lines = fields.flatMap(([name, value]) => {
    checkField(name, value);
    return [encodeText(name.toLowerCase()), encodeText(value)];
  });
  const encoded = concat(...lines);
  if (fields.length > MAX_FIELDS || encoded.length > MAX_SECTION_BYTES) {
    throw new RangeError(`a field section has at most ${MAX_FIELDS} lines and ${MAX_SECTION_BYTES} bytes`);
  }
  return encoded;
}

/** Text of one byte each character, with its length before it. */
export function encodeText(text: string): Uint8Array {
  const bytes = Uint8Array.from(text, (character) => {
    const code = character.codePointAt(0) ?? 0;
    if (code > 0xff) throw new RangeError('a field has a character that is no byte');
    return code;
  });
  return concat(encodeVarint(bytes.length), bytes);
}

/** One character for each byte: `TextDecoder` would take 0x80 to 0x9f for those of Windows. */
export function latin1(bytes: Uint8Array): string {
  let text = '';
  for (let i = 0; i < bytes.length; i += 0x4000)
    text += String.fromCharCode(...bytes.subarray(i, i + 0x4000));
  return text;
}
