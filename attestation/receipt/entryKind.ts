import { equalBytes } from '../bytes/bytes.ts';
import { HEADER, parseForeignSign1 } from '../cose/sign1.ts';
import { sha256With, type CryptoProvider } from '../crypto/provider.ts';
import { leafHash } from '../log/merkle.ts';
import { RECEIPT_TYPE, RECORD_TYPE } from './receipt.ts';
import { actSubject, type LogRecord } from './record.ts';

/** Receipts and records are the instance's own; a foreign statement was registered by someone else. */
export type EntryKind = 'receipt' | 'record' | 'foreign';

/**
 * What a log entry claims to be, by its `typ` alone; its signature is not checked. A foreign statement is never read
 * as a receipt: its typ is another, and the receipt key did not sign it.
 */
export function entryKindOf(entry: Uint8Array): EntryKind {
  const type = parseForeignSign1(entry).protectedHeader.get(HEADER.typ);
  if (type === RECEIPT_TYPE) return 'receipt';
  return type === RECORD_TYPE ? 'record' : 'foreign';
}

/** What the record before a foreign statement is about: the hash of its leaf. */
export function registrationSubject(entry: Uint8Array, crypto: CryptoProvider): Uint8Array {
  return actSubject([leafHash(sha256With(crypto), entry)], crypto);
}

/**
 * True where `record`, the entry right before `entry`, announces it. A foreign entry without such a record, signed
 * by the receipt key, was put into the log by nobody who may: an audit counts it as a gap.
 */
export function announces(record: LogRecord, entry: Uint8Array, crypto: CryptoProvider): boolean {
  const announced = announcedSubject(record);
  return announced !== undefined && equalBytes(announced, registrationSubject(entry, crypto));
}

/** `registrationSubject` of the entry that a record announces; undefined where it announces none. */
export function announcedSubject(record: LogRecord): Uint8Array | undefined {
  return record.kind === 'act' && record.act === 'statement-registered' ? record.subject : undefined;
}
