import { isZero, toHex } from '../../attestation/bytes/bytes.ts';
import { ByteReader } from '../../attestation/bytes/reader.ts';
import { Refusal } from '../../attestation/errors.ts';
import { readCertificateTable } from '../../attestation/evidence/snp/unwrap.ts';
import { readEvidence } from './reading.ts';

/** Hosts send three certificates of about 1.5 KiB each, and one or two entries of their own. */
export const MAX_TABLE_BYTES = 64 * 1024;
/** Hosts send four. */
const MAX_ENTRIES = 15;
const GUID_BYTES = 16;
const WHAT = "the host's certificate table";

/** One entry of a GHCB certificate table. */
export interface TableEntry {
  /** Lower case with dashes, such as `63da758d-e664-4564-adc5-f4b93be8accd`. */
  readonly guid: string;
  readonly data: Uint8Array;
}

/**
 * Entries of a certificate table (GHCB specification, SNP Extended Guest Request): 16-byte GUID in the order of its
 * text, u32 offset from the start of the table, u32 length, ended by an entry that is all zero. The host writes it:
 * an entry that leaves the table, or begins inside the list of entries, has it refused. An empty table has none.
 */
export function parseCertificateTable(table: Uint8Array): readonly TableEntry[] {
  if (table.length === 0) return [];
  return readEvidence(WHAT, () => readEntries(table));
}

/**
 * VEK, ASK or ASVK, and ARK in DER, leaf first, of a host's table; those that are missing are left out, as are entries
 * of other kinds. Where the host sends both a VCEK and a VLEK, `signingKey` says which of them the report names.
 */
export function snpCertificates(table: Uint8Array, signingKey: 'vcek' | 'vlek'): readonly Uint8Array[] {
  if (parseCertificateTable(table).length === 0) return [];
  const found = readEvidence(WHAT, () => readCertificateTable(table));
  const vek = found.get(signingKey) ?? found.get('vcek') ?? found.get('vlek');
  // Copies: the buffer that the table lies in goes back to the device.
  return [vek, found.get('ask'), found.get('ark')].flatMap((der) => (der ? [der.slice()] : []));
}

function readEntries(table: Uint8Array): readonly TableEntry[] {
  if (table.length > MAX_TABLE_BYTES) {
    throw new Refusal('MALFORMED', `the certificate table has ${table.length} bytes`);
  }
  const reader = new ByteReader(table, 'certificate table');
  const found: { readonly guid: Uint8Array; readonly offset: number; readonly length: number }[] = [];
  for (;;) {
    const entry = { guid: reader.take(GUID_BYTES), offset: reader.u32le(), length: reader.u32le() };
    if (isZero(entry.guid) && entry.offset === 0 && entry.length === 0) break;
    if (found.length === MAX_ENTRIES) {
      throw new Refusal('MALFORMED', `the certificate table has more than ${MAX_ENTRIES} entries`);
    }
    found.push(entry);
  }
  return found.map(({ guid, offset, length }) => {
    if (offset < reader.offset) {
      throw new Refusal('MALFORMED', 'an entry of the certificate table lies inside the list of entries');
    }
    const content = new ByteReader(table, 'certificate table');
    content.take(offset);
    return { guid: guidText(guid), data: content.take(length) };
  });
}

function guidText(guid: Uint8Array): string {
  return toHex(guid).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
