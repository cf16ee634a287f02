import { fromHex } from '../bytes/bytes.ts';
import { includesBytes, indexOfBytes, latin1, startsWithBytes } from '../bytes/search.ts';
import { decodeText, type TextEncoding } from './textEncoding.ts';

/** SPDM 1.1 GET_MEASUREMENTS of all blocks with a signature: how every report begins. */
const RAW_START = fromHex('11e001ff');
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
export function isDeviceReportWithChain(bytes: Uint8Array): boolean {
  const isReport = startsWithBytes(bytes, RAW_START) || TEXT_START.test(latin1(bytes, 0, 64));
  return isReport && includesBytes(bytes, FIRST_CERTIFICATE);
}

/** Takes both apart. Behind a raw report PEM stands without a gap: nothing else may follow its signature. */
export function splitReportAndChain(bytes: Uint8Array): ReportAndChain {
  const end = indexOfBytes(bytes, FIRST_CERTIFICATE);
  const head = bytes.subarray(0, end);
  const decoded = head[0] === RAW_START[0] ? undefined : decodeText(head);
  return {
    report: decoded?.bytes ?? head,
    encoding: decoded?.encoding,
    chain: bytes.subarray(end),
  };
}
