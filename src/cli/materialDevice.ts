import { decodeText, type TextEncoding } from './materialText.ts';

/** SPDM 1.1 GET_MEASUREMENTS of all blocks with a signature: how every report begins. */
const RAW_START = Buffer.from('11e001ff', 'hex');
/** The same in hex, and in base64 of it or of its hex. */
const TEXT_START = /^\s*(?:11[eE]001|EeAB|MTFlMDAx|MTFFMDAx)/;
const FIRST_CERTIFICATE = '-----BEGIN CERTIFICATE-----';

/** A report as it lies in a file, and the PEM text behind it. */
export interface ReportAndChain {
  readonly report: Uint8Array;
  readonly encoding: TextEncoding | undefined;
  readonly chain: Uint8Array;
}

/** A report, raw or as text, that the PEM text of its certificates follows in the same file. */
export function isDeviceReportWithChain(bytes: Buffer): boolean {
  const isReport =
    bytes.subarray(0, RAW_START.length).equals(RAW_START) || TEXT_START.test(bytes.toString('latin1', 0, 64));
  return isReport && bytes.includes(FIRST_CERTIFICATE);
}

/** Takes both apart. Behind a raw report PEM stands without a gap: nothing else may follow its signature. */
export function splitReportAndChain(bytes: Uint8Array): ReportAndChain {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const end = buffer.indexOf(FIRST_CERTIFICATE);
  const head = bytes.subarray(0, end);
  const decoded = head[0] === RAW_START[0] ? undefined : decodeText(head);
  return {
    report: decoded?.bytes ?? head,
    encoding: decoded?.encoding,
    chain: bytes.subarray(end),
  };
}
