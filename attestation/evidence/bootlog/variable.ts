import { ByteReader } from '../../bytes/reader.ts';
import { guidText, utf16Text } from './text.ts';

/** UEFI_VARIABLE_DATA (firmware profile 1.06, section 10.2.6). */
export interface EfiVariable {
  /** VendorGuid as text. */
  readonly guid: string;
  /** UnicodeName, cut at a NUL or at its bound. */
  readonly name: string;
  readonly value: Uint8Array;
  /** What follows the structure: nothing, or one byte too many from old versions of shim. */
  readonly rest: Uint8Array;
}

/** A variable out of the data of an event. Trust it only when the whole data was digested: `verifiedPayload`. */
export function readEfiVariable(data: Uint8Array): EfiVariable {
  const reader = new ByteReader(data, 'UEFI variable');
  const guid = guidText(reader.take(16));
  // Characters and bytes. A number that a double cannot hold is larger than any log.
  const [nameLength, valueLength] = [Number(reader.u64le()), Number(reader.u64le())];
  const name = utf16Text(reader.take(2 * nameLength));
  const value = reader.take(valueLength);
  return { guid, name, value, rest: reader.take(reader.remaining) };
}
