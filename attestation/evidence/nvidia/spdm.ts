import { ByteReader } from '../../bytes/reader.ts';
import { Refusal } from '../../errors.ts';

/** What NVML can return: `attestationReport[8192]` of nvmlConfComputeGpuAttestationReport_t. */
const MAX_REPORT_BYTES = 8192;
const SPDM_1_1 = 0x11;
const NONCE_BYTES = 32;
/** ECDSA P-384: r and s of 48 bytes, big endian. */
export const SIGNATURE_BYTES = 96;
const BLOCK_BYTES = 55;
const VALUE_BYTES = 48;
const DMTF = 1;
/** SPDM 1.1 table 43: digest of mutable firmware. */
const FIRMWARE_DIGEST = 1;
/** Rubin adds a block of this index and type, with a structured manifest in CBOR. */
const MANIFEST_BLOCK_INDEX = 0xfd;
const MANIFEST_BLOCK_TYPE = 0x8a;

/** GET_MEASUREMENTS and MEASUREMENTS of SPDM 1.1 (DSP0274 section 10.11), as a device report holds them. */
export interface Transcript {
  /** Nonce of the requester. The responder's own random nonce is not the asker's and is not returned. */
  readonly nonce: Uint8Array;
  /** Values by RIM index, which is the block index less one. */
  readonly measurements: readonly Uint8Array[];
  readonly opaque: Uint8Array;
  /** Everything before the signature, the request included. */
  readonly signed: Uint8Array;
  readonly signature: Uint8Array;
}

/** Parses a report. It has no outer length: nothing may follow the signature. */
export function parseTranscript(report: Uint8Array): Transcript {
  if (report.length > MAX_REPORT_BYTES) {
    throw new Refusal('MALFORMED', `device report of ${report.length} bytes exceeds ${MAX_REPORT_BYTES}`);
  }
  const reader = new ByteReader(report, 'device report');
  const nonce = readRequest(reader);
  const measurements = readMeasurements(reader);
  reader.take(NONCE_BYTES);
  const opaque = reader.take(reader.u16le());
  const signed = report.subarray(0, reader.offset);
  const signature = reader.take(SIGNATURE_BYTES);
  reader.end();
  return { nonce, measurements, opaque, signed, signature };
}

function readRequest(reader: ByteReader): Uint8Array {
  readVersion(reader);
  expectByte(reader, 0xe0, 'request code');
  expectByte(reader, 0x01, 'signature request');
  expectByte(reader, 0xff, 'measurement selection');
  const nonce = reader.take(NONCE_BYTES);
  expectByte(reader, 0x00, 'certificate slot');
  return nonce;
}

function readMeasurements(reader: ByteReader): readonly Uint8Array[] {
  readVersion(reader);
  expectByte(reader, 0x60, 'response code');
  expectByte(reader, 0x00, 'first response parameter');
  expectByte(reader, 0x00, 'second response parameter');
  const count = reader.u8();
  const record = new ByteReader(reader.take(reader.u24le()), 'measurement record');
  const values = Array.from({ length: count }, (_, i) => readBlock(record, i + 1));
  record.end();
  return values;
}

function readBlock(record: ByteReader, index: number): Uint8Array {
  const [found, specification] = [record.u8(), record.u8()];
  const size = record.u16le();
  const type = record.u8();
  if (found === MANIFEST_BLOCK_INDEX || type === MANIFEST_BLOCK_TYPE) {
    throw new Refusal('UNSUPPORTED', 'device report with a structured manifest (Rubin) is not supported');
  }
  if (found !== index) throw new Refusal('MALFORMED', `measurement block ${found} stands in place ${index}`);
  const length = record.u16le();
  if (
    specification !== DMTF ||
    type !== FIRMWARE_DIGEST ||
    length !== VALUE_BYTES ||
    size !== BLOCK_BYTES - 4
  ) {
    throw new Refusal('MALFORMED', `measurement block ${index} is no SHA-384 firmware digest`);
  }
  return record.take(VALUE_BYTES);
}

function readVersion(reader: ByteReader): void {
  const version = reader.u8();
  if (version !== SPDM_1_1)
    throw new Refusal('UNSUPPORTED', `SPDM version ${version.toString(16)} is not 1.1`);
}

function expectByte(reader: ByteReader, expected: number, what: string): void {
  const found = reader.u8();
  if (found !== expected) throw new Refusal('MALFORMED', `${what} is ${found} instead of ${expected}`);
}
