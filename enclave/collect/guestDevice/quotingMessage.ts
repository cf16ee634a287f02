import { concat } from '../../../attestation/bytes/bytes.ts';
import { ByteReader } from '../../../attestation/bytes/reader.ts';
import { Refusal } from '../../../attestation/errors.ts';
import { MAX_QUOTE_BYTES } from '../../../attestation/evidence/dcap/quote.ts';
import { CollectError } from '../errors.ts';
import { readEvidence } from '../reading.ts';

/*
 * Messages of Intel's quoting service (SGXDataCenterAttestationPrimitives, QuoteGeneration/quote_wrapper:
 * qgs_msg_lib.h, qgs_server.cpp). On a stream each has its length before it, u32 big endian; the rest is little endian.
 */

/** Only the major version counts: a service takes any minor one. */
const VERSION = { major: 1, minor: 0 } as const;
const GET_QUOTE_REQUEST = 0;
const GET_QUOTE_RESPONSE = 1;
/** u16 major and u16 minor version, u32 type, u32 size of the message, u32 error code. */
const HEADER_BYTES = 16;
/** Header, then sizes of the two parts that follow. */
const FIXED_BYTES = HEADER_BYTES + 8;
/** The service names the attestation key it chose where it was offered some: 16 bytes each. */
const MAX_ID_BYTES = 256;
export const PREFIX_BYTES = 4;

/** Asks for a quote of a TDREPORT, under whatever attestation key the service has. */
export function encodeQuoteRequest(tdReport: Uint8Array): Uint8Array {
  const head = new Uint8Array(PREFIX_BYTES + FIXED_BYTES);
  const size = FIXED_BYTES + tdReport.length;
  const view = new DataView(head.buffer);
  view.setUint32(0, size, false);
  view.setUint16(4, VERSION.major, true);
  view.setUint16(6, VERSION.minor, true);
  view.setUint32(8, GET_QUOTE_REQUEST, true);
  view.setUint32(12, size, true);
  view.setUint32(20, tdReport.length, true);
  return concat(head, tdReport);
}

/** Length of the message behind a prefix, if a response with a quote can be so long. */
export function readMessageLength(prefix: Uint8Array): number {
  return readEvidence('the answer of the quoting service', () => {
    const length = new ByteReader(prefix, 'its length').u32be();
    if (length < FIXED_BYTES || length > FIXED_BYTES + MAX_ID_BYTES + MAX_QUOTE_BYTES) {
      throw new Refusal('MALFORMED', `a message of ${length} bytes is announced`);
    }
    return length;
  });
}

/** The quote in a response. Whoever runs the service, or stands before it, wrote every byte. */
export function readQuoteResponse(message: Uint8Array): Uint8Array {
  return readEvidence('the answer of the quoting service', () => {
    const reader = new ByteReader(message, 'the message');
    readHeader(reader, message.length);
    const idBytes = reader.u32le();
    const quoteBytes = reader.u32le();
    if (idBytes > MAX_ID_BYTES) throw new Refusal('MALFORMED', `it names a key of ${idBytes} bytes`);
    reader.take(idBytes);
    const quote = reader.take(quoteBytes);
    reader.end();
    return quote.slice();
  });
}

function readHeader(reader: ByteReader, length: number): void {
  const major = reader.u16le();
  reader.u16le();
  const type = reader.u32le();
  const size = reader.u32le();
  if (major !== VERSION.major || type !== GET_QUOTE_RESPONSE || size !== length) {
    const found = `version ${major}, type ${type}, size ${size} of ${length}`;
    throw new Refusal('MALFORMED', `it is no response with a quote: ${found}`);
  }
  const error = reader.u32le();
  if (error === 0) return;
  const code = `0x${error.toString(16)}`;
  throw new CollectError('DEVICE_REFUSED', `the quoting service of the host made no quote: error ${code}`);
}
