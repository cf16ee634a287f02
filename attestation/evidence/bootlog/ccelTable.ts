import { equalBytes, toHex, utf8 } from '../../bytes/bytes.ts';
import { ByteReader } from '../../bytes/reader.ts';
import { Refusal } from '../../errors.ts';
import { malformed } from './log.ts';

/** The ACPI table that names the log area of a TD. The host writes it and nothing measures it: for display only. */
export interface CcelTable {
  readonly revision: number;
  /** LAML, bytes. The area handed out beside a table may be of another size. */
  readonly areaLength: bigint;
  /** LASA, guest physical address. */
  readonly areaAddress: bigint;
}

const SIGNATURE = utf8('CCEL');
/** ACPI header of 36 bytes, CC type and subtype, reserved, LAML and LASA. */
const TABLE_BYTES = 56;
const CC_TYPE_TDX = 2;

/** CCEL table (ACPI 6.5, CC Event Log table; UEFI 2.11 chapter 38). */
export function parseCcelTable(bytes: Uint8Array): CcelTable {
  const reader = new ByteReader(bytes, 'CCEL table');
  const signature = reader.take(4);
  if (!equalBytes(signature, SIGNATURE)) throw malformed(`the table has signature ${toHex(signature)}`);
  const length = reader.u32le();
  if (length !== TABLE_BYTES || length !== bytes.length) {
    throw malformed(`the CCEL table states ${length} bytes and has ${bytes.length}, not ${TABLE_BYTES}`);
  }
  const sum = bytes.reduce((total, byte) => (total + byte) & 0xff, 0);
  if (sum !== 0) throw malformed(`the bytes of the CCEL table add up to ${sum}, not to 0`);
  const revision = reader.u8();
  // Checksum, OEM id, OEM table id and revision, creator id and revision.
  reader.take(1 + 6 + 8 + 4 + 4 + 4);
  const [type, subtype, reserved] = [reader.u8(), reader.u8(), reader.u16le()];
  if (type !== CC_TYPE_TDX || subtype !== 0) {
    throw new Refusal('UNSUPPORTED', `boot log: the CCEL table is of CC type ${type}, subtype ${subtype}`);
  }
  if (reserved !== 0) throw malformed(`reserved bytes of the CCEL table are ${reserved}, not 0`);
  const [areaLength, areaAddress] = [reader.u64le(), reader.u64le()];
  reader.end();
  return { revision, areaLength, areaAddress };
}
