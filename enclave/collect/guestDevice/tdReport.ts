import { equalBytes } from '../../../attestation/bytes/bytes.ts';
import { CollectError } from '../errors.ts';
import { nativeMemory } from '../../native/memory.ts';
import { requestFailed, type GuestDevice } from './device.ts';

/** Linux, include/uapi/linux/tdx-guest.h: `_IOWR('T', 1, 1088 bytes)`. */
export const TDX_CMD_GET_REPORT0 = 0xc4405401;
const REPORT_DATA_BYTES = 64;
/** TDREPORT_STRUCT (Intel TDX module ABI). */
export const TD_REPORT_BYTES = 1024;
const OFFSET = { type: 0, reportData: 128, tdInfo: 512 } as const;
/** REPORTTYPE of a TD. */
const TYPE_TDX = 0x81;
/** Attributes, XFAM, MRTD, MRCONFIGID, MROWNER, MROWNERCONFIG and four RTMRs: the same bytes as in a quote's body. */
const IDENTITY_BYTES = 400;
const QUOTE_IDENTITY = 120;

/**
 * A TDREPORT over 64 bytes. Its MAC is good for enclaves of the same machine only: it is no evidence, but what a
 * quote is made of. The TDX module makes it without the host.
 */
export async function requestTdReport(device: GuestDevice, reportData: Uint8Array): Promise<Uint8Array> {
  const argument = nativeMemory(REPORT_DATA_BYTES + TD_REPORT_BYTES);
  argument.set(reportData);
  try {
    await device.request(TDX_CMD_GET_REPORT0, argument);
  } catch (error) {
    throw requestFailed(error, device);
  }
  const report = argument.slice(REPORT_DATA_BYTES);
  if (report[OFFSET.type] !== TYPE_TDX) {
    throw new CollectError('EVIDENCE_MALFORMED', `${device.path} gave something that is no TDREPORT`);
  }
  if (!equalBytes(report.subarray(OFFSET.reportData, OFFSET.reportData + REPORT_DATA_BYTES), reportData)) {
    throw new CollectError('EVIDENCE_MISMATCH', `${device.path} gave a TDREPORT over other report data`);
  }
  return report;
}

/** Whether the body of a quote is of the TD that the TDREPORT is of: the host could send one of another TD. */
export function isQuoteOf(body: Uint8Array, report: Uint8Array): boolean {
  return equalBytes(
    body.subarray(QUOTE_IDENTITY, QUOTE_IDENTITY + IDENTITY_BYTES),
    report.subarray(OFFSET.tdInfo, OFFSET.tdInfo + IDENTITY_BYTES),
  );
}
