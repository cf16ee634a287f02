import { Decoder } from 'cbor-x/decode';
import { ByteReader } from '../bytes/reader.ts';
import { Refusal } from '../errors.ts';
import { DEFAULT_LIMITS, scanItem, type ScanLimits } from './scan.ts';

const decoder = new Decoder({ useRecords: false, mapsAsObjects: false });

/**
 * Decodes CBOR that someone else wrote (RFC 8949, any well-formed encoding): maps become `Map`, 64-bit integers
 * BigInt. No map has a key twice, in whatever form it is written.
 */
export function decodeForeign(bytes: Uint8Array, limits: ScanLimits = DEFAULT_LIMITS): unknown {
  scanItem(bytes, limits);
  refuseDisguisedKeys(new ByteReader(bytes, 'CBOR'), false);
  try {
    return decoder.decode(bytes);
  } catch (error) {
    throw new Refusal('MALFORMED', `CBOR: ${error instanceof Error ? error.message : 'cannot be decoded'}`);
  }
}

const BREAK = 0xff;
const INDEFINITE = 31;
const MAJOR = { bytes: 2, text: 3, array: 4, map: 5, tag: 6, other: 7 } as const;

/**
 * Refuses map keys that the decoder makes equal though their bytes tell the scan that they differ: a float, which may
 * be an integer, and a string in chunks. Whoever writes both forms lets two readers see two values. Walks one item
 * that the scan found well-formed; false is the `break` that ends an indefinite one.
 */
function refuseDisguisedKeys(reader: ByteReader, isKey: boolean): boolean {
  const initial = reader.u8();
  if (initial === BREAK) return false;
  const major = initial >> 5;
  const info = initial & 0x1f;
  const indefinite = info === INDEFINITE;
  if (isKey && (indefinite || (major === MAJOR.other && info > 24))) {
    throw new Refusal('MALFORMED', 'CBOR map has a float or an item in chunks for a key');
  }
  const argument = indefinite ? Infinity : readArgument(reader, info);
  if (major === MAJOR.bytes || major === MAJOR.text) skipString(reader, argument);
  else if (major === MAJOR.tag) refuseDisguisedKeys(reader, isKey);
  else if (major === MAJOR.array || major === MAJOR.map) walkItems(reader, argument, major === MAJOR.map);
  return true;
}

/** Chunks of a string are definite strings. */
function skipString(reader: ByteReader, argument: number): void {
  if (argument === Infinity) while (refuseDisguisedKeys(reader, false));
  else reader.take(argument);
}

function walkItems(reader: ByteReader, count: number, isMap: boolean): void {
  for (let i = 0; i < count && refuseDisguisedKeys(reader, isMap); i++) {
    if (isMap) refuseDisguisedKeys(reader, false);
  }
}

/** The argument of RFC 8949 section 3. */
function readArgument(reader: ByteReader, info: number): number {
  if (info < 24) return info;
  if (info === 24) return reader.u8();
  if (info === 25) return reader.u16be();
  if (info === 26) return reader.u32be();
  return Number(reader.u64be());
}
