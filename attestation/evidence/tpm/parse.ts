import { ByteReader } from '../../bytes/reader.ts';
import type { HashName } from '../../crypto/provider.ts';
import { Refusal } from '../../errors.ts';
import { HASH_BYTES, hashOf, hexId, readHash, readSized } from './algorithms.ts';

/** TPM_GENERATED_VALUE: a restricted key signs nothing from outside that begins with it (part 2, section 6.2). */
const MAGIC = 0xff544347;
/** TPM_ST of attestation structures (part 2, section 6.9). */
const QUOTE = 0x8018;
const OTHER_ATTESTATIONS: ReadonlyMap<number, string> = new Map([
  [0x8014, 'NV certification'],
  [0x8015, 'command audit'],
  [0x8016, 'session audit'],
  [0x8017, 'certification'],
  [0x8019, 'time'],
  [0x801a, 'creation'],
  [0x801c, 'NV digest'],
]);
/** A hash identifier and the longest digest. */
const MAX_NAME_BYTES = 2 + 64;
/** TPM2B_DATA holds at most a TPMT_HA. */
const MAX_EXTRA_DATA_BYTES = 2 + 64;
const MAX_BANKS = 16;
/** Four bytes select PCRs 0 to 31. */
const MAX_SELECT_BYTES = 4;

/** PCRs of one bank that a quote covers, ascending. */
export interface PcrSelection {
  readonly hash: HashName;
  readonly pcrs: readonly number[];
}

/** TPMS_CLOCK_INFO (part 2, section 10.11.1). */
export interface ClockInfo {
  /** Milliseconds that the TPM was powered since it was last cleared. */
  readonly clock: bigint;
  /** Starts of the TPM since then. */
  readonly resetCount: number;
  /** Resumes since the last start. */
  readonly restartCount: number;
  /** False where a clock value no lower than this one may have been reported before. */
  readonly safe: boolean;
}

/** A quote as its bytes say; nothing in it is trusted until `verifyTpmQuote` returns it. */
export interface TpmsAttest {
  /** Qualified name of the signing key: hash identifier and digest. */
  readonly qualifiedSigner: Uint8Array;
  /** Chosen by whoever asked for the quote: a nonce or a digest. */
  readonly extraData: Uint8Array;
  readonly clockInfo: ClockInfo;
  /** Vendor specific. */
  readonly firmwareVersion: bigint;
  /** In the order in which the digest covers them. */
  readonly selection: readonly PcrSelection[];
  readonly pcrDigest: Uint8Array;
  readonly signedBytes: Uint8Array;
}

/** Parses a TPMS_ATTEST of a quote (part 2, section 10.12.8), with nothing after it. */
export function parseTpmsAttest(bytes: Uint8Array): TpmsAttest {
  const reader = new ByteReader(bytes, 'TPMS_ATTEST');
  const magic = reader.u32be();
  if (magic !== MAGIC) {
    throw new Refusal('MALFORMED', `TPMS_ATTEST begins with ${hexId(magic)}, not with ${hexId(MAGIC)}`);
  }
  checkType(reader.u16be());
  const qualifiedSigner = readName(reader);
  const extraData = readSized(reader, MAX_EXTRA_DATA_BYTES, 'extraData');
  const clockInfo = readClockInfo(reader);
  const firmwareVersion = reader.u64be();
  const selection = readSelection(reader);
  const pcrDigest = readSized(reader, HASH_BYTES.sha512, 'pcrDigest');
  reader.end();
  return { qualifiedSigner, extraData, clockInfo, firmwareVersion, selection, pcrDigest, signedBytes: bytes };
}

/** The TPMS_ATTEST bytes inside a TPM2B_ATTEST: the size in front is not signed. */
export function unwrapTpm2bAttest(bytes: Uint8Array): Uint8Array {
  const reader = new ByteReader(bytes, 'TPM2B_ATTEST');
  const message = readSized(reader, 0xffff, 'TPM2B_ATTEST');
  reader.end();
  return message;
}

function checkType(type: number): void {
  if (type === QUOTE) return;
  const name = OTHER_ATTESTATIONS.get(type) ?? 'unknown';
  throw new Refusal('UNSUPPORTED', `TPMS_ATTEST is of type ${hexId(type)} (${name}), not a quote`);
}

/** A handle or an empty name stands for no key: such a structure is not signed. */
function readName(reader: ByteReader): Uint8Array {
  const name = readSized(reader, MAX_NAME_BYTES, 'qualifiedSigner');
  const inner = new ByteReader(name, 'qualifiedSigner');
  const hash = readHash(inner, 'qualifiedSigner');
  inner.take(HASH_BYTES[hash]);
  inner.end();
  return name;
}

function readClockInfo(reader: ByteReader): ClockInfo {
  const clock = reader.u64be();
  const resetCount = reader.u32be();
  const restartCount = reader.u32be();
  const safe = reader.u8();
  if (safe > 1) throw new Refusal('MALFORMED', `safe of the clock is ${safe}, neither 0 nor 1`);
  return { clock, resetCount, restartCount, safe: safe === 1 };
}

/** TPML_PCR_SELECTION (part 2, section 10.9.7). A bank named twice would leave open which values it means. */
function readSelection(reader: ByteReader): readonly PcrSelection[] {
  const count = reader.u32be();
  if (count > MAX_BANKS)
    throw new Refusal('MALFORMED', `${count} PCR banks, at most ${MAX_BANKS} are allowed`);
  const selection: PcrSelection[] = [];
  for (let i = 0; i < count; i++) {
    const hash = hashOf(reader.u16be(), 'PCR selection');
    if (selection.some((other) => other.hash === hash)) {
      throw new Refusal('MALFORMED', `the PCR selection names the ${hash} bank twice`);
    }
    selection.push({ hash, pcrs: readSelected(reader) });
  }
  return selection;
}

/** Bit b of byte i selects PCR 8i + b. */
function readSelected(reader: ByteReader): readonly number[] {
  const size = reader.u8();
  if (size > MAX_SELECT_BYTES) {
    throw new Refusal('MALFORMED', `PCR select of ${size} bytes, at most ${MAX_SELECT_BYTES} are allowed`);
  }
  const bits = [...reader.take(size)];
  return bits.flatMap((byte, i) =>
    [0, 1, 2, 3, 4, 5, 6, 7].filter((bit) => (byte >> bit) & 1).map((bit) => 8 * i + bit),
  );
}
